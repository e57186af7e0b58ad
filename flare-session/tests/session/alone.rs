//! What is so where no other process has the rows: what waits in memory is shown, moves are counted, and a change that lands wakes the sweeper.

use std::{ops::RangeInclusive, sync::Arc};

use flare_proto::{
    common::ErrorCode,
    session::{InboxEntry, MembershipState},
};
use flare_server_core::shutdown::Shutdown;
use flare_session::{SessionConfig, application::ports::PositionStore};

use super::{
    delivered::{delivered, list, put},
    fake_log::{Fault, TENANT},
    world::{World, id_of, until},
};

fn ids(entries: &[InboxEntry]) -> Vec<&str> {
    entries.iter().map(id_of).collect()
}

#[tokio::test]
async fn a_token_stays_good_across_a_clean_restart_and_not_across_a_crash() {
    let mut w = World::new().await;
    for id in ["one", "two", "three"] {
        w.create("olga", id, &[]).await;
    }
    w.feed().await;
    let (_, token) = w.sync_all("olga", "", 50).await;
    w.restart(true).await;
    w.log.say("two", "olga");
    w.feed().await;
    let (entries, token) = w.sync_all("olga", &token, 50).await;
    assert_eq!(ids(&entries), ["two"]);
    w.restart(false).await;
    let (entries, _) = w.sync_all("olga", &token, 50).await;
    assert_eq!(entries.len(), 3);
}

#[tokio::test]
async fn what_is_told_beside_events_comes_again_when_its_rows_are_written_late() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.feed().await;
    // The event comes by before the receipt does.
    w.log.fail_next(&[Fault::LostAfter]);
    assert!(w.rename("olga", "c1", "team", "new").await.is_err());
    w.feed().await;
    let (entries, token) = w.sync_all("mia", "", 50).await;
    assert_eq!(
        entries[0].conversation.as_ref().map(|it| it.title.as_str()),
        Some("title of team")
    );
    w.rename("olga", "c1", "team", "new")
        .await
        .expect("renames");
    let (entries, _) = w.sync_all("mia", &token, 50).await;
    assert_eq!(
        entries[0].conversation.as_ref().map(|it| it.title.as_str()),
        Some("new")
    );
}

#[tokio::test]
async fn an_event_that_comes_by_wakes_the_sweeper_for_its_line() {
    let mut w = World::new().await;
    w.create("olga", "team", &[]).await;
    w.feed().await;
    let shutdown = Shutdown::new();
    w.log.fail_next(&[Fault::LostAfter]);
    assert!(w.add("olga", "c1", "team", &["mia"]).await.is_err());
    let submissions = w.log.submissions();
    let waking = async {
        w.feed_range(1, 2).await;
        until("the line is settled", async || {
            w.membership("team", "mia").await.state() == MembershipState::Active
        })
        .await;
        shutdown.drain();
    };
    let (swept, ()) = tokio::join!(w.session.outbox.sweep(&shutdown), waking);
    swept.expect("sweeps");
    assert_eq!(w.log.submissions(), submissions + 1);
    assert_eq!(w.log.events_of("team").len(), 2);
}

#[tokio::test]
async fn too_many_waiting_positions_are_refused_with_a_time_and_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let mut w = World::with(SessionConfig {
        max_waiting_positions: 2,
        ..SessionConfig::default()
    })
    .await;
    for id in ["one", "two", "three"] {
        w.create("olga", id, &["mia"]).await;
        w.log.say(id, "olga");
    }
    w.mark("mia", "one", 2).await.expect("marks");
    w.mark("mia", "two", 2).await.expect("marks");
    let refusal = w.mark("mia", "three", 2).await.expect_err("is refused");
    assert_eq!(refusal.code, ErrorCode::ResourceExhausted);
    assert!(refusal.retry_after.is_some());
    assert!(
        rendered
            .render()
            .contains("flare_session_limit_reached_total{limit=\"waiting_positions\"} 1")
    );
    w.session.positions.flush().await.expect("writes");
    w.mark("mia", "three", 2).await.expect("marks");
    // The stream makes room for itself.
    for index in 0..5 {
        w.log.say_directly(&format!("user-{index}"), "olga");
    }
    w.feed().await;
    assert_eq!(w.sync_all("olga", "", 50).await.0.len(), 8);
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
async fn a_flush_that_is_given_up_loses_nothing() {
    let mut w = World::new().await;
    w.create("olga", "team", &["mia"]).await;
    w.log.say("team", "olga");
    w.feed().await;
    w.mark("mia", "team", 2).await.expect("marks");
    {
        let mut flushing = std::pin::pin!(w.session.positions.flush());
        assert!(futures::poll!(flushing.as_mut()).is_pending());
    }
    w.session.positions.flush().await.expect("writes");
    let key = flare_storage_model::ConversationKey::new(TENANT, "team");
    let page = w.store.page(&key, None, 1).await.expect("answers");
    assert_eq!((&*page[0].user, page[0].read.seq), ("mia", 2));
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
async fn a_member_is_told_of_no_more_devices_than_are_kept_though_more_wait() {
    let mut w = World::new().await;
    w.create("olga", "team", &["ada"]).await;
    for _ in 0..20 {
        w.log.say("team", "olga");
    }
    w.feed().await;
    let devices = |seqs: RangeInclusive<u64>| {
        let device = |seq| delivered("ada", &format!("device-{seq:02}"), "team", seq);
        seqs.map(device).collect()
    };
    put(&w, devices(1..=10)).await.expect("takes");
    w.write_positions().await;
    put(&w, devices(11..=21)).await.expect("takes");
    // Not judged yet, it is told to nobody.
    put(&w, vec![delivered("ada", "liar", "team", 22)])
        .await
        .expect("takes");
    let told = async |w: &World| {
        let page = list(w, "olga", "team", "").await.expect("a page");
        let delivered = &page.positions[0].delivered;
        delivered.iter().map(|it| it.seq).collect::<Vec<_>>()
    };
    let foremost: Vec<_> = (12..=21).collect();
    assert_eq!(told(&w).await, foremost);
    w.write_positions().await;
    assert_eq!(told(&w).await, foremost);
}
