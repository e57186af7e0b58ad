//! Where the rows are that the suites of this target run on: a folder with SQLite.

use std::{path::Path, sync::Arc};

use flare_session::{
    SessionConfig,
    infrastructure::{cached_rosters::CachedRosters, sqlite::SqliteSession},
    service::Processes,
};
use tempfile::TempDir;

pub(crate) type Store = SqliteSession;

pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) async fn fresh() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Opens the rows, as another process would.
    pub(crate) async fn open(&self) -> Arc<Store> {
        Arc::new(SqliteSession::open(self.path(), 2).await.expect("opens"))
    }

    /// Rosters as the service has them.
    pub(crate) fn rosters(store: &Arc<Store>, max_members: u64) -> CachedRosters {
        CachedRosters::new(Arc::clone(store) as _, max_members)
    }

    /// As the suites want it.
    pub(crate) fn configured(config: SessionConfig) -> SessionConfig {
        config
    }

    /// Nobody else has them.
    pub(crate) async fn processes(store: &Arc<Store>) -> Processes {
        Processes::One(Arc::clone(store) as _)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}
