//! Opens the message store that a process's roles share.

use std::sync::Arc;

use flare_server_core::{platform::Platform, service::ServiceError};

use crate::{EmbeddedMessageStore, EmbeddedStoreOptions, MessageStore};

/// The process's message store, opened by the first role that asks: writer, reader and orchestrator read the same one.
pub async fn open_store(platform: &Platform) -> Result<Arc<dyn MessageStore>, ServiceError> {
    platform
        .once(|| async {
            let folder = platform.data_folder("store")?;
            let store = tokio::task::spawn_blocking(move || {
                EmbeddedMessageStore::open(&folder, EmbeddedStoreOptions::default())
            })
            .await??;
            Ok(Arc::new(store) as Arc<dyn MessageStore>)
        })
        .await
}
