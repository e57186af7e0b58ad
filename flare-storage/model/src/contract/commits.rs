//! What a commit owes.

use std::{future::ready, pin::pin, sync::Arc, time::Duration};

use tokio::{select, time::timeout};

use super::{
    Outcome, Script, Subject,
    script::{answer, changed, holds, id_of, same},
};
use crate::message_store::{StoreBatch, StoreError};

/// Once `commit` has returned, every read sees the batch.
pub(super) async fn a_committed_batch_is_readable(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let event = script.message("general", "hello")?;
    let batch = script.batch(vec![event.clone()]);
    answer(store.commit(batch).await)?;
    let key = script.key("general");
    let run = answer(store.range(&key, 0, 10, usize::MAX).await)?;
    same("the range", run, vec![event.event().clone()])?;
    let heads = answer(store.heads(&[key]).await)?;
    same("the head", heads, vec![Some(script.head("general"))])?;
    let receipts = answer(store.receipts(&[id_of(&event)]).await)?;
    same(
        "the receipt",
        receipts,
        vec![Some((event.receipt(), event.fingerprint()))],
    )
}

/// `cursor` is where the last batch ended.
pub(super) async fn the_cursor_covers_what_is_committed(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let before = answer(store.cursor(script.partition).await)?;
    same("the cursor of nothing", before, Default::default())?;
    for count in [1, 0, 2] {
        let events = script.messages("general", count)?;
        answer(store.commit(script.batch(events)).await)?;
        same(
            "the cursor",
            answer(store.cursor(script.partition).await)?,
            script.cursor,
        )?;
    }
    Ok(())
}

/// A batch is stored whole or not at all.
pub(super) async fn a_refused_batch_leaves_nothing(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let taken = script.message("general", "first")?;
    answer(store.commit(script.batch(vec![taken.clone()])).await)?;
    // The first event is good, the second has the first message's client id.
    let good = script.message("general", "good")?;
    let bad = script.message("general", "bad")?;
    let bad = changed(&bad, |it| {
        it.client_id.clone_from(&taken.header().client_id)
    })?;
    // Whether it is refused is another obligation's subject.
    let refused = store
        .commit(script.batch(vec![good.clone(), bad]))
        .await
        .is_err();
    let found = answer(store.locate(good.message_id()).await)?;
    holds(
        "the good half of a refused batch is stored",
        !refused || found.is_none(),
    )
}

/// A writer may commit a batch again.
pub(super) async fn a_repeated_batch_changes_nothing(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let first = script.messages("general", 3)?;
    let first = script.batch(first);
    let second = script.messages("general", 2)?;
    let second = script.batch(second);
    for batch in [&first, &first, &second, &first, &second] {
        answer(store.commit(Arc::clone(batch)).await)?;
    }
    let run = answer(store.range(&script.key("general"), 0, 10, usize::MAX).await)?;
    let ought = first
        .events
        .iter()
        .chain(&second.events)
        .map(|it| it.event().clone());
    same("the range", run, ought.collect())
}

/// Batches may be cut otherwise when they are repeated.
pub(super) async fn of_a_batch_that_was_committed_in_part_the_rest_is_added(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let first = script.messages("general", 2)?;
    let first = script.batch(first);
    answer(store.commit(Arc::clone(&first)).await)?;
    let second = script.messages("general", 2)?;
    let second = script.batch(second);
    let both = StoreBatch {
        from: first.from,
        events: first.events.iter().chain(&second.events).cloned().collect(),
        ..StoreBatch::clone(&second)
    };
    let ought: Vec<_> = both.events.iter().map(|it| it.event().clone()).collect();
    answer(store.commit(Arc::new(both)).await)?;
    let run = answer(store.range(&script.key("general"), 0, 10, usize::MAX).await)?;
    same("the range", run, ought)
}

/// `SeqConflict`, and the first event stays.
pub(super) async fn another_event_at_a_taken_seq_is_refused(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let event = script.message("general", "first")?;
    let batch = script.batch(vec![event.clone()]);
    answer(store.commit(Arc::clone(&batch)).await)?;
    let other = changed(&event, |it| it.client_id = "other".to_owned())?;
    let again = Arc::new(StoreBatch {
        events: vec![other],
        ..StoreBatch::clone(&batch)
    });
    let refusal = store.commit(again).await;
    let named = matches!(&refusal, Err(StoreError::SeqConflict { key, seq: 1, .. })
        if *key == script.key("general"));
    holds(&format!("another event at seq 1 got {refusal:?}"), named)?;
    let stays = answer(store.event(&script.key("general"), 1).await)?;
    same("seq 1", stays, Some(event.event().clone()))
}

/// `IdConflict`, and the first receipt stays.
pub(super) async fn a_taken_client_id_is_refused(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let event = script.message("general", "first")?;
    answer(store.commit(script.batch(vec![event.clone()])).await)?;
    let second = script.message("general", "second")?;
    let second = changed(&second, |it| {
        it.client_id.clone_from(&event.header().client_id)
    })?;
    let refusal = store.commit(script.batch(vec![second])).await;
    let named = matches!(&refusal, Err(StoreError::IdConflict { client_id, .. })
        if *client_id == event.header().client_id);
    holds(
        &format!("a second event of a client id got {refusal:?}"),
        named,
    )?;
    let receipts = answer(store.receipts(&[id_of(&event)]).await)?;
    same(
        "the receipt",
        receipts,
        vec![Some((event.receipt(), event.fingerprint()))],
    )
}

/// `Broken`: a seq is missing before the event.
pub(super) async fn an_event_that_leaves_a_hole_is_refused(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let first = script.messages("general", 1)?;
    answer(store.commit(script.batch(first)).await)?;
    script.message("general", "lost")?;
    let third = script.messages("general", 1)?;
    let refusal = store.commit(script.batch(third)).await;
    let named = matches!(&refusal, Err(StoreError::Broken { partition, .. })
        if *partition == script.partition);
    holds(&format!("seq 3 above seq 1 got {refusal:?}"), named)
}

/// `Gap`: a record of the log is missing before the batch.
pub(super) async fn a_batch_above_the_cursor_is_refused(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    answer(store.commit(script.batch(Vec::new())).await)?;
    script.batch(Vec::new());
    let events = script.messages("general", 1)?;
    let refusal = store.commit(script.batch(events)).await;
    let named = matches!(
        &refusal,
        Err(StoreError::Gap {
            stored: 1,
            from: 2,
            ..
        })
    );
    holds(
        &format!("a batch from offset 2 on a store at 1 got {refusal:?}"),
        named,
    )
}

/// `Heads`: a batch brings the heads of its events.
pub(super) async fn heads_that_are_not_the_events_ones_are_refused(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 2)?;
    let batch = script.batch(events);
    let mut early = batch.heads.clone();
    early.iter_mut().for_each(|(_, head)| head.seq = 1);
    for heads in [Vec::new(), early] {
        let batch = StoreBatch {
            heads,
            ..StoreBatch::clone(&batch)
        };
        let refusal = store.commit(Arc::new(batch)).await;
        let named = matches!(&refusal, Err(StoreError::Heads { seq: 2, .. }));
        holds(&format!("a batch without its head got {refusal:?}"), named)?;
    }
    Ok(())
}

/// A repetition does not take the cursor back.
pub(super) async fn the_cursor_never_moves_back(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let first = script.messages("general", 1)?;
    let first = script.batch(first);
    answer(store.commit(Arc::clone(&first)).await)?;
    let second = script.messages("general", 1)?;
    answer(store.commit(script.batch(second)).await)?;
    answer(store.commit(first).await)?;
    let cursor = answer(store.cursor(script.partition).await)?;
    same(
        "the next offset",
        cursor.next_offset,
        script.cursor.next_offset,
    )
}

/// The log may be trimmed to the synced cursor, so it must not promise more than there is.
pub(super) async fn the_synced_cursor_is_never_ahead(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    for _ in 0..3 {
        let synced = answer(store.synced_cursor(script.partition).await)?;
        let cursor = answer(store.cursor(script.partition).await)?;
        holds(
            &format!(
                "synced up to {}, committed up to {}",
                synced.next_offset, cursor.next_offset
            ),
            synced.next_offset <= cursor.next_offset,
        )?;
        let events = script.messages("general", 1)?;
        answer(store.commit(script.batch(events)).await)?;
    }
    Ok(())
}

/// `wait_beyond` ends when the offset is committed, and not before.
pub(super) async fn waiters_wait_for_their_offset(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let mut waiting = pin!(store.wait_beyond(script.partition, 1));
    for _ in 0..2 {
        select! {
            biased;
            early = &mut waiting => return Err(format!("offset 1 is not there, but {early:?}")),
            () = ready(()) => {}
        }
        let events = script.messages("general", 1)?;
        answer(store.commit(script.batch(events)).await)?;
    }
    let reached = timeout(Duration::from_secs(10), waiting)
        .await
        .map_err(|_| "nobody woke who waited for offset 1".to_owned())?;
    same("what woke the waiter", answer(reached)?.next_offset, 2)
}

/// A writer that was interrupted begins again with the same batch, whether or not it was committed.
pub(super) async fn a_commit_that_is_given_up_can_be_repeated(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let mut ought = Vec::new();
    let mut given_up = 0;
    // One that is quick may be done before it can be given up.
    for _ in 0..100 {
        let events = script.messages("general", 2)?;
        ought.extend(events.iter().map(|it| it.event().clone()));
        let batch = script.batch(events);
        {
            let mut commit = pin!(store.commit(Arc::clone(&batch)));
            select! {
                biased;
                _ = &mut commit => {}
                () = ready(()) => given_up += 1,
            }
        }
        answer(store.commit(batch).await)?;
        if given_up == 5 {
            break;
        }
    }
    // A few at a time: whether long ranges have holes is of another obligation.
    let key = script.key("general");
    let mut run = Vec::new();
    loop {
        let read = run.len() as u64;
        let page = store.range(&key, read, 10, usize::MAX).await;
        let page = answer(page)?;
        if page.is_empty() {
            break;
        }
        run.extend(page);
    }
    same("the range", run, ought)
}
