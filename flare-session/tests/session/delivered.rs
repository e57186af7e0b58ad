//! Delivered positions: judged, kept by device, and out of everybody else's way.

use std::sync::Arc;

use flare_proto::{
    common::ErrorCode,
    session::{
        DeliveredPosition, ListPositionsRequest, ListPositionsResponse, PutPositionsRequest,
        session_service_server::SessionService,
    },
};
use flare_server_core::error::Refusal;
use flare_session::{
    SessionConfig,
    application::ports::{KEPT_DEVICES, PositionStore},
};
use flare_storage_model::{ConversationKey, direct_conversation_id};
use tonic::Request;

use super::{
    fake_log::TENANT,
    world::{DEADLINE, World, answer, assert_refused, until, user},
};

pub(super) fn delivered(who: &str, device: &str, id: &str, seq: u64) -> DeliveredPosition {
    DeliveredPosition {
        tenant_id: TENANT.into(),
        user_id: who.into(),
        device_id: device.into(),
        conversation_id: id.into(),
        seq,
    }
}

/// Answers which were refused.
pub(super) async fn put(w: &World, positions: Vec<DeliveredPosition>) -> Result<Vec<u32>, Refusal> {
    let request = PutPositionsRequest {
        context: None,
        positions,
    };
    answer(w.rpc().put_positions(Request::new(request)).await).map(|it| it.refused)
}

pub(super) async fn list(
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
    w.write_positions().await;
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
        w.write_positions().await;
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
    w.session.delivered.write().await.expect_err("cannot judge");
    w.log.set_reader_down(false);
    let read = async |w: &World| {
        let key = ConversationKey::new(TENANT, "team");
        let page = w.store.page(&key, None, 1).await.expect("answers");
        (page[0].read.seq, page[0].delivered.len())
    };
    assert_eq!(read(&w).await, (2, 0));
    w.write_positions().await;
    assert_eq!(read(&w).await, (2, 1));
}

#[tokio::test]
async fn what_one_user_s_devices_tell_leaves_the_others_their_room() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let mut w = World::with(SessionConfig {
        max_waiting_positions: 20,
        ..SessionConfig::default()
    })
    .await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.feed().await;
    w.write_positions().await;
    let of_eve = |index| delivered("eve", "phone", &format!("none-{index}"), 1);
    let mut positions: Vec<_> = (0..5).map(of_eve).collect();
    positions.push(delivered("mia", "phone", "team", 2));
    assert_eq!(put(&w, positions).await, Ok(vec![2, 3, 4]));
    assert!(
        rendered
            .render()
            .contains("flare_session_limit_reached_total{limit=\"waiting_delivered\"} 1")
    );
    // Of all, no more than the whole room waits, and that is not the room of what is read.
    let of_many = (0..20).map(|index| delivered(&format!("user-{index}"), "phone", "none", 1));
    let refusal = put(&w, of_many.collect()).await.expect_err("is refused");
    assert_eq!(refusal.code, ErrorCode::ResourceExhausted);
    assert!(refusal.retry_after.is_some());
    w.mark("mia", "team", 2).await.expect("marks");
    w.write_positions().await;
    let page = list(&w, "olga", "team", "").await.expect("a page");
    assert_eq!(page.positions[0].delivered.len(), 1);
    assert_eq!(put(&w, vec![of_eve(2)]).await, Ok(Vec::new()));
}

#[tokio::test]
async fn neither_the_stream_nor_an_inbox_waits_for_a_judgement() {
    let mut w = World::with(SessionConfig {
        max_waiting_positions: 10,
        ..SessionConfig::default()
    })
    .await;
    w.create("olga", "team", &["mia"]).await;
    w.feed().await;
    *w.log.reader_held.lock().expect("not poisoned") = Some(Arc::default());
    put(&w, vec![delivered("mia", "phone", "team", 7)])
        .await
        .expect("takes");
    let delivered = Arc::clone(&w.session.delivered);
    let mut judging = std::pin::pin!(delivered.write());
    assert!(futures::poll!(judging.as_mut()).is_pending());
    // More than there is room for.
    for index in 0..20 {
        w.log.message("team", &format!("user-{index}"), &[], false);
    }
    tokio::time::timeout(DEADLINE, w.feed())
        .await
        .expect("is fed");
    let key = ConversationKey::new(TENANT, "team");
    assert_eq!(w.store.page(&key, None, 1).await.map(|it| it.len()), Ok(1));
}

#[tokio::test]
async fn a_judgement_that_is_given_up_loses_nothing() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.feed().await;
    put(&w, vec![delivered("mia", "phone", "team", 1)])
        .await
        .expect("takes");
    {
        let mut writing = std::pin::pin!(w.session.delivered.write());
        assert!(futures::poll!(writing.as_mut()).is_pending());
    }
    w.write_positions().await;
    let key = ConversationKey::new(TENANT, "team");
    let page = w.store.page(&key, None, 1).await.expect("answers");
    assert_eq!(page[0].delivered, [("phone".into(), 1)]);
}

#[tokio::test]
async fn positions_that_gathered_are_written_by_the_task_and_at_the_end() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.log.say("team", "olga");
    w.feed().await;
    let running = tokio::spawn({
        let delivered = Arc::clone(&w.session.delivered);
        async move { delivered.run().await }
    });
    let stored = async |w: &World| {
        let key = ConversationKey::new(TENANT, "team");
        let page = w.store.page(&key, None, 1).await.expect("answers");
        page[0].delivered.first().map(|(_, seq)| *seq)
    };
    put(&w, vec![delivered("mia", "phone", "team", 1)])
        .await
        .expect("takes");
    until("the position is written", async || {
        stored(&w).await == Some(1)
    })
    .await;
    // The task rests now, and writes this one before it ends.
    put(&w, vec![delivered("mia", "phone", "team", 2)])
        .await
        .expect("takes");
    w.shutdown.drain();
    running.await.expect("ends");
    assert_eq!(stored(&w).await, Some(2));
    put(&w, vec![delivered("mia", "phone", "team", 3)])
        .await
        .expect("takes");
    assert_eq!(stored(&w).await, Some(3));
}

#[tokio::test]
async fn made_up_conversations_are_asked_for_together() {
    let w = World::new().await;
    let made_up = (1..=150).map(|index| {
        let id = direct_conversation_id(TENANT, "eve", &format!("user-{index}"));
        delivered("eve", "phone", &id, 1)
    });
    put(&w, made_up.collect()).await.expect("takes");
    let before = w.log.reads();
    w.write_positions().await;
    assert_eq!(w.log.reads(), before + 1);
}
