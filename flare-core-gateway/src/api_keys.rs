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

/// The folder, inside that of all data, in which the keys are.
pub const FOLDER: &str = "gateway";
const FILE: &str = "api_keys.sqlite";

/// Opens the keys that a server on the data folder `data` uses; it may run meanwhile, and sees each change at once.
///
/// # Errors
/// Says what the folder or the file does not allow.
pub async fn open(
    data: &Path,
    clock: Arc<dyn Clock>,
    ids: Arc<IdSource>,
) -> Result<ApiKeys, ApiKeyStoreError> {
    let store = store_in(&data.join(FOLDER)).await?;
    Ok(ApiKeys::new(Arc::new(store), clock, ids))
}

/// The store in its own folder, made if it is not there.
pub(crate) async fn store_in(folder: &Path) -> Result<SqliteApiKeyStore, ApiKeyStoreError> {
    std::fs::create_dir_all(folder).map_err(|error| ApiKeyStoreError {
        why: format!("{}: {error}", folder.display()),
    })?;
    SqliteApiKeyStore::open(&folder.join(FILE)).await
}
