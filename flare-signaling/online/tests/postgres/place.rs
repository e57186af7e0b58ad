//! Where the revocations are that the suite runs on: schemas of their own in a PostgreSQL server.

use std::sync::Arc;

use flare_server_core::postgres::scratch::Scratch;
use flare_signaling_online::{
    application::ports::RevocationStore,
    infrastructure::postgres_revocation_store::PostgresRevocationStore,
};

#[derive(Clone)]
pub(crate) struct Place(Arc<Scratch>);

impl Place {
    pub(crate) async fn fresh() -> Result<Self, String> {
        Ok(Self(Arc::new(Scratch::new().await?)))
    }

    /// Opens the rows, as another process would.
    pub(crate) async fn open(&self) -> Result<Arc<dyn RevocationStore>, String> {
        match PostgresRevocationStore::open(self.0.config()).await {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(error.to_string()),
        }
    }
}
