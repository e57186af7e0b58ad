//! Opens the message store that a process's roles share.

use std::sync::Arc;

use flare_server_core::{platform::Platform, servers::Shape, service::ServiceError};

use crate::{EmbeddedMessageStore, EmbeddedStoreOptions, MessageStore};

/// The process's message store, opened by the first role that asks: writer, reader and orchestrator read the same one.
pub async fn open_store(platform: &Platform) -> Result<Arc<dyn MessageStore>, ServiceError> {
    platform.once(|| open(platform)).await
}

async fn open(platform: &Platform) -> Result<Arc<dyn MessageStore>, ServiceError> {
    match platform.shape() {
        Shape::Embedded => {
            let folder = platform.data_folder("store")?;
            let store = tokio::task::spawn_blocking(move || {
                EmbeddedMessageStore::open(&folder, EmbeddedStoreOptions::default())
            });
            Ok(Arc::new(store.await??))
        }
        #[cfg(feature = "cluster")]
        Shape::Cluster(servers) => {
            use crate::{PostgresMessageStore, PostgresStoreOptions};
            let options = PostgresStoreOptions::default();
            let store = PostgresMessageStore::open(&servers.postgres, options).await?;
            Ok(Arc::new(store))
        }
        other => Err(other.is_not_built().into()),
    }
}
