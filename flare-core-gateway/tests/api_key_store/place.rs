//! Where the keys are that the suite runs on: a folder with SQLite.

use std::sync::Arc;

use flare_core_gateway::{
    application::ports::ApiKeyStore, infrastructure::sqlite_api_key_store::SqliteApiKeyStore,
};
use tempfile::TempDir;

#[derive(Clone)]
pub(crate) struct Place(Arc<TempDir>);

impl Place {
    pub(crate) async fn fresh() -> Self {
        Self(Arc::new(tempfile::tempdir().expect("a folder")))
    }

    /// Opens the keys, as another process would.
    pub(crate) async fn open(&self) -> Arc<dyn ApiKeyStore> {
        let opened = SqliteApiKeyStore::open(self.0.path()).await;
        Arc::new(opened.expect("it opens"))
    }
}
