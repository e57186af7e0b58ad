//! Where the rows are that the suites of this target run on: schemas of their own in a PostgreSQL server.

use std::sync::Arc;

use flare_server_core::postgres::scratch::Scratch;
use flare_session::{
    SessionConfig,
    infrastructure::{postgres::PostgresSession, postgres_kept_rosters::PostgresKeptRosters},
    service::Processes,
};

pub(crate) type Store = PostgresSession;

/// As any process sees it.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) scratch: Arc<Scratch>,
}

impl Place {
    pub(crate) async fn fresh() -> Self {
        let scratch = Scratch::new().await.expect("a PostgreSQL server");
        Self {
            scratch: Arc::new(scratch),
        }
    }

    /// Opens the rows.
    pub(crate) async fn open(&self) -> Arc<Store> {
        let opened = PostgresSession::open(self.scratch.config()).await;
        Arc::new(opened.expect("opens"))
    }

    /// As the suites want it: what others left is found soon.
    pub(crate) fn configured(config: SessionConfig) -> SessionConfig {
        SessionConfig {
            submit_timeout_ms: 20,
            ..config
        }
    }

    /// Others may have them, too.
    pub(crate) async fn processes(store: &Arc<Store>) -> Processes {
        let epoch = store.stream_epoch(7).await.expect("answers");
        Processes::Several { epoch }
    }

    /// Rosters as the service has them.
    pub(crate) fn rosters(store: &Arc<Store>, max_members: u64) -> PostgresKeptRosters {
        PostgresKeptRosters::new(Arc::clone(store), max_members)
    }
}
