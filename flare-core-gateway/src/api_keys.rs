//! The API keys of a data folder or of a cluster, for servers and for commands beside them.

use std::{path::Path, sync::Arc};

use flare_server_core::{
    clock::{Clock, IdSource},
    servers::Shape,
    service::ServiceError,
};
use futures::future::BoxFuture;

use crate::{
    application::ports::ApiKeyStore, infrastructure::sqlite_api_key_store::SqliteApiKeyStore,
};
pub use crate::{
    application::{
        api_keys::{ApiKeys, Page},
        ports::ApiKeyStoreError,
    },
    domain::{
        api_key::{ApiKey, Secret},
        scope::{Scope, Scopes},
    },
};

/// The keys that servers use, open.
pub struct OpenKeys {
    /// What can be done with them.
    pub keys: ApiKeys,
    close: BoxFuture<'static, ()>,
}

impl OpenKeys {
    /// Closes what keeps them: what was committed is there alone.
    pub async fn close(self) {
        self.close.await;
    }
}

/// Opens the keys that servers of this shape use: those on the data folder `data`, or those of the cluster. They may run meanwhile, and see each change at once.
///
/// # Errors
/// Says what the folder, the file or the server does not allow.
pub async fn open(
    shape: &Shape,
    data: &Path,
    clock: Arc<dyn Clock>,
    ids: Arc<IdSource>,
) -> Result<OpenKeys, ServiceError> {
    let KeptKeys { store, close } = kept_keys(shape, data).await?;
    Ok(OpenKeys {
        keys: ApiKeys::new(store, clock, ids),
        close,
    })
}

/// Where keys are kept, and how that is closed.
pub(crate) struct KeptKeys {
    pub(crate) store: Arc<dyn ApiKeyStore>,
    pub(crate) close: BoxFuture<'static, ()>,
}

pub(crate) async fn kept_keys(shape: &Shape, data: &Path) -> Result<KeptKeys, ServiceError> {
    match shape {
        Shape::Embedded => {
            let keys = SqliteApiKeyStore::open(data).await?;
            Ok(KeptKeys {
                store: Arc::new(keys.clone()),
                close: Box::pin(async move { keys.close().await }),
            })
        }
        #[cfg(feature = "cluster")]
        Shape::Cluster(servers) => {
            use crate::infrastructure::postgres_api_key_store::PostgresApiKeyStore;
            let keys = Arc::new(PostgresApiKeyStore::open(&servers.postgres).await?);
            Ok(KeptKeys {
                store: Arc::clone(&keys) as _,
                close: Box::pin(async move { keys.close().await }),
            })
        }
        other => Err(other.is_not_built().into()),
    }
}
