//! What reads of events, heads and receipts owe.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Outcome, Script, Subject,
    script::{answer, holds, id_of, new_message_id, same},
};
use crate::{command_id::IdKey, conversation_key::ConversationKey, logged_event::LoggedEvent};

fn bytes_of(events: &[LoggedEvent]) -> Vec<Bytes> {
    events.iter().map(|it| it.event().clone()).collect()
}

/// Answers stand where their keys stand, a key twice included.
pub(super) async fn heads_come_in_the_order_of_their_keys(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let mut events = script.messages("a", 3)?;
    events.extend(script.messages("b", 1)?);
    events.extend(script.messages("c", 2)?);
    answer(store.commit(script.batch(events)).await)?;
    let names = ["c", "a", "b", "c"];
    let heads = answer(store.heads(&names.map(|it| script.key(it))).await)?;
    same(
        "the heads",
        heads,
        names.map(|it| Some(script.head(it))).to_vec(),
    )
}

/// Answers stand where their keys stand, with the fingerprint of what was said.
pub(super) async fn receipts_come_in_the_order_of_their_keys(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let mut events = script.messages("a", 2)?;
    events.extend(script.messages("b", 1)?);
    answer(store.commit(script.batch(events.clone())).await)?;
    let order = [2, 0, 1];
    let keys = order.map(|index: usize| id_of(&events[index]));
    let ought = order.map(|index| Some((events[index].receipt(), events[index].fingerprint())));
    same(
        "the receipts",
        answer(store.receipts(&keys).await)?,
        ought.to_vec(),
    )
}

/// From after_seq + 1 on, one by one.
pub(super) async fn a_range_has_no_hole(subject: Arc<dyn Subject>, mut script: Script) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 40)?;
    for some in events.chunks(7) {
        answer(store.commit(script.batch(some.to_vec())).await)?;
    }
    let key = script.key("general");
    for after in [0, 1, 6, 7, 39, 40] {
        let run = answer(store.range(&key, after as u64, 100, usize::MAX).await)?;
        same(
            &format!("the range above {after}"),
            run,
            bytes_of(&events[after..]),
        )?;
    }
    Ok(())
}

/// Neither more events than `limit` nor more bytes than `max_bytes`.
pub(super) async fn a_range_keeps_its_limits(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 10)?;
    answer(store.commit(script.batch(events.clone())).await)?;
    let key = script.key("general");
    let run = answer(store.range(&key, 2, 3, usize::MAX).await)?;
    same("three events", run, bytes_of(&events[2..5]))?;
    let room: usize = events[2..6].iter().map(|it| it.event().len()).sum();
    for max_bytes in [room, room + 1] {
        let run = answer(store.range(&key, 2, 100, max_bytes).await)?;
        same(
            &format!("what {max_bytes} bytes hold"),
            run,
            bytes_of(&events[2..6]),
        )?;
    }
    Ok(())
}

/// An event that is larger than `max_bytes` comes alone, else nobody would get past it.
pub(super) async fn a_range_gives_one_event_at_least(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 2)?;
    answer(store.commit(script.batch(events.clone())).await)?;
    let run = answer(store.range(&script.key("general"), 0, 100, 1).await)?;
    same("what 1 byte holds", run, bytes_of(&events[..1]))
}

/// One event, exactly that one.
pub(super) async fn an_event_is_found_by_its_seq(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 3)?;
    answer(store.commit(script.batch(events.clone())).await)?;
    let found = answer(store.event(&script.key("general"), 2).await)?;
    same("seq 2", found, Some(events[1].event().clone()))
}

/// Contents of 64 KiB, byte for byte.
pub(super) async fn large_events_come_back_whole(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let text = "消息".repeat(64 * 1024 / 6);
    let events = (0..8)
        .map(|_| script.message("general", &text))
        .collect::<Result<Vec<_>, _>>()?;
    answer(store.commit(script.batch(events.clone())).await)?;
    let key = script.key("general");
    for seq in 1..=8_u64 {
        let found = answer(store.event(&key, seq).await)?;
        let ought = events.get(seq as usize - 1).map(|it| it.event().clone());
        holds(&format!("seq {seq} has changed"), found == ought)?;
    }
    Ok(())
}

/// A message id leads to its conversation and seq.
pub(super) async fn message_ids_are_located(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let mut events = script.messages("a", 2)?;
    events.extend(script.messages("b", 2)?);
    answer(store.commit(script.batch(events.clone())).await)?;
    for event in &events {
        let place = answer(store.locate(event.message_id()).await)?;
        same("the place", place, Some((event.key().clone(), event.seq())))?;
    }
    Ok(())
}

/// 1 as long as nothing was taken away.
pub(super) async fn the_floor_is_the_first_event(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    same(
        "the floor of nothing",
        answer(store.floor(&script.key("general")).await)?,
        1,
    )?;
    let events = script.messages("general", 3)?;
    answer(store.commit(script.batch(events)).await)?;
    same(
        "the floor",
        answer(store.floor(&script.key("general")).await)?,
        1,
    )
}

/// Nothing is an answer, not an error and not an empty something.
pub(super) async fn what_is_not_there_is_none(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 1)?;
    answer(store.commit(script.batch(events)).await)?;
    let (there, none) = (script.key("general"), script.key("nowhere"));
    let heads = answer(store.heads(std::slice::from_ref(&none)).await)?;
    same("the head of nothing", heads, vec![None])?;
    let id = IdKey::new(there.clone(), "alice", "never");
    same(
        "the receipt of nothing",
        answer(store.receipts(&[id]).await)?,
        vec![None],
    )?;
    for seq in [0, 2, u64::MAX] {
        same(
            "an event above the head",
            answer(store.event(&there, seq).await)?,
            None,
        )?;
    }
    for (key, after) in [(&none, 0), (&there, 1), (&there, u64::MAX)] {
        let run = answer(store.range(key, after, 10, usize::MAX).await)?;
        same("a range above the head", run, Vec::new())?;
    }
    same(
        "the place of nothing",
        answer(store.locate(new_message_id()).await)?,
        None,
    )
}

/// The same ids in another tenant are another conversation.
pub(super) async fn tenants_do_not_see_each_other(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let event = script.message("shared", "secret")?;
    answer(store.commit(script.batch(vec![event.clone()])).await)?;
    let mut other = Script::new();
    let lonely = other.message("lonely", "hello")?;
    answer(store.commit(other.batch(vec![lonely])).await)?;
    let key: ConversationKey = other.key("shared");
    same(
        "an event of another tenant",
        answer(store.event(&key, 1).await)?,
        None,
    )?;
    let id = IdKey {
        conversation: key,
        ..id_of(&event)
    };
    same(
        "a receipt of another tenant",
        answer(store.receipts(&[id]).await)?,
        vec![None],
    )
}
