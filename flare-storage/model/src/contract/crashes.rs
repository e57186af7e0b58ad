//! What a crash leaves.

use std::sync::Arc;

use super::{
    Outcome, Script, Subject,
    script::{answer, holds, same},
};

/// After a crash the cursor covers exactly what is there, and the log from the cursor on brings back the rest.
pub(super) async fn what_a_crash_leaves_can_be_committed_on(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let mut batches = Vec::new();
    for index in 0..20 {
        let mut events = script.messages("general", 3)?;
        events.extend(script.messages(&format!("other-{index}"), 2)?);
        let batch = script.batch(events);
        answer(store.commit(Arc::clone(&batch)).await)?;
        batches.push(batch);
    }
    drop(store);
    let store = subject.crash().await;
    let cursor = answer(store.cursor(script.partition).await)?;
    for batch in &batches {
        if batch.to.next_offset > cursor.next_offset {
            answer(store.commit(Arc::clone(batch)).await)?;
        }
    }
    let run = answer(
        store
            .range(&script.key("general"), 0, 1_000, usize::MAX)
            .await,
    )?;
    let ought: Vec<_> = batches
        .iter()
        .flat_map(|batch| &batch.events)
        .filter(|it| it.key() == &script.key("general"))
        .map(|it| it.event().clone())
        .collect();
    same("the range", run, ought)?;
    let keys = [
        script.key("general"),
        script.key("other-0"),
        script.key("other-19"),
    ];
    let heads = answer(store.heads(&keys).await)?;
    let ought = ["general", "other-0", "other-19"].map(|it| Some(script.head(it)));
    same("the heads", heads, ought.to_vec())
}

/// The cursor is not below what was called synced.
pub(super) async fn what_is_synced_survives_a_crash(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    for _ in 0..10 {
        let events = script.messages("general", 5)?;
        answer(store.commit(script.batch(events)).await)?;
    }
    let synced = answer(store.synced_cursor(script.partition).await)?;
    drop(store);
    let store = subject.crash().await;
    let cursor = answer(store.cursor(script.partition).await)?;
    holds(
        &format!(
            "synced up to {}, after a crash {}",
            synced.next_offset, cursor.next_offset
        ),
        cursor.next_offset >= synced.next_offset,
    )
}
