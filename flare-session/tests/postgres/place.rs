//! Where the rows are that the suites of this target run on: schemas of their own in a PostgreSQL server.

use std::sync::Arc;

use flare_server_core::postgres::scratch::Scratch;
use flare_session::infrastructure::{
    postgres::PostgresSession, postgres_kept_rosters::PostgresKeptRosters,
};

pub(crate) type Store = PostgresSession;

/// As one process sees it.
pub(crate) struct Place {
    pub(crate) scratch: Arc<Scratch>,
    process: &'static str,
}

impl Place {
    pub(crate) async fn fresh() -> Self {
        let scratch = Scratch::new().await.expect("a PostgreSQL server");
        Self {
            scratch: Arc::new(scratch),
            process: "one",
        }
    }

    /// The same for another process.
    pub(crate) fn beside(&self, process: &'static str) -> Self {
        Self {
            scratch: Arc::clone(&self.scratch),
            process,
        }
    }

    /// Opens the rows.
    pub(crate) async fn open(&self) -> Arc<Store> {
        let opened = PostgresSession::open(self.scratch.config(), self.process).await;
        Arc::new(opened.expect("opens"))
    }

    /// Rosters as the service has them.
    pub(crate) fn rosters(store: &Arc<Store>, max_members: u64) -> PostgresKeptRosters {
        PostgresKeptRosters::new(Arc::clone(store), max_members)
    }
}
