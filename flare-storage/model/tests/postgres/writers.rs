//! Two who commit to one partition.

use std::sync::Arc;

use bytes::Bytes;
use flare_proto::message::EventHeader;
use flare_storage_model::{LoggedEvent, MessageStore, StoreBatch, StoreError, contract::Script};
use tokio::join;

use crate::{
    database::Database,
    log::{assert_holds, commit, log},
};

/// The same run of the log, cut otherwise.
fn in_pairs(batches: &[Arc<StoreBatch>]) -> Vec<Arc<StoreBatch>> {
    let pair = |pair: &[Arc<StoreBatch>]| {
        let (Some(first), Some(last)) = (pair.first(), pair.last()) else {
            panic!("a chunk is not empty");
        };
        // Of two heads of a conversation the later one counts.
        let mut heads = last.heads.clone();
        for (key, head) in &first.heads {
            if heads.iter().all(|(other, _)| other != key) {
                heads.push((key.clone(), head.clone()));
            }
        }
        Arc::new(StoreBatch {
            partition: first.partition,
            from: first.from,
            to: last.to,
            events: pair.iter().flat_map(|it| &it.events).cloned().collect(),
            heads,
        })
    };
    batches.chunks(2).map(pair).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_of_one_log_store_it_once() {
    let database = Database::create().await;
    let (one, other) = (database.open().await, database.open().await);
    let mut script = Script::new();
    let batches = log(&mut script, 120);
    let pairs = in_pairs(&batches[1..]);
    let writing = async |store: &dyn MessageStore, batches: &[Arc<StoreBatch>]| {
        for batch in batches {
            commit(store, batch).await?;
        }
        Ok::<_, StoreError>(())
    };
    // The second one's first batch is the first one's: it must not begin above the cursor.
    commit(&other, &batches[0]).await.expect("it commits");
    let (done, also) = join!(writing(&one, &batches), writing(&other, &pairs));
    assert_eq!((done, also), (Ok(()), Ok(())));
    assert_holds(&one, &script, &batches).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writers_that_do_not_agree_one_is_refused() {
    let database = Database::create().await;
    let (one, other) = (database.open().await, database.open().await);
    for conversation in ["busy", "new"] {
        let mut script = Script::new();
        let begun = log(&mut script, 1);
        commit(&one, &begun[0]).await.expect("it commits");
        // From here on they differ.
        let mut fork = script.clone();
        let mine = script.message(conversation, "mine").expect("a good event");
        let mine = script.batch(vec![mine]);
        let yours = fork.message(conversation, "yours").expect("a good event");
        let yours = fork.batch(vec![yours]);
        let (first, second) = join!(
            one.commit(Arc::clone(&mine)),
            other.commit(Arc::clone(&yours))
        );
        let (kept, refusal) = match (first, second) {
            (Ok(()), refusal) => (mine, refusal),
            (refusal, Ok(())) => (yours, refusal),
            both => panic!("{both:?}"),
        };
        assert!(
            matches!(refusal, Err(StoreError::SeqConflict { .. })),
            "{refusal:?}"
        );
        let seq = kept.events[0].seq();
        let found = one.event(kept.events[0].key(), seq).await;
        assert_eq!(found, Ok(Some(kept.events[0].event().clone())));
    }
}

#[tokio::test]
async fn a_conversation_of_two_partitions_is_refused_by_the_second() {
    let database = Database::create().await;
    let store = database.open().await;
    let mut script = Script::new();
    let batches = log(&mut script, 4);
    for batch in &batches {
        commit(&store, batch).await.expect("it commits");
    }
    // As of a log with another number of partitions: what follows in the conversation is taken, what is there already differs.
    let mut elsewhere = Script::new();
    elsewhere.tenant.clone_from(&script.tenant);
    let stray = elsewhere.message("busy", "stray").expect("a good event");
    let refused = store.commit(elsewhere.batch(vec![stray])).await;
    assert!(
        matches!(refused, Err(StoreError::SeqConflict { seq: 1, .. })),
        "{refused:?}"
    );
    assert_holds(&store, &script, &batches).await;
}

/// The event with another one's id.
fn with(event: &LoggedEvent, change: impl FnOnce(&mut EventHeader)) -> LoggedEvent {
    let mut header = event.header().clone();
    change(&mut header);
    let made = LoggedEvent::create(header, Bytes::from_static(b"changed"), event.fingerprint());
    made.expect("a good event")
}

#[tokio::test]
async fn an_id_that_comes_twice_is_refused_in_one_batch_and_in_two() {
    let database = Database::create().await;
    let store = database.open().await;
    let mut script = Script::new();
    let first = script.message("general", "first").expect("a good event");
    let second = script.message("general", "second").expect("a good event");
    let header = first.header();
    let of_client = with(&second, |it| it.client_id.clone_from(&header.client_id));
    let of_message = with(&second, |it| it.message_id.clone_from(&header.message_id));
    let both = [first.clone(), of_client];
    let refused = store.commit(script.clone().batch(both.into())).await;
    assert!(
        matches!(refused, Err(StoreError::IdConflict { .. })),
        "{refused:?}"
    );
    let both = [first.clone(), of_message.clone()];
    let refused = store.commit(script.clone().batch(both.into())).await;
    assert!(
        matches!(refused, Err(StoreError::Damaged(_))),
        "{refused:?}"
    );
    store
        .commit(script.batch(vec![first.clone()]))
        .await
        .expect("it commits");
    let refused = store.commit(script.batch(vec![of_message])).await;
    assert!(
        matches!(&refused, Err(StoreError::Damaged(what)) if what.contains(&header.message_id)),
        "{refused:?}"
    );
    let cursor = store.cursor(script.partition).await;
    assert_eq!(cursor.map(|it| it.next_offset), Ok(1));
}
