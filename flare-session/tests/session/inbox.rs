//! SyncInbox and settings.

use flare_proto::{
    common::ErrorCode,
    message::Event,
    session::{
        ConversationSettings, InboxEntry, UpdateSettingsRequest,
        session_service_server::SessionService,
    },
};
use flare_server_core::error::Refusal;
use flare_session::{
    SessionConfig, application::ports::SignalKind, domain::inbox::MAX_COUNTED_MENTIONS,
};
use prost::Message;
use tonic::Request;

use super::world::{World, answer, assert_refused, id_of, user};

async fn update(
    w: &World,
    who: &str,
    request: UpdateSettingsRequest,
) -> Result<ConversationSettings, Refusal> {
    let request = UpdateSettingsRequest {
        context: user(who),
        ..request
    };
    answer(w.rpc().update_settings(Request::new(request)).await)
        .map(|it| it.settings.expect("settings"))
}

fn hide(id: &str, hidden: bool) -> UpdateSettingsRequest {
    UpdateSettingsRequest {
        conversation_id: id.into(),
        hidden: Some(hidden),
        ..UpdateSettingsRequest::default()
    }
}

fn ids(entries: &[InboxEntry]) -> Vec<&str> {
    entries.iter().map(id_of).collect()
}

pub(super) fn last_seq(entry: &InboxEntry) -> u64 {
    let event = Event::decode(entry.last_message.clone()).expect("an event");
    event.header.map_or(0, |it| it.seq)
}

#[tokio::test]
async fn an_inbox_comes_newest_first_then_only_what_changed() {
    let mut w = World::new().await;
    for id in ["one", "two", "three"] {
        w.create("olga", id, &["mia"]).await;
    }
    w.log.say("one", "olga");
    w.feed().await;
    let (entries, token) = w.sync_all("mia", "", 2).await;
    assert_eq!(ids(&entries), ["one", "three", "two"]);
    let (entries, token) = w.sync_all("mia", &token, 2).await;
    assert_eq!(ids(&entries), Vec::<&str>::new());
    w.log.say("two", "olga");
    w.feed().await;
    let (entries, token) = w.sync_all("mia", &token, 2).await;
    assert_eq!(ids(&entries), ["two"]);
    assert_eq!(
        (
            entries[0].head_seq,
            entries[0].unread_count,
            last_seq(&entries[0])
        ),
        (2, 1, 2)
    );
    let (entries, _) = w.sync_all("mia", &token, 2).await;
    assert!(entries.is_empty());
}

#[tokio::test]
async fn own_rows_that_change_come_again() {
    let mut w = World::new().await;
    w.create("olga", "one", &["mia"]).await;
    w.create("olga", "two", &["mia"]).await;
    w.log.say("one", "olga");
    w.feed().await;
    let (_, token) = w.sync_all("mia", "", 50).await;
    w.mark("mia", "one", 2).await.expect("marks");
    let (entries, token) = w.sync_all("mia", &token, 50).await;
    assert_eq!((ids(&entries), entries[0].unread_count), (vec!["one"], 0));
    w.session.positions.flush().await.expect("writes");
    let (_, token) = w.sync_all("mia", &token, 50).await;
    assert!(w.sync_all("mia", &token, 50).await.0.is_empty());
    let pin = UpdateSettingsRequest {
        conversation_id: "two".into(),
        pinned: Some(true),
        ..Default::default()
    };
    update(&w, "mia", pin).await.expect("pins");
    let (entries, _) = w.sync_all("mia", &token, 50).await;
    assert_eq!(ids(&entries), ["two"]);
    assert!(entries[0].settings.as_ref().is_some_and(|it| it.pinned));
}

#[tokio::test]
async fn a_direct_conversation_appears_for_both() {
    let mut w = World::new().await;
    let (_, token) = w.sync_all("bob", "", 50).await;
    let id = w.log.say_directly("alice", "bob");
    w.feed().await;
    let (entries, _) = w.sync_all("bob", &token, 50).await;
    assert_eq!(
        (ids(&entries), entries[0].unread_count),
        (vec![id.as_str()], 1)
    );
    let of_alice = w.entry("alice", &id).await;
    assert_eq!((of_alice.unread_count, of_alice.read_seq), (0, 1));
    assert_eq!(
        of_alice.conversation.expect("a conversation").participants,
        ["alice", "bob"]
    );
}

#[tokio::test]
async fn no_more_mentions_are_counted_than_anybody_reads() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    for _ in 0..=MAX_COUNTED_MENTIONS {
        w.log.message("team", "olga", &["mia"], false);
    }
    w.feed().await;
    let entry = w.entry("mia", "team").await;
    let counted = MAX_COUNTED_MENTIONS as u64;
    assert_eq!(
        (entry.mention_count, entry.unread_count),
        (counted, counted + 1)
    );
    // The newest are: those that are read first are not among them.
    w.mark("mia", "team", 2).await.expect("marks");
    assert_eq!(w.entry("mia", "team").await.mention_count, counted);
    w.mark("mia", "team", 3).await.expect("marks");
    assert_eq!(w.entry("mia", "team").await.mention_count, counted - 1);
}

#[tokio::test]
async fn mentions_are_counted_until_they_are_read_or_recalled() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia", "ada"]).await;
    w.log.message("team", "olga", &["mia", "eve"], false);
    w.log.message("team", "olga", &["mia", "ada"], false);
    w.log.message("team", "olga", &[], true);
    w.feed().await;
    let counts = async |who: &str| w.entry(who, "team").await.mention_count;
    assert_eq!(
        (
            counts("mia").await,
            counts("ada").await,
            counts("olga").await
        ),
        (3, 2, 0)
    );
    w.mark("mia", "team", 2).await.expect("marks");
    assert_eq!(counts("mia").await, 2);
    w.log.recall("team", 3);
    w.feed().await;
    let entry = w.entry("mia", "team").await;
    assert_eq!((entry.mention_count, entry.unread_count), (1, 1));
    w.log.recall("team", 4);
    w.feed().await;
    let entry = w.entry("mia", "team").await;
    assert_eq!((entry.mention_count, entry.unread_count), (0, 0));
    // Of the last message, which was recalled, only the header is shown.
    let last = Event::decode(entry.last_message).expect("an event");
    assert_eq!(
        (last.header.map(|it| it.seq), last.body.len()),
        (Some(4), 0)
    );
}

#[tokio::test]
async fn unread_is_exact_beyond_the_recalled_messages_that_a_head_names() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    for _ in 0..100 {
        w.log.say("team", "olga");
    }
    for seq in 2..82 {
        w.log.recall("team", seq);
    }
    w.feed().await;
    assert_eq!(w.entry("mia", "team").await.unread_count, 20);
    assert_eq!(
        w.mark("mia", "team", 11).await.map(|it| it.unread_count),
        Ok(20)
    );
    assert_eq!(
        w.mark("mia", "team", 91).await.map(|it| it.unread_count),
        Ok(10)
    );
}

#[tokio::test]
async fn joining_makes_nothing_unread() {
    let mut w = World::new().await;
    w.create("olga", "team", &[]).await;
    for _ in 0..5 {
        w.log.say("team", "olga");
    }
    w.add("olga", "c1", "team", &["mia"]).await.expect("adds");
    w.log.say("team", "olga");
    w.feed().await;
    let entry = w.entry("mia", "team").await;
    assert_eq!((entry.read_seq, entry.unread_count), (7, 1));
}

#[tokio::test]
async fn a_hidden_conversation_comes_back_with_the_next_message() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    // Not brought by the stream yet: it is older than the hiding all the same.
    assert!(
        update(&w, "mia", hide("team", true))
            .await
            .expect("hides")
            .hidden
    );
    w.feed().await;
    let hidden = async |w: &World| {
        w.entry("mia", "team")
            .await
            .settings
            .is_some_and(|it| it.hidden)
    };
    assert!(hidden(&w).await);
    w.rename("olga", "c1", "team", "no message")
        .await
        .expect("renames");
    w.feed().await;
    assert!(hidden(&w).await);
    w.log.say("team", "olga");
    w.feed().await;
    assert!(!hidden(&w).await);
    // A batch that comes again changes nothing.
    update(&w, "mia", hide("team", true)).await.expect("hides");
    w.feed_range(0, w.fed).await;
    assert!(hidden(&w).await);
    assert!(
        !update(&w, "mia", hide("team", false))
            .await
            .expect("shows")
            .hidden
    );
}

#[tokio::test]
async fn settings_change_one_by_one_and_own_devices_are_told() {
    let w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    let request = |mute_until_ms, pinned| UpdateSettingsRequest {
        conversation_id: "team".into(),
        mute_until_ms,
        pinned,
        ..Default::default()
    };
    let settings = update(&w, "mia", request(Some(-1), None))
        .await
        .expect("mutes");
    assert_eq!((settings.mute_until_ms, settings.pinned), (-1, false));
    let settings = update(&w, "mia", request(None, Some(true)))
        .await
        .expect("pins");
    assert_eq!((settings.mute_until_ms, settings.pinned), (-1, true));
    assert_refused(
        update(&w, "mia", request(Some(-2), None)).await,
        ErrorCode::InvalidArgument,
        "mute_until_ms",
    );
    assert_refused(
        update(&w, "eve", request(None, Some(true))).await,
        ErrorCode::ConversationNotFound,
        "conversation_id",
    );
    let telling = async {
        super::world::until("own devices are told", async || {
            let heard = w.heard.0.lock().expect("not poisoned");
            heard
                .iter()
                .filter(|it| it.kind == SignalKind::Settings && &*it.user == "mia")
                .count()
                == 2
                || heard.len() == 1
        })
        .await;
        w.shutdown.drain();
    };
    tokio::join!(w.session.signals.run(&w.shutdown), telling);
}

#[tokio::test]
async fn a_cursor_of_another_user_is_refused() {
    let w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    let (_, token) = w.sync_all("olga", "", 50).await;
    assert_refused(
        w.sync("mia", &token, 50).await,
        ErrorCode::InvalidPageToken,
        "token",
    );
    assert_refused(
        w.sync("olga", "nonsense", 50).await,
        ErrorCode::InvalidPageToken,
        "token",
    );
    for size in [0, 201, 1_000_000_000] {
        assert_refused(
            w.sync("olga", "", size).await,
            ErrorCode::InvalidArgument,
            "page_size",
        );
    }
}

#[tokio::test]
async fn a_token_below_the_horizon_gets_everything() {
    let mut w = World::with(SessionConfig {
        recent_heads: 2,
        ..SessionConfig::default()
    })
    .await;
    for id in ["one", "two", "three", "four"] {
        w.create("olga", id, &[]).await;
    }
    w.feed().await;
    let (_, token) = w.sync_all("olga", "", 50).await;
    w.log.say("one", "olga");
    w.feed().await;
    let (entries, newer) = w.sync_all("olga", &token, 50).await;
    assert_eq!(ids(&entries), ["one"]);
    for id in ["two", "three", "four"] {
        w.log.say(id, "olga");
    }
    w.feed().await;
    assert_eq!(w.sync_all("olga", &newer, 50).await.0.len(), 4);
}

#[tokio::test]
async fn a_page_is_bounded_in_bytes() {
    let config = SessionConfig {
        max_inbox_page_bytes: 1_500,
        ..SessionConfig::default()
    };
    let mut w = World::with(config).await;
    for id in ["one", "two", "three", "four", "five"] {
        w.create("olga", id, &[]).await;
        w.log.say(id, "olga");
    }
    w.feed().await;
    let first = w.sync("olga", "", 50).await.expect("a page");
    assert!(
        first.has_more && first.entries.len() == 2,
        "{}",
        first.entries.len()
    );
    assert_eq!(
        ids(&w.sync_all("olga", "", 50).await.0),
        ["five", "four", "three", "two", "one"]
    );
}

#[tokio::test]
async fn own_sends_count_as_read_after_a_crash_too() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.log.say("team", "mia");
    w.feed().await;
    w.restart(false).await;
    assert_eq!(w.entry("mia", "team").await.unread_count, 0);
}
