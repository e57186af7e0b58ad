//! Two processes of the service on the same rows and the same log.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use flare_proto::{message::HistoryVisibility, session::MembershipState};
use flare_server_core::error::Refusal;
use flare_session::{
    application::ports::{ConversationStore, InboxStore, RosterStore},
    domain::caller::UserKey,
};
use flare_storage_model::ConversationKey;

use crate::{
    fake_log::TENANT,
    lanes::AlwaysCaughtUp,
    place::Place,
    world::{World, until},
};

/// Seeds of the second process's ids.
const SECOND: u64 = 1_000;

async fn two() -> [World; 2] {
    let one = World::new().await;
    let (place, log) = (one.place.clone(), Arc::clone(&one.log));
    let caught_up = Arc::new(AlwaysCaughtUp);
    let other = World::on(place, log, one.config.clone(), SECOND, caught_up).await;
    [one, other]
}

/// Asks again as a client does.
async fn insists(mut ask: impl AsyncFnMut() -> Result<u64, Refusal>) -> Result<u64, Refusal> {
    for _ in 0..100 {
        match ask().await {
            Err(refusal) if refusal.is_retryable() => {}
            answer => return answer,
        }
    }
    ask().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_group_that_both_change_is_changed_one_step_after_the_other() {
    let both = two().await;
    both[0].create("olga", "team", &["mia"]).await;
    let users: Vec<String> = (0..12).map(|it| format!("user-{it}")).collect();
    // Both add everybody, in opposite orders, in commands of their own: each joins once.
    let adds = async |process: usize, users: Vec<&String>| {
        let mut seqs = Vec::new();
        for user in users {
            let client_id = format!("add-{process}-{user}");
            let ask = async || both[process].add("olga", &client_id, "team", &[user]).await;
            seqs.push(insists(ask).await.expect("adds"));
        }
        seqs
    };
    let (mut seqs, others) = tokio::join!(
        adds(0, users.iter().collect()),
        adds(1, users.iter().rev().collect())
    );
    seqs.extend(others);
    // 0: he was in it already.
    let made: BTreeSet<_> = seqs.iter().copied().filter(|it| *it > 0).collect();
    let changes = seqs.iter().filter(|it| **it > 0).count();
    assert_eq!((made.len(), changes), (users.len(), users.len()));
    assert_eq!(both[0].log.events_of("team").len(), 1 + users.len());
    let key = ConversationKey::new(TENANT, "team");
    for world in &both {
        let roster = world.store.roster(&key).await.expect("answers");
        let roster = roster.expect("it is there");
        assert_eq!(roster.members.as_ref().expect("all").len(), 2 + users.len());
        assert_eq!(roster.summary.member_count as usize, 2 + users.len());
    }
}

#[tokio::test]
async fn all_follow_one_stream_whoever_named_it() {
    let both = two().await;
    let place = Place::fresh().await;
    let stores = [place.open().await, place.open().await];
    let epochs = tokio::join!(stores[0].stream_epoch(1), stores[1].stream_epoch(2));
    assert_eq!(epochs.0, epochs.1);
    assert!([Ok(1), Ok(2)].contains(&epochs.0));
    // Another database is another's.
    let other = both[0].store.stream_epoch(3).await;
    assert_eq!(both[1].store.stream_epoch(4).await, other);
    assert_eq!(other, Ok(7));
}

#[tokio::test]
async fn what_one_has_changed_the_other_knows_at_once() {
    let both = two().await;
    both[0].create("olga", "team", &["mia"]).await;
    for round in 0..4 {
        let (one, other) = (&both[round % 2], &both[(round + 1) % 2]);
        let knows = async |user: &str| {
            let standing = other.membership("team", user).await;
            standing.state() == MembershipState::Active
        };
        assert!(knows("mia").await && !knows("max").await);
        let (add, remove) = (format!("add-{round}"), format!("remove-{round}"));
        let added = one.add("olga", &add, "team", &["max"]).await;
        added.expect("adds");
        assert!(knows("max").await);
        let removed = one.remove("olga", &remove, "team", "max").await;
        let seq = removed.expect("removes");
        assert!(!knows("max").await);
        assert_eq!(other.membership("team", "max").await.as_of, seq);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_command_that_comes_to_both_is_done_once_and_answered_alike() {
    let both = two().await;
    both[0].create("olga", "team", &["mia"]).await;
    for round in 0..15 {
        let client_id = format!("rename-{round}");
        let title = format!("title {round}");
        let asks = async |world: &World| {
            let ask = async || world.rename("olga", &client_id, "team", &title).await;
            insists(ask).await.expect("renames")
        };
        let seqs = tokio::join!(asks(&both[0]), asks(&both[1]));
        assert_eq!(seqs.0, seqs.1);
    }
    assert_eq!(both[0].log.events_of("team").len(), 1 + 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_left_waiting_both_sweep_and_each_line_counts_once() {
    const GROUPS: usize = 10;
    let [one, other] = two().await;
    one.log.set_down(true);
    for group in 0..GROUPS {
        let id = format!("g{group}");
        let waits = one.try_create("olga", &id, &["mia"], HistoryVisibility::All);
        let waits = waits.await;
        assert!(waits.expect_err("waits").is_retryable());
    }
    one.log.set_down(false);
    let sweeping: Vec<_> = [&one, &other]
        .map(|world| {
            let (outbox, shutdown) = (Arc::clone(&world.session.outbox), world.shutdown.clone());
            tokio::spawn(async move { outbox.sweep(&shutdown).await })
        })
        .into();
    until("nothing waits", async || {
        let waiting = other.store.pending_conversations().await;
        waiting.expect("answers").is_empty()
    })
    .await;
    for world in [&one, &other] {
        world.shutdown.drain();
    }
    for it in sweeping {
        let ended = tokio::time::timeout(Duration::from_secs(10), it).await;
        ended.expect("ends").expect("no panic").expect("sweeps");
    }
    assert!(one.log.submissions() >= GROUPS);
    for group in 0..GROUPS {
        assert_eq!(one.log.events_of(&format!("g{group}")).len(), 1);
    }
    let version = other.store.version(&UserKey::new(TENANT, "mia")).await;
    assert_eq!(version.expect("answers").version, GROUPS as u64);
}
