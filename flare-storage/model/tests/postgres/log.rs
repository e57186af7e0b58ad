//! A log to commit, and whether a store holds it.

use std::{sync::Arc, time::Duration};

use flare_storage_model::{
    ConversationKey, LoggedEvent, MessageQuery, MessageStore, StoreBatch, StoreError,
    contract::Script,
};
use tokio::time::{Instant, timeout};

/// Whatever is waited for has come by then.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

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

/// All that a log has to say of a conversation.
pub(crate) fn events_of<'a>(
    batches: &'a [Arc<StoreBatch>],
    key: &ConversationKey,
) -> Vec<&'a LoggedEvent> {
    let events = batches.iter().flat_map(|it| &it.events);
    events.filter(|it| it.key() == key).collect()
}

/// Every event of the log is there once, and heads, receipts and places with it.
pub(crate) async fn assert_holds(
    store: &dyn MessageStore,
    script: &Script,
    batches: &[Arc<StoreBatch>],
) {
    assert_eq!(store.cursor(script.partition).await, Ok(script.cursor));
    let names = ["busy".to_owned()]
        .into_iter()
        .chain((0..7).map(|it| format!("quiet-{it}")));
    for name in names {
        let key = script.key(&name);
        let events = events_of(batches, &key);
        if events.is_empty() {
            continue;
        }
        let run = store.range(&key, 0, usize::MAX, usize::MAX).await;
        let run = run.expect("it reads");
        assert!(run.iter().eq(events.iter().map(|it| it.event())), "{name}");
        let heads = store.heads(std::slice::from_ref(&key)).await;
        assert_eq!(heads, Ok(vec![Some(script.head(&name))]));
        let rows = store.messages(&key, MessageQuery::After(0), usize::MAX);
        let rows = rows.await.expect("it reads");
        let messages = events.iter().filter(|it| it.is_message());
        assert!(rows.iter().map(|it| it.seq).eq(messages.map(|it| it.seq())));
        for row in rows {
            let recall = events.iter().rfind(|it| it.recalls() == Some(row.seq));
            assert_eq!(row.recalled_by_seq, recall.map(|it| it.seq()));
        }
        let ids: Vec<_> = events.iter().filter_map(|it| it.id_key()).collect();
        let receipts = store.receipts(&ids).await.expect("it reads");
        let ought = events
            .iter()
            .map(|it| Some((it.receipt(), it.fingerprint())));
        assert!(receipts.into_iter().eq(ought), "{name}");
        for event in events {
            let place = store.locate(event.message_id()).await;
            assert_eq!(place, Ok(Some((key.clone(), event.seq()))));
        }
    }
}

/// Commits as the storage-writer does: again while the store says that it may answer later.
pub(crate) async fn commit(
    store: &dyn MessageStore,
    batch: &Arc<StoreBatch>,
) -> Result<(), StoreError> {
    let begun = Instant::now();
    loop {
        match store.commit(Arc::clone(batch)).await {
            Err(error) if error.is_retryable() && begun.elapsed() < DEADLINE => {
                tokio::task::yield_now().await;
            }
            done => return done,
        }
    }
}

/// What comes in time.
pub(crate) async fn soon<T>(what: &str, it: impl Future<Output = T>) -> T {
    let came = timeout(DEADLINE, it).await;
    came.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}
