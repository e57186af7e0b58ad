//! What pages of messages owe.

use std::sync::Arc;

use super::{
    Outcome, Script, Subject,
    script::{START_MS, answer, same},
};
use crate::message_store::{MessageQuery, MessageStore};

async fn seqs(
    store: &Arc<dyn MessageStore>,
    script: &Script,
    query: MessageQuery,
    limit: usize,
) -> Result<Vec<u64>, String> {
    let rows = answer(store.messages(&script.key("general"), query, limit).await)?;
    Ok(rows.into_iter().map(|it| it.seq).collect())
}

/// The last messages below the seq, by rising seq, with their events.
pub(super) async fn a_page_before_a_seq_ends_below_it(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 10)?;
    answer(store.commit(script.batch(events.clone())).await)?;
    let rows = answer(
        store
            .messages(&script.key("general"), MessageQuery::Before(8), 2)
            .await,
    )?;
    let found: Vec<_> = rows.into_iter().map(|it| (it.seq, it.event)).collect();
    let ought = events[5..7]
        .iter()
        .map(|it| (it.seq(), it.event().clone()))
        .collect();
    same("two below 8", found, ought)?;
    same(
        "below 2",
        seqs(&store, &script, MessageQuery::Before(2), 3).await?,
        vec![1],
    )?;
    same(
        "below 1",
        seqs(&store, &script, MessageQuery::Before(1), 3).await?,
        vec![],
    )?;
    same(
        "below 0",
        seqs(&store, &script, MessageQuery::Before(0), 3).await?,
        vec![],
    )?;
    same(
        "below 99",
        seqs(&store, &script, MessageQuery::Before(99), 1).await?,
        vec![10],
    )
}

/// The first messages above the seq.
pub(super) async fn a_page_after_a_seq_begins_above_it(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 10)?;
    answer(store.commit(script.batch(events)).await)?;
    same(
        "above 4",
        seqs(&store, &script, MessageQuery::After(4), 2).await?,
        vec![5, 6],
    )?;
    same(
        "above 9",
        seqs(&store, &script, MessageQuery::After(9), 2).await?,
        vec![10],
    )?;
    same(
        "above 10",
        seqs(&store, &script, MessageQuery::After(10), 2).await?,
        vec![],
    )?;
    let above_all = MessageQuery::After(u64::MAX);
    same(
        "above all",
        seqs(&store, &script, above_all, 2).await?,
        vec![],
    )
}

/// The first message at or after the time.
pub(super) async fn a_page_from_a_time_begins_at_it(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 20)?;
    for some in events.chunks(6) {
        answer(store.commit(script.batch(some.to_vec())).await)?;
    }
    for (time_ms, ought) in [
        (i64::MIN, vec![1, 2]),
        (START_MS, vec![1, 2]),
        (START_MS + 1, vec![2, 3]),
        (START_MS + 9_000, vec![10, 11]),
        (START_MS + 9_001, vec![11, 12]),
        (START_MS + 19_000, vec![20]),
        (START_MS + 19_001, vec![]),
        (i64::MAX, vec![]),
    ] {
        let found = seqs(&store, &script, MessageQuery::FromTime(time_ms), 2).await?;
        same(&format!("from {time_ms} ms"), found, ought)?;
    }
    Ok(())
}

/// Other events have no row.
pub(super) async fn a_page_holds_messages_only(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let mut events = vec![script.rename("general")?];
    events.extend(script.messages("general", 2)?);
    events.push(script.recall("general", 2)?);
    events.push(script.rename("general")?);
    answer(store.commit(script.batch(events)).await)?;
    let last = MessageQuery::Before(u64::MAX);
    same(
        "the last",
        seqs(&store, &script, last, 100).await?,
        vec![2, 3],
    )?;
    same(
        "the first",
        seqs(&store, &script, MessageQuery::After(0), 100).await?,
        vec![2, 3],
    )
}

/// Events that are no messages take no place in it.
pub(super) async fn a_page_is_full_while_there_are_messages(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    for _ in 0..4 {
        let mut events = script.messages("general", 1)?;
        for _ in 0..5 {
            events.push(script.rename("general")?);
        }
        answer(store.commit(script.batch(events)).await)?;
    }
    same(
        "the first",
        seqs(&store, &script, MessageQuery::After(0), 3).await?,
        vec![1, 7, 13],
    )?;
    let last = MessageQuery::Before(u64::MAX);
    same(
        "the last",
        seqs(&store, &script, last, 3).await?,
        vec![7, 13, 19],
    )
}

/// In the commit that brings the recall, and of a message that was stored long before.
pub(super) async fn a_recalled_message_says_by_what(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 3)?;
    answer(store.commit(script.batch(events)).await)?;
    let mut events = script.messages("general", 1)?;
    events.push(script.recall("general", 4)?);
    events.push(script.recall("general", 2)?);
    answer(store.commit(script.batch(events)).await)?;
    let rows = answer(
        store
            .messages(&script.key("general"), MessageQuery::After(0), 10)
            .await,
    )?;
    let recalls: Vec<_> = rows
        .into_iter()
        .map(|it| (it.seq, it.recalled_by_seq))
        .collect();
    same(
        "the recalls",
        recalls,
        vec![(1, None), (2, Some(6)), (3, None), (4, Some(5))],
    )
}

/// Each message once, also if it was taken back twice.
pub(super) async fn recalled_messages_above_a_seq_are_counted(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 100)?;
    answer(store.commit(script.batch(events)).await)?;
    let key = script.key("general");
    for target in 1..=80 {
        let events = vec![script.recall("general", target)?];
        answer(store.commit(script.batch(events)).await)?;
    }
    let again = vec![script.recall("general", 80)?];
    answer(store.commit(script.batch(again)).await)?;
    for (seq, ought) in [(0, 80), (1, 79), (79, 1), (80, 0), (u64::MAX, 0)] {
        let count = answer(store.count_recalled_above(&key, seq).await)?;
        same(&format!("recalled above {seq}"), count, ought)?;
    }
    Ok(())
}

/// By rising seq, each once, from the first to the last seq and none beside them.
pub(super) async fn recalled_messages_of_a_run_are_named(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 12)?;
    answer(store.commit(script.batch(events)).await)?;
    for target in [9, 3, 7, 3] {
        let events = vec![script.recall("general", target)?];
        answer(store.commit(script.batch(events)).await)?;
    }
    let key = script.key("general");
    for (first, last, ought) in [
        (1, 16, vec![3, 7, 9]),
        (3, 7, vec![3, 7]),
        (4, 8, vec![7]),
        (4, 6, vec![]),
        (10, u64::MAX, vec![]),
        (8, 2, vec![]),
    ] {
        let found = answer(store.recalled_between(&key, first, last).await)?;
        same(&format!("recalled from {first} to {last}"), found, ought)?;
    }
    Ok(())
}
