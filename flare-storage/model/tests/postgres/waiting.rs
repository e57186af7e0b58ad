//! Who waits for a cursor that another process moves.

use std::{pin::pin, time::Duration};

use flare_storage_model::{
    MessageStore, PostgresMessageStore, PostgresStoreOptions, StoreError, contract::Script,
};
use tokio::{join, time::timeout};

use crate::{
    cable::Cable,
    database::Database,
    log::{commit, log, soon},
};

/// Longer than any test waits: nobody looks.
const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_in_another_process_is_told() {
    let database = Database::create().await;
    let writer = database.open().await;
    let told = PostgresStoreOptions { look_every: NEVER };
    let reader = PostgresMessageStore::open(&database.config(), told).await;
    let reader = reader.expect("the store opens");
    let mut script = Script::new();
    let batches = log(&mut script, 50);
    // The first is there before anybody listens.
    commit(&writer, &batches[0]).await.expect("it commits");
    for batch in &batches[1..] {
        let offset = batch.from.next_offset;
        let before = reader.wait_beyond(script.partition, offset - 1).await;
        assert_eq!(before.map(|it| it.next_offset), Ok(offset));
        let waiting = soon(
            "a notification",
            reader.wait_beyond(script.partition, offset),
        );
        let (reached, done) = join!(waiting, commit(&writer, batch));
        assert_eq!((reached, done), (Ok(batch.to), Ok(())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_looks_for_himself_where_he_is_not_told() {
    let database = Database::create().await;
    let writer = database.open().await;
    let cable = Cable::to(&database).await;
    let often = PostgresStoreOptions {
        look_every: Duration::from_millis(20),
    };
    let reader = PostgresMessageStore::open(&cable.config(&database), often).await;
    let reader = reader.expect("the store opens");
    let mut script = Script::new();
    let batches = log(&mut script, 3);
    for (index, batch) in batches.iter().enumerate() {
        let mut waiting = pin!(reader.wait_beyond(script.partition, batch.from.next_offset));
        // It has looked, and waits.
        let early = timeout(Duration::from_millis(200), &mut waiting).await;
        assert!(early.is_err(), "{early:?}");
        match index {
            1 => cable.cut(),
            2 => cable.hush(),
            _ => {}
        }
        // What is told now comes to nobody.
        commit(&writer, batch).await.expect("it commits");
        if index > 0 {
            let cut = timeout(Duration::from_millis(200), &mut waiting).await;
            assert!(cut.is_err(), "{cut:?}");
            cable.mend();
        }
        assert_eq!(soon("a look", waiting).await, Ok(batch.to));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_who_cannot_ask_is_told_so_and_a_closed_store_ends_him() {
    let database = Database::create().await;
    let cable = Cable::to(&database).await;
    let options = PostgresStoreOptions::default();
    let store = PostgresMessageStore::open(&cable.config(&database), options).await;
    let store = store.expect("the store opens");
    cable.cut();
    let asked = soon("an answer", store.wait_beyond(1, 0)).await;
    assert!(
        matches!(asked, Err(StoreError::Unavailable(_))),
        "{asked:?}"
    );
    let (ended, closed) = join!(store.wait_beyond(1, 0), store.close());
    assert_eq!((ended, closed), (Err(StoreError::Closed), Ok(())));
}
