//! Where the keys are that the suite runs on: schemas of their own in a PostgreSQL server.

use std::sync::Arc;

use flare_core_gateway::{
    application::ports::ApiKeyStore, infrastructure::postgres_api_key_store::PostgresApiKeyStore,
};
use flare_server_core::postgres::scratch::Scratch;

#[derive(Clone)]
pub(crate) struct Place(Arc<Scratch>);

impl Place {
    pub(crate) async fn fresh() -> Self {
        Self(Arc::new(Scratch::new().await.expect("a PostgreSQL server")))
    }

    /// Opens the keys, as another process would.
    pub(crate) async fn open(&self) -> Arc<dyn ApiKeyStore> {
        let opened = PostgresApiKeyStore::open(self.0.config()).await;
        Arc::new(opened.expect("it opens"))
    }
}
