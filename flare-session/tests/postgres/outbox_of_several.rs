//! Changes that several processes make at once while one of them is killed: each line becomes one event, and the rows say what the log says.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use flare_proto::message::Role;
use flare_session::{SessionConfig, application::ports::ConversationStore};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use crate::{
    fake_log::Fault,
    house::{House, Topic},
    lanes::LANES,
    races::{counts_are_right, rows_are_as_the_logs_say},
    world::{DEADLINE, World, until},
};

const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
const USERS: [&str; 5] = ["ada", "eva", "max", "mia", "tom"];
const PROCESSES: usize = 3;
const COMMANDS: usize = 25;

/// Asks for changes, and asks again for some of which nothing is known.
async fn command(w: Arc<World>, process: usize, worker: usize, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed * 100 + (process * 10 + worker) as u64);
    for number in 0..COMMANDS {
        let client_id = format!("c-{process}-{worker}-{number}");
        let group = GROUPS[rng.random_range(0..GROUPS.len())];
        let user = USERS[rng.random_range(0..USERS.len())];
        let what = rng.random_range(0..5);
        if rng.random_bool(0.1) {
            let faults = [Fault::LostAfter, Fault::LostBefore, Fault::Refuse];
            w.log
                .fail_next(&[faults[rng.random_range(0..faults.len())]]);
        }
        for _ in 0..rng.random_range(1..4) {
            let done = match what {
                0 | 1 => w.add("olga", &client_id, group, &[user]).await,
                2 => w.remove("olga", &client_id, group, user).await,
                3 => w.rename("olga", &client_id, group, &client_id).await,
                _ => {
                    w.set_role("olga", &client_id, group, user, Role::Admin)
                        .await
                }
            };
            match done {
                Err(refusal) if refusal.is_retryable() => {}
                _ => break,
            }
        }
    }
}

/// The stream goes on, while anybody works.
async fn flow(topic: Arc<Topic>, done: Arc<AtomicBool>) {
    while !done.load(Ordering::SeqCst) {
        topic.publish(2);
        for lane in 0..LANES {
            topic.hand(lane, 3).await;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_killed_each_line_is_one_event_and_the_rows_are_as_the_log() {
    for seed in 0..6 {
        let mut house = House::of(PROCESSES, SessionConfig::default(), seed).await;
        for group in GROUPS {
            house.processes[0].create("olga", group, &["mia"]).await;
        }
        let (topic, log) = (Arc::clone(&house.topic), Arc::clone(&house.log));
        let processes: Vec<_> = house.processes.drain(..).map(Arc::new).collect();
        let done = Arc::<AtomicBool>::default();
        let flowing = tokio::spawn(flow(Arc::clone(&topic), Arc::clone(&done)));
        // What each process does, to be ended at once.
        let mut doing: Vec<JoinSet<()>> = Vec::new();
        let mut sweeping: Vec<JoinSet<()>> = Vec::new();
        for (index, w) in processes.iter().enumerate() {
            let mut tasks = JoinSet::new();
            for worker in 0..2 {
                tasks.spawn(command(Arc::clone(w), index, worker, seed));
            }
            doing.push(tasks);
            let (outbox, shutdown) = (Arc::clone(&w.session.outbox), w.shutdown.clone());
            let mut sweeper = JoinSet::new();
            sweeper.spawn(async move { outbox.sweep(&shutdown).await.expect("sweeps") });
            sweeping.push(sweeper);
        }
        // In the middle of it the first is killed: none of its tasks comes to an end.
        let enough = GROUPS.len() + 5 + 4 * seed as usize;
        until("some changes are made", async || log.len() >= enough).await;
        drop((doing.remove(0), sweeping.remove(0)));
        topic.leave(0, false).await;
        for mut tasks in doing {
            let all = async {
                while tasks
                    .join_next()
                    .await
                    .transpose()
                    .expect("no panic")
                    .is_some()
                {}
            };
            tokio::time::timeout(DEADLINE, all).await.expect("in time");
        }
        let store = &processes[1].store;
        until("nothing waits", async || {
            let waiting = store.pending_conversations().await;
            waiting.expect("answers").is_empty()
        })
        .await;
        for w in &processes[1..] {
            w.shutdown.drain();
        }
        for mut sweeper in sweeping {
            let ended = tokio::time::timeout(DEADLINE, sweeper.join_next()).await;
            ended.expect("ends").expect("one").expect("no panic");
        }
        done.store(true, Ordering::SeqCst);
        flowing.await.expect("ends");

        let events = log.events();
        let ids: BTreeSet<_> = events.iter().map(|it| &it.client_id).collect();
        assert_eq!(ids.len(), events.len(), "seed {seed}: a line is two events");
        let changes = log.changes();
        assert_eq!(changes.values().map(Vec::len).sum::<usize>(), events.len());
        rows_are_as_the_logs_say(store, &changes).await;
        counts_are_right(&house.place).await;
    }
}
