//! Where the revocations are that the suite runs on: a folder with SQLite.

use std::sync::Arc;

use flare_signaling_online::{
    application::ports::RevocationStore,
    infrastructure::sqlite_revocation_store::SqliteRevocationStore,
};
use tempfile::TempDir;

#[derive(Clone)]
pub(crate) struct Place(Arc<TempDir>);

impl Place {
    pub(crate) async fn fresh() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Self(Arc::new(folder)))
    }

    /// Opens the rows, as another process would.
    pub(crate) async fn open(&self) -> Result<Arc<dyn RevocationStore>, String> {
        match SqliteRevocationStore::open(self.0.path()).await {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(error.to_string()),
        }
    }
}
