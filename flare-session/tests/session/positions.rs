//! Read positions: only forward, never beyond the head, coalesced, told to others.

use std::sync::Arc;

use flare_proto::{
    common::{ActorKind, ErrorCode},
    session::{MarkReadRequest, session_service_server::SessionService},
};
use flare_session::application::ports::{Audience, SignalKind};
use tonic::Request;

use super::world::{World, answer, assert_refused, context, until};

#[tokio::test]
async fn a_position_moves_forward_only() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    for _ in 0..5 {
        w.log.say("team", "olga");
    }
    w.feed().await;
    let marked = w.mark("mia", "team", 4).await.expect("marks");
    assert_eq!((marked.read_seq, marked.unread_count), (4, 2));
    let back = w.mark("mia", "team", 2).await.expect("answers");
    assert_eq!((back.read_seq, back.unread_count), (4, 2));
    w.session.positions.flush().await.expect("writes");
    let stored = w.mark("mia", "team", 3).await.expect("answers");
    assert_eq!((stored.read_seq, stored.unread_count), (4, 2));
    let all = w.mark("mia", "team", 6).await.expect("marks");
    assert_eq!((all.read_seq, all.unread_count), (6, 0));
}

#[tokio::test]
async fn a_position_beyond_the_head_is_refused_and_one_that_the_stream_has_not_brought_is_taken() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.feed().await;
    w.log.say("team", "olga");
    assert_eq!(w.mark("mia", "team", 2).await.map(|it| it.read_seq), Ok(2));
    assert_refused(
        w.mark("mia", "team", 3).await,
        ErrorCode::PositionBeyondHead,
        "seq",
    );
    assert_refused(
        w.mark("mia", "team", u64::MAX).await,
        ErrorCode::PositionBeyondHead,
        "seq",
    );
    assert_refused(
        w.mark("mia", "team", 0).await,
        ErrorCode::InvalidArgument,
        "seq",
    );
}

#[tokio::test]
async fn the_ordinal_of_an_old_seq_is_asked_for() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    for _ in 0..150 {
        w.log.say("team", "olga");
        w.log.recall("team", 2);
    }
    w.feed().await;
    // 301 events, of which every second counts; the message at 2 is recalled.
    let near = w.mark("mia", "team", 290).await.expect("marks");
    assert_eq!(near.unread_count, 5);
    let reads = w.log.reads();
    w.mark("mia", "team", 295).await.expect("marks");
    assert_eq!(w.log.reads(), reads, "near the head memory knows");
    let other = World::new().await;
    other.create("olga", "team", &["mia"]).await;
    for _ in 0..200 {
        other.log.say("team", "olga");
    }
    assert_eq!(
        other
            .mark("mia", "team", 11)
            .await
            .map(|it| it.unread_count),
        Ok(190)
    );
}

#[tokio::test]
async fn who_left_reads_up_to_his_leaving_and_no_further() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.leave("mia", "c1", "team").await.expect("leaves");
    w.log.say("team", "olga");
    w.feed().await;
    assert_refused(
        w.mark("mia", "team", 4).await,
        ErrorCode::PositionBeyondHead,
        "seq",
    );
    let marked = w.mark("mia", "team", 3).await.expect("marks");
    assert_eq!((marked.read_seq, marked.unread_count), (3, 0));
}

#[tokio::test]
async fn a_send_from_a_device_moves_its_sender_s_position() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.log.say("team", "mia");
    w.log.say("team", "olga");
    w.log.say_by_api("team", "mia");
    w.feed().await;
    let entry = w.entry("mia", "team").await;
    assert_eq!(
        (entry.read_seq, entry.unread_count),
        (3, 2),
        "what an API key sends in his name he has not read"
    );
}

#[tokio::test]
async fn reading_is_told_to_own_devices_and_to_the_others() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    let direct = w.log.say_directly("bob", "mia");
    w.feed().await;
    let (running, shutdown) = (Arc::clone(&w.session.signals), w.shutdown.clone());
    let running = tokio::spawn(async move { running.run(&shutdown).await });
    w.mark("mia", "team", 2).await.expect("marks");
    w.mark("mia", &direct, 1).await.expect("marks");
    w.mark("mia", "team", 1).await.expect("answers");
    until("four signals are heard", async || {
        w.heard.0.lock().expect("not poisoned").len() >= 4
    })
    .await;
    w.shutdown.drain();
    running.await.expect("ends");
    let heard = w.heard.0.lock().expect("not poisoned").clone();
    let count = |id: &str, seq, audience: &Audience| {
        let one = heard.iter().filter(|it| {
            *it.key.conversation == *id
                && it.kind == SignalKind::Read(seq)
                && it.audience == *audience
        });
        one.count()
    };
    let own = Audience::OwnDevices {
        except: "phone".into(),
    };
    assert_eq!(heard.len(), 4);
    assert_eq!(
        (
            count("team", 2, &own),
            count("team", 2, &Audience::Participants)
        ),
        (1, 1)
    );
    assert_eq!(
        (
            count(&direct, 1, &own),
            count(&direct, 1, &Audience::Participants)
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn the_system_has_no_positions() {
    let w = World::new().await;
    w.create("olga", "team", &[]).await;
    let request = MarkReadRequest {
        context: context(ActorKind::System, "", ""),
        conversation_id: "team".into(),
        seq: 1,
    };
    let outcome = answer(w.rpc().mark_read(Request::new(request)).await);
    assert_refused(outcome, ErrorCode::InvalidArgument, "context.actor.user_id");
}
