//! The API keys of a data folder, for a server and for commands beside it.

use std::{path::Path, sync::Arc};

use flare_server_core::clock::{Clock, IdSource};

use crate::infrastructure::sqlite_api_key_store::SqliteApiKeyStore;
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

/// The keys of a data folder, open.
pub struct OpenKeys {
    /// What can be done with them.
    pub keys: ApiKeys,
    store: SqliteApiKeyStore,
}

impl OpenKeys {
    /// Closes the file: what was committed is in it alone.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// Opens the keys that a server on the data folder `data` uses; it may run meanwhile, and sees each change at once.
///
/// # Errors
/// Says what the folder or the file does not allow.
pub async fn open(
    data: &Path,
    clock: Arc<dyn Clock>,
    ids: Arc<IdSource>,
) -> Result<OpenKeys, ApiKeyStoreError> {
    let store = SqliteApiKeyStore::open(data).await?;
    Ok(OpenKeys {
        keys: ApiKeys::new(Arc::new(store.clone()), clock, ids),
        store,
    })
}
