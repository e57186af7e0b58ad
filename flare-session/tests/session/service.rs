//! The service as a process composes it: over gRPC, on the embedded bus, with tasks that start and drain.

use std::sync::atomic::Ordering;

use flare_proto::{
    client,
    message::{Event, EventHeader, EventKind},
    push::signal_item,
    session::{LeaveConversationRequest, MarkReadRequest, RenameConversationRequest},
};
use flare_session::{
    SessionConfig,
    application::ports::PositionStore,
    handler::events::{GROUP, TOPIC},
    infrastructure::sqlite::SqliteSession,
};
use flare_storage_model::{ConversationKey, flags};

use super::{
    fake_log::TENANT,
    process::{Others, Process},
    world::{answer, id_of, until, user},
};

#[tokio::test]
async fn a_change_goes_to_the_next_owner_where_one_is_none_any_more() {
    let (folder, others) = (tempfile::tempdir().expect("a folder"), Others::default());
    others.disowns.store(2, Ordering::SeqCst);
    let process = Process::start(&folder, &others).await;
    process.create("team").await;
    assert_eq!(others.events.lock().await.len(), 1);
    assert_eq!(others.disowns.load(Ordering::SeqCst), 0);
    process.stop().await;
}

#[tokio::test]
async fn it_serves_reads_the_stream_and_goes_on_after_a_restart() {
    let (folder, others) = (tempfile::tempdir().expect("a folder"), Others::default());
    let process = Process::start(&folder, &others).await;
    let mut client = process.client.clone();
    process.create("team").await;
    let created = others.events.lock().await[0].clone();
    assert_eq!(
        (created.kind(), created.sender_id.as_str()),
        (EventKind::ConversationCreated, "olga")
    );
    process.publish(&[created]).await;
    for _ in 0..3 {
        let said = others
            .place("team", "olga", EventKind::MessageCreated, flags::COUNTABLE)
            .await;
        process.publish(&[said]).await;
    }
    until("the stream has brought everything", async || {
        process
            .sync("mia", "")
            .await
            .entries
            .first()
            .is_some_and(|it| it.head_seq == 4)
    })
    .await;
    let marking = MarkReadRequest {
        context: user("mia"),
        conversation_id: "team".into(),
        seq: 2,
    };
    assert_eq!(
        answer(client.mark_read(marking).await).map(|it| it.unread_count),
        Ok(2)
    );
    until("the mark is told", async || {
        others.signals.lock().await.iter().any(|it| {
            let own = matches!(it.audience, Some(signal_item::Audience::OwnDevices(_)));
            let read = it.signal.as_ref().and_then(|it| it.signal);
            own && read == Some(client::signal::Signal::Read(client::ReadMark { seq: 2 }))
        })
    })
    .await;
    let mut page = process.sync("mia", "").await;
    assert_eq!(
        (page.entries[0].head_seq, page.entries[0].unread_count),
        (4, 2)
    );
    while page.has_more {
        page = process.sync("mia", &page.token).await;
    }
    process.stop().await;

    let process = Process::start(&folder, &others).await;
    let mut client = process.client.clone();
    let request = LeaveConversationRequest {
        context: user("mia"),
        client_id: "c2".into(),
        conversation_id: "team".into(),
    };
    assert_eq!(
        answer(client.leave_conversation(request).await).map(|it| it.seq),
        Ok(5)
    );
    let page = process.sync("mia", &page.token).await;
    let entry = &page.entries[0];
    assert_eq!(
        (entry.head_seq, entry.read_seq, entry.unread_count),
        (5, 2, 2)
    );
    let last = <Event as prost::Message>::decode(entry.last_message.clone()).expect("an event");
    assert_eq!(last.header.map(|it| it.seq), Some(4));
    process.stop().await;
}

#[tokio::test]
async fn a_kill_loses_no_read_position_of_the_stream_that_waits_to_be_written() {
    let (folder, others) = (tempfile::tempdir().expect("a folder"), Others::default());
    let config = SessionConfig {
        position_interval_ms: 60_000,
        ..SessionConfig::default()
    };
    let process = Process::with(&folder, &others, &config).await;
    process.create("team").await;
    let created = others.events.lock().await[0].clone();
    let beside = SqliteSession::open(folder.path(), 1).await.expect("opens");
    let stored = async || {
        let key = ConversationKey::new(TENANT, "team");
        let page = beside.page(&key, None, 1).await.expect("answers");
        (&*page[0].user == "mia").then_some(page[0].read.seq)
    };
    let mut said = Vec::new();
    for _ in 0..2 {
        let message = others
            .place("team", "mia", EventKind::MessageCreated, flags::COUNTABLE)
            .await;
        said.push(EventHeader {
            sender_device_id: "phone".into(),
            ..message
        });
    }
    // What comes first is written at once, and what comes then would be a minute later.
    process.publish(&[created, said.remove(0)]).await;
    until("it is written", async || stored().await == Some(2)).await;
    process.publish(&said).await;
    let bus = process.platform.event_bus().await.expect("opens");
    bus.caught_up(TOPIC, GROUP).await.expect("is handled");
    until("the stream would go on behind it", async || {
        bus.lowest_cursor(TOPIC).await.expect("answers") == Some(3)
    })
    .await;
    let killed = process.folder_of_a_kill(&folder);
    let again = Process::with(&killed, &others, &config).await;
    let entry = again.sync("mia", "").await.entries.remove(0);
    assert_eq!((entry.read_seq, entry.unread_count), (3, 0));
    again.stop().await;
    process.stop().await;
}

#[tokio::test]
async fn heads_that_come_one_by_one_for_their_size_are_all_in_the_inbox() {
    let (folder, others) = (tempfile::tempdir().expect("a folder"), Others::default());
    let process = Process::start(&folder, &others).await;
    for id in ["one", "two", "three"] {
        process.create(id).await;
        others
            .place(id, "olga", EventKind::MessageCreated, flags::COUNTABLE)
            .await;
    }
    // The stream has brought none of it.
    let mut page = process.sync("mia", "").await;
    assert_eq!(
        others.heads_told.load(Ordering::SeqCst),
        2,
        "that of its entry, and the one that it has no room for"
    );
    let mut entries = page.entries;
    while page.has_more {
        page = process.sync("mia", &page.token).await;
        entries.append(&mut page.entries);
    }
    let shown: Vec<_> = entries
        .iter()
        .map(|it| (it.head_seq, it.last_message.len() > 4 << 20))
        .collect();
    assert_eq!(shown, [(2, true); 3]);
    process.stop().await;
}

#[tokio::test]
async fn a_token_of_the_last_moment_misses_nothing_after_the_restart() {
    let (folder, others) = (tempfile::tempdir().expect("a folder"), Others::default());
    let mut process = Process::start(&folder, &others).await;
    process.create("one").await;
    process.create("two").await;
    let created = others.events.lock().await.clone();
    process.publish(&created).await;
    let bus = process.platform.event_bus().await.expect("opens");
    bus.caught_up(TOPIC, GROUP).await.expect("is handled");
    drop(bus);
    process.drain().await;
    let rename = RenameConversationRequest {
        context: user("olga"),
        client_id: "rename".into(),
        conversation_id: "one".into(),
        title: "renamed".into(),
    };
    let renamed = process.client.clone().rename_conversation(rename).await;
    answer(renamed).expect("renames");
    let mut page = process.sync("mia", "").await;
    while page.has_more {
        page = process.sync("mia", &page.token).await;
    }
    process.end().await;

    let process = Process::start(&folder, &others).await;
    let said = others
        .place("two", "olga", EventKind::MessageCreated, flags::COUNTABLE)
        .await;
    process.publish(&[said]).await;
    let page = process.sync("mia", &page.token).await;
    let moved: Vec<_> = page
        .entries
        .iter()
        .map(|it| (id_of(it), it.head_seq))
        .collect();
    assert_eq!(moved, [("two", 2)]);
    process.stop().await;
}
