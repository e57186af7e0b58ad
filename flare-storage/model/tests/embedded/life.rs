//! What is the embedded store's own: crashes, closing, the bound of the tail, reads while rows move over.

use std::{path::Path, sync::Arc, time::Duration};

use flare_storage_model::{
    Cursor, EmbeddedMessageStore, EmbeddedStoreOptions, MessageQuery, MessageStore, StoreBatch,
    StoreError, contract::Script,
};
use tokio::{task::yield_now, time::timeout};

use crate::subject::tail_only;

const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn open(folder: &Path, options: EmbeddedStoreOptions) -> EmbeddedMessageStore {
    EmbeddedMessageStore::open(folder, options).expect("the store opens")
}

/// Groups in several conversations, with recalls among them.
pub(crate) fn log(script: &mut Script, groups: usize) -> Vec<Arc<StoreBatch>> {
    let mut batches = Vec::new();
    for index in 0..groups {
        let busy = script.head("busy").seq;
        let mut events = script.messages("busy", 3).expect("good events");
        if index % 4 == 1 {
            events.push(script.recall("busy", busy).expect("a good event"));
        }
        let name = format!("quiet-{}", index % 7);
        events.extend(script.messages(&name, 1).expect("good events"));
        batches.push(script.batch(events));
    }
    batches
}

/// Every event of the log is there once, and heads and receipts with it.
async fn assert_holds(store: &EmbeddedMessageStore, script: &Script, batches: &[Arc<StoreBatch>]) {
    assert_eq!(store.cursor(script.partition).await, Ok(script.cursor));
    let names = ["busy".to_owned()]
        .into_iter()
        .chain((0..7).map(|it| format!("quiet-{it}")));
    for name in names {
        let key = script.key(&name);
        let events: Vec<_> = batches
            .iter()
            .flat_map(|it| &it.events)
            .filter(|it| *it.key() == key)
            .collect();
        let run = store
            .range(&key, 0, usize::MAX, usize::MAX)
            .await
            .expect("it reads");
        assert!(run.iter().eq(events.iter().map(|it| it.event())), "{name}");
        let heads = store
            .heads(std::slice::from_ref(&key))
            .await
            .expect("it reads");
        assert_eq!(heads, [Some(script.head(&name))]);
        let rows = store
            .messages(&key, MessageQuery::After(0), usize::MAX)
            .await
            .expect("reads");
        assert_eq!(
            rows.len(),
            events.iter().filter(|it| it.is_message()).count()
        );
        for row in rows {
            let recall = events.iter().find(|it| it.recalls() == Some(row.seq));
            assert_eq!(row.recalled_by_seq, recall.map(|it| it.seq()));
        }
        let ids: Vec<_> = events.iter().filter_map(|it| it.id_key()).collect();
        let receipts = store.receipts(&ids).await.expect("it reads");
        let ought = events
            .iter()
            .map(|it| Some((it.receipt(), it.fingerprint())));
        assert!(receipts.into_iter().eq(ought), "{name}");
    }
}

async fn commit_from(store: &EmbeddedMessageStore, cursor: Cursor, batches: &[Arc<StoreBatch>]) {
    for batch in batches
        .iter()
        .filter(|it| it.to.next_offset > cursor.next_offset)
    {
        store.commit(Arc::clone(batch)).await.expect("it commits");
    }
}

#[tokio::test]
async fn a_store_that_was_dropped_takes_the_rest_from_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = Script::new();
    let batches = log(&mut script, 60);
    // Crashes with nothing, something and everything on disk, and heads written or not.
    for (committed, flushed) in [(0, 0), (10, 0), (20, 15), (25, 25), (60, 41)] {
        let store = open(folder.path(), tail_only());
        let cursor = store.cursor(script.partition).await.expect("it reads");
        assert_eq!(store.synced_cursor(script.partition).await, Ok(cursor));
        commit_from(&store, cursor, &batches[..flushed]).await;
        if flushed > 0 {
            store.flush().await.expect("it flushes");
        }
        commit_from(&store, cursor, &batches[..committed]).await;
        let synced = store
            .synced_cursor(script.partition)
            .await
            .expect("it reads");
        assert_eq!(synced.next_offset, flushed as u64);
    }
    let store = open(folder.path(), EmbeddedStoreOptions::default());
    let cursor = store.cursor(script.partition).await.expect("it reads");
    assert_eq!(cursor.next_offset, 41);
    commit_from(&store, cursor, &batches).await;
    assert_holds(&store, &script, &batches).await;
}

#[tokio::test]
async fn heads_are_right_when_their_rows_are_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = Script::new();
    let batches = log(&mut script, 40);
    let eager = EmbeddedStoreOptions {
        gather: Duration::ZERO,
        sync_interval: Duration::from_secs(3_600),
        ..EmbeddedStoreOptions::default()
    };
    let store = open(folder.path(), eager);
    for batch in &batches {
        store.commit(Arc::clone(batch)).await.expect("it commits");
        // Small batches in fjall: one head row in many events.
        timeout(DEADLINE, async {
            while store.tail_size().events > 0 {
                yield_now().await;
            }
        })
        .await
        .expect("the tail empties");
    }
    assert_holds(&store, &script, &batches).await;
    assert_eq!(
        store.synced_cursor(script.partition).await,
        Ok(Cursor::default())
    );
    drop(store);
    let store = open(folder.path(), eager);
    assert_holds(&store, &script, &batches).await;
}

#[tokio::test]
async fn a_closed_store_holds_everything_and_takes_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = Script::new();
    let batches = log(&mut script, 20);
    let store = open(folder.path(), tail_only());
    commit_from(&store, Cursor::default(), &batches).await;
    let waiting = store.wait_beyond(script.partition, 1_000);
    let (waited, closed) = tokio::join!(waiting, store.close());
    assert_eq!((waited, closed), (Err(StoreError::Closed), Ok(())));
    assert_holds(&store, &script, &batches).await;
    assert_eq!(
        store.synced_cursor(script.partition).await,
        Ok(script.cursor)
    );
    let more = log(&mut script.clone(), 1);
    assert_eq!(
        store.commit(Arc::clone(&more[0])).await,
        Err(StoreError::Closed)
    );
    drop(store);
    assert_holds(&open(folder.path(), tail_only()), &script, &batches).await;
}

#[tokio::test]
async fn commits_wait_while_the_tail_is_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let bound = 10;
    let options = EmbeddedStoreOptions {
        max_tail_events: bound,
        ..tail_only()
    };
    let store = open(folder.path(), options);
    let mut script = Script::new();
    let batches = log(&mut script, 200);
    for batch in &batches {
        // Half a tail is urgent, so this ends although nothing is due for an hour.
        let commit = timeout(DEADLINE, store.commit(Arc::clone(batch))).await;
        assert_eq!(commit.expect("there is room in time"), Ok(()));
        assert!(store.tail_size().events < bound + batch.events.len());
    }
    assert_holds(&store, &script, &batches).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_no_gap_while_events_move_to_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = EmbeddedStoreOptions {
        gather: Duration::from_millis(1),
        max_tail_events: 200,
        ..EmbeddedStoreOptions::default()
    };
    let store = Arc::new(open(folder.path(), options));
    let mut script = Script::new();
    let batches = log(&mut script, 400);
    let key = script.key("busy");
    let total = script.head("busy").seq;
    let reader = tokio::spawn({
        let (store, key) = (Arc::clone(&store), key.clone());
        async move {
            let mut seen = 0;
            let mut reads = 0;
            while seen < total {
                let heads = store
                    .heads(std::slice::from_ref(&key))
                    .await
                    .expect("it reads");
                let head = heads[0].as_ref().map_or(0, |it| it.seq);
                assert!(head >= seen, "the head fell from {seen} to {head}");
                seen = head;
                let after = seen.saturating_sub(100);
                let run = store
                    .range(&key, after, 1_000, usize::MAX)
                    .await
                    .expect("no gap");
                assert!(
                    run.len() as u64 >= seen - after,
                    "{} above {after}",
                    run.len()
                );
                let page = store
                    .messages(&key, MessageQuery::Before(seen + 1), 50)
                    .await;
                let page = page.expect("no gap");
                // At most every 13th event of the conversation is a recall.
                assert!(page.windows(2).all(|it| it[1].seq - it[0].seq <= 2));
                assert!(seen < 60 || page.len() == 50);
                reads += 1;
            }
            reads
        }
    });
    for batch in &batches {
        store.commit(Arc::clone(batch)).await.expect("it commits");
    }
    let reads: u32 = timeout(DEADLINE, reader)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(reads > 1);
    assert_holds(&store, &script, &batches).await;
}

#[tokio::test]
async fn a_folder_has_one_store_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let _store = open(folder.path(), tail_only());
    let second = EmbeddedMessageStore::open(folder.path(), tail_only()).err();
    assert!(
        matches!(second, Some(StoreError::Unavailable(_))),
        "{second:?}"
    );
}

#[tokio::test]
async fn a_folder_of_another_format_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path(), tail_only()));
    {
        let database = fjall::Database::builder(folder.path())
            .open()
            .expect("fjall opens");
        let meta = database
            .keyspace("meta", Default::default)
            .expect("it is there");
        meta.insert("format", [2]).expect("it is written");
    }
    let refusal = EmbeddedMessageStore::open(folder.path(), tail_only()).err();
    assert!(
        matches!(&refusal, Some(StoreError::UnknownFormat { found, known: 1, .. }) if found.contains('2')),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_keyspace_that_has_lost_its_file_is_named_and_not_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = Script::new();
    let batches = log(&mut script, 9);
    let store = open(folder.path(), EmbeddedStoreOptions::default());
    for batch in &batches {
        store.commit(Arc::clone(batch)).await.expect("committed");
    }
    store.close().await.expect("closed");
    drop(store);
    let keyspaces = folder.path().join("keyspaces");
    let mut looked_at = 0;
    for entry in std::fs::read_dir(&keyspaces).expect("keyspaces") {
        let current = entry.expect("an entry").path().join("current");
        let kept = std::fs::read(&current).expect("a file");
        std::fs::remove_file(&current).expect("removed");
        match EmbeddedMessageStore::open(folder.path(), EmbeddedStoreOptions::default()) {
            Err(StoreError::Damaged(what)) => {
                assert!(what.contains(&*current.to_string_lossy()), "{what}");
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it opened without {}", current.display()),
        }
        std::fs::write(&current, kept).expect("written back");
        looked_at += 1;
    }
    assert!(looked_at >= 6, "{looked_at} keyspaces");
    let store = open(folder.path(), EmbeddedStoreOptions::default());
    assert_holds(&store, &script, &batches).await;
}
