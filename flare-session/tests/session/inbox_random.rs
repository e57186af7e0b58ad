//! No change is missed: whoever goes on from his tokens ends up with what a newcomer gets.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use flare_proto::{
    common::ErrorCode,
    message::{Event, EventHeader, EventKind, HistoryVisibility},
    session::{
        InboxEntry, MembershipState, UpdateSettingsRequest, session_service_server::SessionService,
    },
};
use flare_session::SessionConfig;
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tonic::Request;

use super::{
    fake_log::Fault,
    world::{World, id_of, user},
};

const USERS: [&str; 4] = ["olga", "ada", "mia", "max"];
const GROUPS: [&str; 4] = ["g1", "g2", "g3", "g4"];

/// A client: what it has been told, and where it goes on.
pub(crate) struct Client {
    pub(crate) user: &'static str,
    token: String,
    pub(crate) known: BTreeMap<String, InboxEntry>,
    /// The last page.
    pub(crate) shown: Vec<InboxEntry>,
}

impl Client {
    pub(crate) fn new(user: &'static str) -> Self {
        Self {
            user,
            token: String::new(),
            known: BTreeMap::new(),
            shown: Vec::new(),
        }
    }

    /// One page; true: more is there.
    pub(crate) async fn page(&mut self, w: &World, page_size: u32) -> bool {
        self.shown.clear();
        let page = match w.sync(self.user, &self.token, page_size).await {
            // Members change, and this service does not know yet how: the client asks again.
            Err(refusal) if refusal.code == ErrorCode::Unavailable => return false,
            page => page.expect("answers"),
        };
        assert!(page.entries.len() <= page_size as usize);
        self.token = page.token;
        self.shown.clone_from(&page.entries);
        self.known.extend(
            page.entries
                .into_iter()
                .map(|it| (id_of(&it).to_owned(), it)),
        );
        page.has_more
    }

    pub(crate) async fn catch_up(&mut self, w: &World, page_size: u32) {
        for _ in 0..1_000 {
            if !self.page(w, page_size).await {
                return;
            }
        }
        panic!("the inbox of {} does not end", self.user);
    }
}

struct Random {
    rng: StdRng,
    w: World,
    clients: Vec<Client>,
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
        let w = World::with(config).await;
        for (index, id) in GROUPS.iter().enumerate() {
            let history = if index % 2 == 0 {
                HistoryVisibility::All
            } else {
                HistoryVisibility::SinceJoin
            };
            w.try_create("olga", id, &["ada"], history)
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
            w,
            clients,
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
        let w = &self.w;
        match self.rng.random_range(0..20) {
            0..=3 => {
                let mentions: &[&str] = if self.rng.random_bool(0.3) {
                    &[other]
                } else {
                    &[]
                };
                w.log
                    .message(group, who, mentions, self.rng.random_bool(0.1));
            }
            4 => drop((who != other).then(|| w.log.say_directly(who, other))),
            5 => {
                let messages: Vec<_> = w
                    .log
                    .events_of(group)
                    .into_iter()
                    .filter(|it| it.kind() == EventKind::MessageCreated)
                    .map(|it| it.seq)
                    .collect();
                if let Some(target) = messages.choose(&mut self.rng) {
                    w.log.recall(group, *target);
                }
            }
            6..=8 => self.w.feed().await,
            9 => {
                let from = self.rng.random_range(0..=w.fed);
                w.feed_range(from, w.fed).await;
            }
            10 => {
                let newest = w.log.events_of(group).len() as u64;
                drop(w.mark(who, group, self.rng.random_range(1..=newest)).await);
            }
            11 => {
                let request = UpdateSettingsRequest {
                    context: user(who),
                    conversation_id: group.into(),
                    pinned: Some(self.rng.random_bool(0.5)),
                    hidden: Some(self.rng.random_bool(0.5)),
                    ..UpdateSettingsRequest::default()
                };
                drop(w.rpc().update_settings(Request::new(request)).await);
            }
            12 => {
                if self.rng.random_bool(0.3) {
                    w.log.fail_next(&[Fault::LostAfter]);
                }
                drop(w.add("olga", &client_id, group, &[who]).await);
            }
            13 if who != "olga" => drop(w.remove("olga", &client_id, group, who).await),
            14 => {
                if self.rng.random_bool(0.3) {
                    w.log.fail_next(&[Fault::LostAfter]);
                }
                drop(w.rename("olga", &client_id, group, &client_id).await);
            }
            15 => w.session.positions.flush().await.expect("writes"),
            16 if self.rng.random_bool(0.2) => {
                let clean = self.rng.random_bool(0.5);
                self.w.restart(clean).await;
            }
            _ => {
                let (index, page_size) = (
                    self.rng.random_range(0..self.clients.len()),
                    self.rng.random_range(1..4),
                );
                self.clients[index].page(&self.w, page_size).await;
            }
        }
    }

    /// Everything comes to rest: the stream at the log's end, no line in the outbox.
    async fn settle(&mut self) {
        for group in GROUPS {
            self.commands += 1;
            let client_id = format!("c{}", self.commands);
            while self
                .w
                .rename("olga", &client_id, group, &client_id)
                .await
                .is_err()
            {}
        }
        self.w.feed().await;
    }

    async fn check(&mut self, seed: u64) {
        for user in USERS {
            let mut newcomer = Client::new(user);
            newcomer.catch_up(&self.w, 2).await;
            for entry in newcomer.known.values() {
                let id = id_of(entry);
                assert_agrees_with_log(
                    entry,
                    user,
                    &self.w.log.events_of(id),
                    &format!("seed {seed}, {user}, {id}"),
                );
            }
            for client in self.clients.iter_mut().filter(|it| it.user == user) {
                client.catch_up(&self.w, 3).await;
                assert_same(client, &newcomer, &format!("seed {seed}"));
            }
        }
    }
}

pub(crate) fn assert_same(client: &Client, newcomer: &Client, what: &str) {
    let ids = |of: &Client| of.known.keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids(client), ids(newcomer), "{what}, {}", client.user);
    for (id, entry) in &client.known {
        let (mut known, mut new) = (entry.clone(), newcomer.known[id].clone());
        if known.state() == MembershipState::Former {
            // What was taken back after he left is withheld from who asks, and not told to who has it.
            for it in [&mut known, &mut new] {
                let mut last = Event::decode(&it.last_message[..]).expect("an event");
                last.body.clear();
                it.last_message = last.encode_to_vec().into();
            }
        }
        assert_eq!(known, new, "{what}, {}", client.user);
    }
}

/// Counts for itself what the entry says.
pub(crate) fn assert_agrees_with_log(
    entry: &InboxEntry,
    user: &str,
    events: &[EventHeader],
    what: &str,
) {
    let former = entry.state() == MembershipState::Former;
    let seen = events.iter().filter(|it| it.seq <= entry.head_seq);
    let recalled: Vec<u64> = seen.map(|it| it.target_seq).filter(|it| *it > 0).collect();
    if !former {
        assert_eq!(
            Some(entry.head_seq),
            events.last().map(|it| it.seq),
            "head: {what}"
        );
    }
    let waiting: Vec<_> = events
        .iter()
        .filter(|it| it.kind() == EventKind::MessageCreated)
        .filter(|it| {
            it.seq > entry.read_seq && it.seq <= entry.head_seq && !recalled.contains(&it.seq)
        })
        .collect();
    assert_eq!(entry.unread_count, waiting.len() as u64, "unread: {what}");
    let last = events
        .iter()
        .rfind(|it| it.kind() == EventKind::MessageCreated && it.seq <= entry.head_seq);
    let shown = Event::decode(entry.last_message.clone())
        .expect("an event")
        .header
        .map(|it| it.seq);
    assert_eq!(shown, last.map(|it| it.seq), "last message: {what}");
    if former {
        return;
    }
    let everybody = events
        .iter()
        .rfind(|it| it.flags & flare_storage_model::flags::MENTION_ALL != 0);
    let named =
        |it: &&&EventHeader| it.sender_id != user && it.mentions.iter().any(|it| it == user);
    let joined = events
        .iter()
        .filter(|it| it.kind() == EventKind::MembersAdded)
        .map(|it| it.seq)
        .max();
    let names = waiting.iter().filter(named).count() as u64;
    let all = waiting
        .iter()
        .any(|it| everybody.is_some_and(|all| all.seq == it.seq && !named(&it)));
    assert!(
        entry.mention_count <= names + u64::from(all),
        "mentions: {what}"
    );
    // While he was out nobody could mention him; since then every mention counts.
    let since = waiting
        .iter()
        .filter(named)
        .filter(|it| Some(it.seq) > joined)
        .count() as u64;
    assert!(
        entry.mention_count >= since + u64::from(all),
        "mentions: {what}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_on_from_his_token_misses_nothing() {
    for seed in 0..25 {
        let mut random = Random::new(seed).await;
        for _ in 0..150 {
            random.step().await;
        }
        random.settle().await;
        random.check(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_while_things_change_in_between() {
    let w = World::new().await;
    for id in GROUPS {
        w.create("olga", id, &["ada", "mia", "max"]).await;
    }
    let w = Arc::new(w);
    let done = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for user in USERS {
        let (w, done) = (Arc::clone(&w), Arc::clone(&done));
        clients.push(tokio::spawn(async move {
            let mut client = Client::new(user);
            while !done.load(Ordering::SeqCst) {
                client.page(&w, 2).await;
            }
            client
        }));
    }
    let mut rng = StdRng::seed_from_u64(7);
    let mut fed = 0;
    for index in 0..300 {
        let (group, who) = (GROUPS[index % 4], USERS[rng.random_range(0..4)]);
        w.log
            .message(group, who, &[USERS[rng.random_range(0..4)]], false);
        let title = format!("title-{index}");
        let end = w.log.len();
        let renamed = async {
            if index % 10 == 0 {
                w.rename("olga", &title, group, &title)
                    .await
                    .expect("renames");
            }
        };
        let marked = async { drop(w.mark(who, group, 1 + (index as u64 / 4)).await) };
        let flushed = async {
            if index % 7 == 0 {
                w.session.positions.flush().await.expect("writes");
            }
        };
        tokio::join!(w.feed_range(fed, end), renamed, marked, flushed);
        fed = end;
    }
    w.feed_range(fed, w.log.len()).await;
    done.store(true, Ordering::SeqCst);
    for client in clients {
        let mut client = client.await.expect("ends");
        client.catch_up(&w, 3).await;
        let mut newcomer = Client::new(client.user);
        newcomer.catch_up(&w, 50).await;
        assert_same(&client, &newcomer, "in between");
        for entry in newcomer.known.values() {
            assert_agrees_with_log(
                entry,
                client.user,
                &w.log.events_of(id_of(entry)),
                client.user,
            );
        }
    }
}
