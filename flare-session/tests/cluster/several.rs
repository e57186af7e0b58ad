//! What users have, whichever process they ask.

use std::time::{Duration, Instant};

use flare_proto::{
    common::ErrorCode,
    message::{ConversationClass, EventHeader, EventKind},
    session::{InboxEntry, MarkReadRequest, RenameConversationRequest},
};
use flare_storage_model::{direct_conversation_id, flags};

use crate::{
    fake_log::TENANT,
    house::{House, Running},
    world::{answer, id_of, user},
};

fn said(conversation: &str, who: &str, mentions: &[&str]) -> EventHeader {
    EventHeader {
        conversation_id: conversation.into(),
        sender_id: who.into(),
        sender_device_id: "phone".into(),
        kind: EventKind::MessageCreated.into(),
        flags: flags::COUNTABLE,
        class: ConversationClass::Group.into(),
        mentions: mentions.iter().map(ToString::to_string).collect(),
        ..EventHeader::default()
    }
}

fn said_directly(who: &str, other: &str) -> EventHeader {
    let mut participants = vec![who.to_owned(), other.to_owned()];
    participants.sort();
    EventHeader {
        conversation_id: direct_conversation_id(TENANT, who, other),
        class: ConversationClass::Direct.into(),
        participants,
        ..said("", who, &[])
    }
}

/// Head, read position, unread, mentions.
fn counts(entry: &InboxEntry) -> (u64, u64, u64, u64) {
    (
        entry.head_seq,
        entry.read_seq,
        entry.unread_count,
        entry.mention_count,
    )
}

#[track_caller]
fn counts_of(entries: &[InboxEntry], id: &str) -> (u64, u64, u64, u64) {
    let entry = entries.iter().find(|it| id_of(it) == id);
    counts(entry.unwrap_or_else(|| panic!("{id} has not changed")))
}

async fn mark(at: &Running, who: &str, id: &str, seq: u64) -> u64 {
    let request = MarkReadRequest {
        context: user(who),
        conversation_id: id.into(),
        seq,
    };
    let marked = at.process().client.clone().mark_read(request).await;
    answer(marked).expect("marks").unread_count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_process_answers_for_all_and_goes_on_from_any_token() {
    let house = House::new().await;
    let both = [house.start().await, house.start().await];
    for id in ["one", "two", "three", "four", "five"] {
        both[0].process().create(id).await;
    }
    let mut published = house.publish_from(0).await;
    let mut tokens = [String::new(), String::new()];
    for (at, token) in both.iter().zip(&mut tokens) {
        let (entries, newer) = at.sync_all("mia", "").await;
        assert_eq!(entries.len(), 5);
        *token = newer;
    }
    for round in 0..12_u64 {
        let (one, other) = ((round % 2) as usize, ((round + 1) % 2) as usize);
        let id = ["one", "two", "three"][(round % 3) as usize];
        house.others.place_header(said(id, "olga", &["mia"])).await;
        let direct = said_directly(&format!("user-{round}"), "mia");
        let direct = house.others.place_header(direct).await.conversation_id;
        published = house.publish_from(published).await;
        // What changed, from the token that the other gave.
        let (entries, token) = both[one].sync_all("mia", &tokens[other]).await;
        let changed: Vec<_> = entries.iter().map(id_of).collect();
        assert!(
            changed.contains(&id) && changed.contains(&direct.as_str()),
            "{changed:?}"
        );
        // And what came while the last answer was made, once more.
        assert!(changed.len() <= 4, "{changed:?}");
        tokens[one] = token;
        let entry = entries.iter().find(|it| id_of(it) == id).expect("there");
        assert_eq!(
            (entry.unread_count, entry.mention_count),
            (1, 1),
            "round {round}"
        );
        assert_eq!(mark(&both[one], "mia", id, entry.head_seq).await, 0);
        // Read at the one, it is read at the other.
        let (entries, token) = both[other].sync_all("mia", &tokens[one]).await;
        let entry = entries.iter().find(|it| id_of(it) == id).expect("there");
        assert_eq!(
            (entry.unread_count, entry.mention_count),
            (0, 0),
            "round {round}"
        );
        tokens[other] = token;
    }
    let (entries, _) = both[0].sync_all("mia", "").await;
    let (same, _) = both[1].sync_all("mia", "").await;
    for entry in &same {
        assert_eq!(counts_of(&entries, id_of(entry)), counts(entry));
    }
    assert_eq!(same.len(), 5 + 12);
    assert_eq!(entries.len(), 5 + 12);
    for at in both {
        at.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_end_are_killed_or_begin_cost_nobody_anything() {
    let house = House::new().await;
    let [first, second] = [house.start().await, house.start().await];
    for id in ["one", "two", "three", "four"] {
        first.process().create(id).await;
    }
    let mut published = house.publish_from(0).await;
    let (_, token) = first.sync_all("mia", "").await;
    for id in ["one", "two"] {
        for _ in 0..3 {
            house.others.place_header(said(id, "olga", &["mia"])).await;
            house.others.place_header(said(id, "mia", &[])).await;
        }
    }
    published = house.publish_from(published).await;
    mark(&first, "mia", "one", 4).await;
    // What it was given and did not write comes to the others.
    first.kill();
    let begun = Instant::now();
    let (entries, token) = second.sync_all("mia", &token).await;
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    for id in ["one", "two"] {
        assert_eq!(counts_of(&entries, id), (7, 7, 0, 0), "{id}");
    }
    let third = house.start().await;
    house
        .others
        .place_header(said("three", "olga", &["mia"]))
        .await;
    published = house.publish_from(published).await;
    // A token of a process that is gone, and of a time before this one began.
    let (entries, token) = third.sync_all("mia", &token).await;
    assert_eq!(counts_of(&entries, "three"), (2, 1, 1, 1));
    second.stop().await;
    house
        .others
        .place_header(said("four", "olga", &["mia"]))
        .await;
    house.publish_from(published).await;
    let (entries, _) = third.sync_all("mia", &token).await;
    assert_eq!(counts_of(&entries, "four"), (2, 1, 1, 1));
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_whose_process_is_gone_becomes_one_event_by_another() {
    let house = House::new().await;
    let [first, second] = [house.start().await, house.start().await];
    first.process().create("team").await;
    let published = house.publish_from(0).await;
    house.others.holds.send_replace(true);
    let rename = RenameConversationRequest {
        context: user("olga"),
        client_id: "c1".into(),
        conversation_id: "team".into(),
        title: "new".into(),
    };
    let mut client = first.process().client.clone();
    let refusal = answer(client.rename_conversation(rename.clone()).await);
    assert_eq!(refusal.map_err(|it| it.code), Err(ErrorCode::Unavailable));
    first.kill();
    house.others.holds.send_replace(false);
    // Nobody asks for it.
    let mut events = house.others.events_told.subscribe();
    let landed = tokio::time::timeout(
        Duration::from_secs(20),
        events.wait_for(|count| *count > published),
    );
    landed.await.expect("in time").expect("goes on");
    let mut client = second.process().client.clone();
    let renamed = answer(client.rename_conversation(rename).await).expect("renamed");
    assert_eq!(renamed.seq, 2);
    assert_eq!(house.others.events.lock().await.len(), published + 1);
    house.publish_from(published).await;
    let (entries, _) = second.sync_all("mia", "").await;
    let title = entries[0].conversation.as_ref().map(|it| it.title.as_str());
    assert_eq!(title, Some("new"));
    second.stop().await;
}
