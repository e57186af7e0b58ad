//! Inboxes of processes that come, go and are killed: whoever asks any of them misses nothing, and is told of no position that goes back.

use std::{collections::HashMap, sync::Arc, time::Duration};

use flare_proto::{
    message::{EventHeader, EventKind, HistoryVisibility},
    session::{
        InboxEntry, ListPositionsRequest, UpdateSettingsRequest,
        session_service_server::SessionService,
    },
};
use flare_session::SessionConfig;
use flare_storage_model::{ConversationKey, flags};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tonic::Request;

use crate::{
    fake_log::{Fault, TENANT},
    house::House,
    inbox_random::{Client, assert_agrees_with_log, assert_same},
    lanes::LANES,
    world::{answer, id_of, user},
};

const USERS: [&str; 4] = ["olga", "ada", "mia", "max"];
const GROUPS: [&str; 4] = ["g1", "g2", "g3", "g4"];
const PROCESSES: usize = 3;

/// What users were told of read positions, by user and conversation.
#[derive(Default)]
struct Told(HashMap<(String, String), u64>);

impl Told {
    #[track_caller]
    fn tell(&mut self, who: &str, id: &str, seq: u64) {
        let before = self.0.entry((who.into(), id.into())).or_default();
        assert!(
            seq >= *before,
            "{who} in {id}: {seq} was told after {before}"
        );
        *before = seq;
    }

    #[track_caller]
    fn tell_entries(&mut self, client: &Client) {
        for entry in &client.shown {
            self.tell(client.user, id_of(entry), entry.read_seq);
        }
    }
}

struct Random {
    rng: StdRng,
    house: House,
    clients: Vec<Client>,
    told: Told,
    commands: usize,
}

impl Random {
    async fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let config = SessionConfig {
            recent_heads: *[2, 4, 100].choose(&mut rng).expect("not empty"),
            kept_message_bytes: *[0, 10_000].choose(&mut rng).expect("not empty"),
            max_waiting_positions: *[3, 1_000].choose(&mut rng).expect("not empty"),
            max_inbox_page_bytes: *[1, 1_000_000].choose(&mut rng).expect("not empty"),
            ..SessionConfig::default()
        };
        let house = House::of(PROCESSES, config, seed).await;
        for (index, id) in GROUPS.iter().enumerate() {
            let history = if index % 2 == 0 {
                HistoryVisibility::All
            } else {
                HistoryVisibility::SinceJoin
            };
            house.processes[index % PROCESSES]
                .try_create("olga", id, &["ada"], history)
                .await
                .expect("creates");
        }
        let clients = USERS
            .iter()
            .chain(&USERS)
            .map(|it| Client::new(it))
            .collect();
        Self {
            rng,
            house,
            clients,
            told: Told::default(),
            commands: 0,
        }
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.choose(&mut self.rng).expect("not empty")
    }

    async fn step(&mut self) {
        let (group, who, other) = (
            self.one_of(&GROUPS),
            self.one_of(&USERS),
            self.one_of(&USERS),
        );
        self.commands += 1;
        let client_id = format!("c{}", self.commands);
        let (process, lane, count) = (
            self.rng.random_range(0..PROCESSES),
            self.rng.random_range(0..LANES),
            self.rng.random_range(1..8),
        );
        let (topic, log) = (Arc::clone(&self.house.topic), Arc::clone(&self.house.log));
        let w = &self.house.processes[process];
        match self.rng.random_range(0..28) {
            0..=3 => {
                let mentions = [other];
                let mentions = &mentions[..usize::from(self.rng.random_bool(0.3))];
                log.message(group, who, mentions, self.rng.random_bool(0.1));
            }
            4 => drop((who != other).then(|| log.say_directly(who, other))),
            5 => {
                let messages: Vec<_> = log
                    .events_of(group)
                    .into_iter()
                    .filter(|it| it.kind() == EventKind::MessageCreated)
                    .map(|it| it.seq)
                    .collect();
                if let Some(target) = messages.choose(&mut self.rng) {
                    log.recall(group, *target);
                }
            }
            6 | 7 => topic.publish(count),
            8 | 9 => topic.hand(lane, count).await,
            10 => topic.keep(lane).await,
            11 => topic.follow(process, count).await,
            12 => topic.assign(lane, process, self.rng.random_bool(0.5)).await,
            13 => {
                let newest = log.events_of(group).len() as u64;
                let marked = w.mark(who, group, self.rng.random_range(1..=newest)).await;
                if let Ok(marked) = marked {
                    self.told.tell(who, group, marked.read_seq);
                }
            }
            14 => {
                let request = UpdateSettingsRequest {
                    context: user(who),
                    conversation_id: group.into(),
                    pinned: Some(self.rng.random_bool(0.5)),
                    hidden: Some(self.rng.random_bool(0.5)),
                    ..UpdateSettingsRequest::default()
                };
                drop(w.rpc().update_settings(Request::new(request)).await);
            }
            15 => {
                let fault = self.one_of(&[Fault::LostAfter, Fault::LostBefore]);
                if self.rng.random_bool(0.3) {
                    log.fail_next(&[fault]);
                }
                let w = &self.house.processes[process];
                drop(w.add("olga", &client_id, group, &[who]).await);
            }
            16 if who != "olga" => drop(w.remove("olga", &client_id, group, who).await),
            17 => {
                if self.rng.random_bool(0.3) {
                    log.fail_next(&[Fault::LostAfter]);
                }
                drop(w.rename("olga", &client_id, group, &client_id).await);
            }
            18 => self.list(process, who, group).await,
            19 if self.rng.random_bool(0.3) => {
                let behind = self.one_of(&[0, 5, 1_000]);
                let in_order = self.rng.random_bool(0.5);
                self.house.restart(process, in_order, behind).await;
            }
            20 => self.kill_amid(process, who, group, &client_id).await,
            _ => {
                let (index, page_size) = (
                    self.rng.random_range(0..self.clients.len()),
                    self.rng.random_range(1..4),
                );
                let published = topic.published();
                let client = &mut self.clients[index];
                client.page(w, page_size).await;
                self.told.tell_entries(client);
                let events = &log.events()[..published];
                for entry in &client.shown {
                    assert_has_read_what_he_sent(entry, client.user, events);
                }
            }
        }
    }

    /// A process is killed while it does something.
    async fn kill_amid(&mut self, process: usize, who: &str, group: &str, client_id: &str) {
        let what = self.rng.random_range(0..6);
        let lane = House::lane(group);
        let w = &self.house.processes[process];
        self.house.topic.assign(lane, process, true).await;
        self.house.topic.publish(usize::MAX);
        let doing = async {
            match what {
                0 => drop(w.add("olga", client_id, group, &[who]).await),
                1 => drop(w.rename("olga", client_id, group, client_id).await),
                2 if who != "olga" => drop(w.leave(who, client_id, group).await),
                3 => drop(w.mark(who, group, 1).await),
                4 => self.house.topic.hand(lane, usize::MAX).await,
                _ => drop(w.sync(who, "", 3).await),
            }
        };
        let moment = Duration::from_micros(self.rng.random_range(0..4_000));
        drop(tokio::time::timeout(moment, doing).await);
        self.house.restart(process, false, 5).await;
    }

    async fn list(&mut self, process: usize, who: &str, group: &str) {
        let request = ListPositionsRequest {
            context: user(who),
            conversation_id: group.into(),
            page_size: None,
            page_token: String::new(),
        };
        let rpc = self.house.processes[process].rpc();
        let Ok(page) = answer(rpc.list_positions(Request::new(request)).await) else {
            return;
        };
        for position in page.positions {
            // Who is told of others' positions is told of none that goes back, either.
            self.told.tell(&position.user_id, group, position.read_seq);
        }
    }

    /// Everything comes to rest: no line in the outbox, all of the log in the stream, and all of that taken in.
    async fn settle(&mut self) {
        for (index, group) in GROUPS.iter().enumerate() {
            // No event more: that would tell everybody of the group once again.
            let outbox = &self.house.processes[index % PROCESSES].session.outbox;
            let turn = outbox.turn(&ConversationKey::new(TENANT, *group)).await;
            while outbox.drain(&turn).await.is_err() {}
        }
        self.house.settle().await;
    }

    async fn check(&mut self, seed: u64) {
        for user in USERS {
            let what = format!("seed {seed}, {user}");
            let mut newcomers = Vec::new();
            for w in &self.house.processes {
                let mut newcomer = Client::new(user);
                newcomer.catch_up(w, 2).await;
                newcomers.push(newcomer);
            }
            let newcomer = &newcomers[0];
            for event in self.house.log.events() {
                let is_his = event.participants.iter().any(|it| it == user);
                let id = &event.conversation_id;
                assert!(!is_his || newcomer.known.contains_key(id), "{what}: {id}");
            }
            for other in &newcomers[1..] {
                assert_same(other, newcomer, &what);
            }
            for entry in newcomer.known.values() {
                let id = id_of(entry);
                let events = self.house.log.events_of(id);
                assert_agrees_with_log(entry, user, &events, &format!("{what}, {id}"));
                self.told.tell(user, id, entry.read_seq);
                assert_has_read_what_he_sent(entry, user, &events);
            }
            for client in self.clients.iter_mut().filter(|it| it.user == user) {
                let w = &self.house.processes[self.rng.random_range(0..PROCESSES)];
                client.catch_up(w, 3).await;
                assert_same(client, newcomer, &what);
            }
        }
    }
}

/// What he sent from a device in these events he has read.
fn assert_has_read_what_he_sent(entry: &InboxEntry, user: &str, events: &[EventHeader]) {
    let id = id_of(entry);
    let own = events.iter().rfind(|it| {
        it.conversation_id == id
            && it.sender_id == user
            && !it.sender_device_id.is_empty()
            && it.flags & flags::COUNTABLE != 0
            && it.seq <= entry.head_seq
    });
    let own = own.map_or(0, |it| it.seq);
    let read = entry.read_seq;
    assert!(
        read >= own,
        "{user} in {id}: he has sent {own}, and read {read}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_any_of_several_processes_misses_nothing_and_sees_nothing_go_back() {
    for seed in 0..20 {
        let mut random = Random::new(seed).await;
        for _ in 0..200 {
            random.step().await;
        }
        random.settle().await;
        random.check(seed).await;
    }
}
