//! Read and delivered positions: only forward, never beyond the head, coalesced, told to others.

use std::sync::Arc;

use flare_proto::{
    common::{ActorKind, ErrorCode},
    session::{
        DeliveredPosition, ListPositionsRequest, ListPositionsResponse, MarkReadRequest,
        PutPositionsRequest, session_service_server::SessionService,
    },
};
use flare_server_core::error::Refusal;
use flare_session::{
    SessionConfig,
    application::ports::{Audience, KEPT_DEVICES, PositionStore, SignalKind},
};
use tonic::Request;

use super::{
    fake_log::TENANT,
    world::{World, answer, assert_refused, context, until, user},
};

fn delivered(who: &str, device: &str, id: &str, seq: u64) -> DeliveredPosition {
    DeliveredPosition {
        tenant_id: TENANT.into(),
        user_id: who.into(),
        device_id: device.into(),
        conversation_id: id.into(),
        seq,
    }
}

async fn put(w: &World, positions: Vec<DeliveredPosition>) -> Result<(), Refusal> {
    let request = PutPositionsRequest {
        context: None,
        positions,
    };
    answer(w.rpc().put_positions(Request::new(request)).await).map(|_| ())
}

async fn list(
    w: &World,
    who: &str,
    id: &str,
    token: &str,
) -> Result<ListPositionsResponse, Refusal> {
    let request = ListPositionsRequest {
        context: user(who),
        conversation_id: id.into(),
        page_size: Some(2),
        page_token: token.into(),
    };
    answer(w.rpc().list_positions(Request::new(request)).await)
}

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
async fn delivered_positions_are_kept_by_device_and_wrong_ones_dropped() {
    let mut w = World::new().await;
    w.create("olga", "team", &["ada", "mia"]).await;
    w.log.say("team", "olga");
    w.feed().await;
    w.log.say("team", "olga");
    let positions = vec![
        delivered("mia", "phone", "team", 1),
        delivered("mia", "phone", "team", 2),
        delivered("mia", "laptop", "team", 3),
        delivered("ada", "phone", "team", 4),
        delivered("eve", "phone", "team", 1),
        delivered("ada", "phone", "none", 1),
    ];
    put(&w, positions).await.expect("takes");
    w.session.positions.flush().await.expect("writes");
    put(&w, vec![delivered("mia", "phone", "team", 1)])
        .await
        .expect("takes");
    let first = list(&w, "olga", "team", "").await.expect("a page");
    let shown: Vec<_> = first
        .positions
        .iter()
        .map(|it| {
            let devices: Vec<_> = it
                .delivered
                .iter()
                .map(|it| (it.device_id.as_str(), it.seq))
                .collect();
            (it.user_id.as_str(), devices)
        })
        .collect();
    assert_eq!(
        shown,
        [("ada", vec![]), ("mia", vec![("laptop", 3), ("phone", 2)])]
    );
    let second = list(&w, "olga", "team", &first.next_page_token)
        .await
        .expect("a page");
    assert_eq!(
        (second.positions.len(), second.next_page_token.as_str()),
        (1, "")
    );
    assert_refused(
        list(&w, "eve", "team", "").await,
        ErrorCode::ConversationNotFound,
        "conversation_id",
    );
}

#[tokio::test]
async fn of_a_members_devices_those_that_received_most_are_kept() {
    let mut w = World::new().await;
    w.create("olga", "team", &["ada"]).await;
    for _ in 0..KEPT_DEVICES {
        w.log.say("team", "olga");
    }
    w.feed().await;
    // One more than is kept, each a message further.
    for seq in 1..=KEPT_DEVICES as u64 + 1 {
        let device = format!("device-{seq:02}");
        put(&w, vec![delivered("ada", &device, "team", seq)])
            .await
            .expect("takes");
        w.session.positions.flush().await.expect("writes");
    }
    let page = list(&w, "olga", "team", "").await.expect("a page");
    let ada = page.positions.first().expect("ada");
    let devices: Vec<_> = ada
        .delivered
        .iter()
        .map(|it| it.device_id.as_str())
        .collect();
    assert_eq!(devices.len(), KEPT_DEVICES);
    assert_eq!(devices.first(), Some(&"device-02"));
}

#[tokio::test]
async fn read_positions_are_written_while_delivered_ones_cannot_be_judged() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.feed().await;
    w.log.say("team", "olga");
    w.mark("mia", "team", 2).await.expect("marks");
    put(&w, vec![delivered("mia", "phone", "team", 3)])
        .await
        .expect("takes");
    w.log.set_reader_down(true);
    w.session.positions.flush().await.expect("writes");
    w.log.set_reader_down(false);
    let read = async |w: &World| {
        let key = flare_storage_model::ConversationKey::new(TENANT, "team");
        let page = w.store.page(&key, None, 1).await.expect("answers");
        (page[0].read.seq, page[0].delivered.len())
    };
    assert_eq!(read(&w).await, (2, 0));
    w.session.positions.flush().await.expect("writes");
    assert_eq!(read(&w).await, (2, 1));
}

#[tokio::test]
async fn positions_that_wait_are_listed() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.feed().await;
    w.mark("mia", "team", 2).await.expect("marks");
    put(&w, vec![delivered("mia", "phone", "team", 2)])
        .await
        .expect("takes");
    let page = list(&w, "olga", "team", "").await.expect("a page");
    assert_eq!(
        (
            page.positions[0].read_seq,
            page.positions[0].delivered[0].seq
        ),
        (2, 2)
    );
}

#[tokio::test]
async fn too_many_waiting_positions_are_refused_with_a_time_and_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let w = World::with(SessionConfig {
        max_waiting_positions: 2,
        ..SessionConfig::default()
    })
    .await;
    w.create("olga", "team", &[]).await;
    let three = (1..=3)
        .map(|index| delivered("olga", &format!("device-{index}"), "team", 1))
        .collect();
    let refusal = put(&w, three).await.expect_err("is refused");
    assert_eq!(refusal.code, ErrorCode::ResourceExhausted);
    assert!(refusal.retry_after.is_some());
    assert!(
        rendered
            .render()
            .contains("flare_session_limit_reached_total{limit=\"waiting_positions\"} 1")
    );
    w.session.positions.flush().await.expect("writes");
    put(&w, vec![delivered("olga", "device-3", "team", 1)])
        .await
        .expect("takes");
    // The stream makes room for itself.
    let mut w = w;
    for index in 0..5 {
        w.log.say_directly(&format!("user-{index}"), "olga");
    }
    w.feed().await;
    assert_eq!(w.sync_all("olga", "", 50).await.0.len(), 6);
}

#[tokio::test]
async fn positions_are_written_by_the_task_and_at_the_end() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.log.say("team", "olga");
    w.feed().await;
    let (positions, shutdown) = (Arc::clone(&w.session.positions), w.shutdown.clone());
    let running = tokio::spawn(async move { positions.run().await });
    w.mark("mia", "team", 2).await.expect("marks");
    let stored = async |w: &World| {
        let key = flare_storage_model::ConversationKey::new(TENANT, "team");
        let page = w.store.page(&key, None, 10).await.expect("answers");
        page.iter()
            .find(|it| &*it.user == "mia")
            .map(|it| it.read.seq)
    };
    until("the position is written", async || {
        stored(&w).await == Some(2)
    })
    .await;
    shutdown.drain();
    running.await.expect("ends");
    // Who comes while the process drains writes himself.
    w.mark("mia", "team", 3).await.expect("marks");
    assert_eq!(stored(&w).await, Some(3));
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
