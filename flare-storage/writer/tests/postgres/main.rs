//! The published cursors in PostgreSQL.
//!
//! `FLARE_TEST_POSTGRES` names the server; `cargo xtask infra up` starts one.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use flare_server_core::postgres::scratch::Scratch;
use flare_storage_writer::{
    application::ports::PublishedCursors,
    infrastructure::postgres_published_cursors::PostgresPublishedCursors,
};

mod contract;

#[tokio::test]
async fn cursors_in_postgres_do_what_the_port_says() {
    let scratch = Scratch::new().await.unwrap();
    contract::does_what_the_port_says(async || {
        let opened = PostgresPublishedCursors::open(scratch.config()).await;
        let opened: Arc<dyn PublishedCursors> = Arc::new(opened.unwrap());
        opened
    })
    .await;
}

#[tokio::test]
async fn without_its_server_nobody_guesses() {
    let scratch = Scratch::new().await.unwrap();
    let cursors = PostgresPublishedCursors::open(scratch.config())
        .await
        .unwrap();
    cursors.close().await;
    assert!(cursors.load(0).await.is_err());
    assert!(cursors.save(&[(0, Default::default())]).await.is_err());
}
