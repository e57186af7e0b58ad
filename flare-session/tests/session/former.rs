//! What those see who are no members any more.

use std::sync::Arc;

use flare_proto::{message::Event, session::MembershipState};
use prost::Message;
use tokio::{sync::Notify, time::timeout};

use super::{
    inbox::last_seq,
    world::{DEADLINE, World},
};

#[tokio::test]
async fn who_left_keeps_his_entry_and_sees_nothing_new() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.remove("olga", "c1", "team", "mia")
        .await
        .expect("removes");
    w.rename("olga", "c2", "team", "a secret")
        .await
        .expect("renames");
    w.log.message("team", "olga", &["mia"], true);
    w.feed().await;
    let (entries, token) = w.sync_all("mia", "", 50).await;
    let entry = &entries[0];
    assert_eq!(
        (entry.state(), entry.head_seq, last_seq(entry)),
        (MembershipState::Former, 3, 2)
    );
    assert_eq!((entry.unread_count, entry.mention_count), (1, 0));
    let conversation = entry.conversation.as_ref().expect("a conversation");
    assert_eq!(
        (conversation.title.as_str(), conversation.member_count),
        ("title of team", 1)
    );
    w.log.say("team", "olga");
    w.disband("olga", "c3", "team").await.expect("disbands");
    w.feed().await;
    assert!(w.sync_all("mia", &token, 50).await.0.is_empty());
    let reads = w.log.reads();
    w.sync_all("mia", "", 50).await;
    assert_eq!(w.log.reads(), reads, "what he keeps is asked for once");
}

#[tokio::test]
async fn who_is_removed_while_his_inbox_is_read_sees_nothing_of_what_came_then() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.feed().await;
    // Heads are in the store alone.
    w.restart(false).await;
    let held = Arc::<Notify>::default();
    *w.log.reader_held.lock().expect("not poisoned") = Some(Arc::clone(&held));
    let removed_meanwhile = async {
        w.log.reading.notified().await;
        w.remove("olga", "c1", "team", "mia")
            .await
            .expect("removes");
        w.log.say("team", "olga");
        *w.log.reader_held.lock().expect("not poisoned") = None;
        held.notify_one();
    };
    let answers = async { tokio::join!(w.sync("mia", "", 50), removed_meanwhile) };
    let (answer, ()) = timeout(DEADLINE, answers).await.expect("in time");
    let entry = &answer.expect("answers").entries[0];
    assert_eq!(
        (entry.state(), entry.head_seq, last_seq(entry)),
        (MembershipState::Former, 3, 2)
    );
}

#[tokio::test]
async fn what_was_kept_for_one_who_left_is_withheld_once_it_is_recalled() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia", "ada"]).await;
    let said = w.log.say("team", "olga");
    for who in ["mia", "ada"] {
        w.remove("olga", &format!("c-{who}"), "team", who)
            .await
            .expect("removes");
    }
    w.feed().await;
    let shown = async |w: &World, who: &str| {
        let entry = w.entry(who, "team").await;
        let last = Event::decode(entry.last_message).expect("an event");
        (last.header.map(|it| it.seq), last.body.is_empty())
    };
    // Mia has looked before it was taken back, Ada looks afterwards.
    assert_eq!(shown(&w, "mia").await, (Some(said), false));
    w.log.recall("team", said);
    w.feed().await;
    for who in ["mia", "ada", "mia"] {
        assert_eq!(shown(&w, who).await, (Some(said), true), "{who}");
    }
}
