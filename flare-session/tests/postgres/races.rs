//! What processes that write at the same time do to the rows: nothing that one after the other would not.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use flare_session::{
    application::ports::{
        ConversationStore, DeliveredUpdate, DirectConversation, InboxStore, PositionBatch,
        PositionStore, ReadUpdate, StoreError, StreamEffects,
    },
    domain::{
        caller::UserKey,
        change::Change,
        inbox::{InboxRow, ReadPosition, SettingsPatch},
        role::{Class, History, Role},
    },
};
use flare_storage_model::ConversationKey;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::Connection;

use crate::{
    contract::{at, line, named},
    place::{Place, Store},
};

const PROCESSES: u64 = 4;
const STEPS: usize = 60;
const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
/// The first is in every group from the beginning to the end.
const USERS: [&str; 5] = ["olga", "ada", "eva", "max", "mia"];

/// What each conversation's log says, by seq.
pub(crate) type Changes = HashMap<ConversationKey, Vec<(u64, Change)>>;

/// What all processes share beside the rows: the groups' logs.
#[derive(Default)]
struct Logs {
    lines: AtomicU64,
    changes: Mutex<Changes>,
}

struct Process {
    store: Arc<Store>,
    logs: Arc<Logs>,
    rng: StdRng,
}

fn key(group: &str) -> ConversationKey {
    ConversationKey::new("t", group)
}

impl Process {
    async fn start(place: &Place, logs: &Arc<Logs>, seed: u64) -> Self {
        Self {
            store: place.open().await,
            logs: Arc::clone(logs),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())]
    }

    /// Decides on the group as it is, and makes the change if nobody else made one meanwhile.
    async fn change(&mut self, group: &str) -> Result<(), StoreError> {
        let key = key(group);
        let user = self.pick(&USERS[1..]);
        let (change, decided_on) = match self.store.conversation(&key, &[user.into()]).await? {
            None => (created(), 0),
            Some(it) if it.members.contains_key(user) => {
                (Change::MemberRemoved { user: user.into() }, it.as_of)
            }
            Some(it) => {
                let members = vec![named(user, Role::Member)];
                let added = Change::MembersAdded {
                    members,
                    becomes_large: false,
                };
                (added, it.as_of)
            }
        };
        self.make(&key, change, decided_on).await
    }

    async fn make(
        &self,
        key: &ConversationKey,
        change: Change,
        decided_on: u64,
    ) -> Result<(), StoreError> {
        let number = self.logs.lines.fetch_add(1, Ordering::SeqCst);
        let (mut line, command) = line(number, change);
        line.key = key.clone();
        match self.store.commit(&line, &command, decided_on, 100).await {
            Err(StoreError::Moved(_)) => return Ok(()),
            committed => committed?,
        }
        let seq = {
            // Nobody else has a line of the group: it comes next.
            let mut logs = self.logs.changes.lock().expect("not poisoned");
            let log = logs.entry(key.clone()).or_default();
            let seq = log.last().map_or(1, |(seq, _)| seq + 1);
            log.push((seq, line.change.clone()));
            seq
        };
        self.store.settle(&line, &at(seq)).await
    }

    async fn put(&mut self) -> Result<(), StoreError> {
        let mut batch = PositionBatch::default();
        for _ in 0..6 {
            let (group, user) = (self.pick(&GROUPS), self.pick(&USERS));
            let seq = self.rng.random_range(1..1_000);
            let position = ReadPosition { seq, ordinal: seq };
            batch.reads.push(ReadUpdate {
                key: key(group),
                user: user.into(),
                position,
            });
            batch.delivered.push(DeliveredUpdate {
                key: key(group),
                user: user.into(),
                device: format!("device-{}", self.rng.random_range(0..20)).into(),
                seq,
            });
            let time_ms = self.rng.random_range(1..1_000_000);
            batch.activity.push((key(group), time_ms));
        }
        self.store.put(&batch).await.map(drop)
    }

    async fn record(&mut self) -> Result<(), StoreError> {
        let mut effects = StreamEffects::default();
        let mut both = [self.pick(&USERS), self.pick(&USERS)];
        both.sort_unstable();
        effects.directs.push(DirectConversation {
            key: ConversationKey::new("t", format!("d_{}_{}", both[0], both[1])),
            participants: both.map(Arc::from),
            time_ms: 5,
        });
        for _ in 0..4 {
            let group = self.pick(&GROUPS);
            let seq = self.rng.random_range(1..1_000);
            let users = vec![self.pick(&USERS).into(), self.pick(&USERS).into()];
            effects.mentions.push((key(group), seq, users));
            let group = self.pick(&GROUPS);
            effects.recalls.push((key(group), seq, seq + 1));
            let left = self.rng.random_range(1..30);
            effects.changes.push((key(group), left));
        }
        self.store.record(&effects).await.map(drop)
    }

    async fn step(&mut self) -> Result<(), StoreError> {
        let (group, user) = (self.pick(&GROUPS), self.pick(&USERS));
        let user = UserKey::new("t", user);
        match self.rng.random_range(0..6) {
            0 | 1 => self.change(group).await,
            2 | 3 => self.put().await,
            4 => {
                let patch = SettingsPatch {
                    pinned: Some(self.rng.random()),
                    ..SettingsPatch::default()
                };
                let update = self.store.update_settings(&user, group, &patch);
                update.await.map(drop)?;
                self.store.keep_farewell(&user, group, &"last".into()).await
            }
            _ => self.record().await,
        }
    }
}

fn created() -> Change {
    Change::Created {
        title: String::new(),
        members: vec![named("olga", Role::Owner), named("mia", Role::Member)],
        history: History::All,
        class: Class::Group,
    }
}

/// One who syncs again and again: what he knows of his rows.
struct Reader {
    store: Arc<Store>,
    user: UserKey,
    version: u64,
    known: BTreeMap<Arc<str>, InboxRow>,
}

impl Reader {
    async fn sync(&mut self) -> Result<(), StoreError> {
        let version = self.store.version(&self.user).await?.version;
        let since = self.version;
        let changed = self.store.changed_since(&self.user, since).await?;
        for row in self.store.rows(&self.user, &changed).await? {
            self.known.insert(Arc::clone(&row.conversation), row);
        }
        self.version = version;
        Ok(())
    }

    /// What of his rows bears his version.
    fn seen(rows: Vec<InboxRow>) -> BTreeMap<Arc<str>, impl PartialEq + std::fmt::Debug> {
        let rows = rows.into_iter();
        rows.map(|it| {
            let left = it.farewell.map(|it| it.seq);
            (it.conversation, (it.read, it.settings, left))
        })
        .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_that_processes_do_at_once_could_have_been_done_one_after_the_other() {
    let place = Place::fresh().await;
    let logs = Arc::<Logs>::default();
    let first = Process::start(&place, &logs, 99).await;
    for group in GROUPS {
        first.make(&key(group), created(), 0).await.expect("makes");
    }
    let mut readers = Vec::new();
    for user in USERS {
        readers.push(Reader {
            store: Arc::clone(&first.store),
            user: UserKey::new("t", user),
            version: 0,
            known: BTreeMap::new(),
        });
    }
    let done = Arc::new(AtomicU64::new(0));
    let reading = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            while done.load(Ordering::SeqCst) == 0 {
                for reader in &mut readers {
                    reader.sync().await.expect("syncs");
                }
            }
            readers
        }
    });
    let mut writing = Vec::new();
    for seed in 0..PROCESSES {
        let mut process = Process::start(&place, &logs, seed).await;
        writing.push(tokio::spawn(async move {
            for _ in 0..STEPS {
                process.step().await.expect("nobody is in the way for long");
            }
        }));
    }
    for it in writing {
        it.await.expect("ends");
    }
    done.store(1, Ordering::SeqCst);
    let readers = reading.await.expect("ends");

    for mut reader in readers {
        reader.sync().await.expect("syncs");
        let all: Vec<_> = {
            let activity = first.store.activity(&reader.user).await.expect("answers");
            activity.into_iter().map(|it| it.0).collect()
        };
        let rows = first.store.rows(&reader.user, &all).await.expect("answers");
        assert_eq!(
            Reader::seen(reader.known.into_values().collect()),
            Reader::seen(rows),
            "{}",
            reader.user.user
        );
    }
    let changes = logs.changes.lock().expect("not poisoned").clone();
    assert!(changes.values().map(Vec::len).sum::<usize>() > 3 * GROUPS.len());
    rows_are_as_the_logs_say(&first.store, &changes).await;
    counts_are_right(&place).await;
}

pub(crate) async fn rows_are_as_the_logs_say(store: &Store, logs: &Changes) {
    for (key, changes) in logs {
        let mut members = BTreeMap::new();
        for (_, change) in changes {
            for member in change.joining() {
                let before = members.insert(Arc::clone(&member.user), member.role);
                assert_eq!(before, None, "{key}: {} was in it", member.user);
            }
            if let Some(user) = change.leaving() {
                assert!(
                    members.remove(user).is_some(),
                    "{key}: {user} was not in it"
                );
            }
            if let Change::RoleChanged { user, role } = change {
                members.insert(Arc::clone(user), *role);
            }
        }
        let joining = changes.iter().flat_map(|(_, it)| it.joining());
        let users: Vec<_> = joining.map(|it| Arc::clone(&it.user)).collect();
        let group = store.conversation(key, &users).await;
        let group = group.expect("answers");
        let group = group.expect("it is there");
        assert_eq!(group.members, members, "{key}");
        assert_eq!(group.member_count, members.len(), "{key}");
        assert_eq!(Some(group.as_of), changes.last().map(|it| it.0), "{key}");
    }
}

/// What is counted beside the rows.
pub(crate) async fn counts_are_right(place: &Place) {
    let mut database = place.scratch.connection("session").await.expect("connects");
    for (what, statement) in [
        (
            "members of a conversation",
            "SELECT conversation FROM conversation AS c WHERE member_count <>
                 (SELECT count(*) FROM member AS m
                  WHERE m.tenant = c.tenant AND m.conversation = c.conversation AND joined_seq > 0 AND left_seq = 0)",
        ),
        (
            "groups of a user",
            "SELECT user_id FROM user_state AS s WHERE conversations <>
                 (SELECT count(*) FROM member AS m JOIN conversation AS c USING (tenant, conversation)
                  WHERE m.tenant = s.tenant AND m.user_id = s.user_id AND class = 2 AND joined_seq > 0 AND left_seq = 0)",
        ),
        (
            "versions",
            "SELECT user_id FROM member AS m WHERE version >
                 (SELECT version FROM user_state AS s WHERE s.tenant = m.tenant AND s.user_id = m.user_id)",
        ),
        (
            "devices of a member",
            "SELECT user_id FROM delivered GROUP BY tenant, conversation, user_id HAVING count(*) > 10",
        ),
        (
            "messages kept that were taken back",
            "SELECT user_id FROM member AS m JOIN recall AS r USING (tenant, conversation)
             WHERE left_message IS NOT NULL AND r.seq < m.left_seq AND r.by_seq > m.left_seq",
        ),
    ] {
        let wrong: Vec<String> = sqlx::query_scalar(statement)
            .fetch_all(&mut database)
            .await
            .expect("answers");
        assert!(wrong.is_empty(), "{what}: {wrong:?}");
    }
    database.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_user_gets_more_groups_than_he_may_have() {
    const MAX: u32 = 7;
    let place = Place::fresh().await;
    let mut making = Vec::new();
    for process in 0..PROCESSES {
        let store = place.open().await;
        making.push(tokio::spawn(async move {
            let mut made = 0;
            for number in 0..5 {
                let (mut line, command) = line(process * 100 + number, created());
                line.key = key(&format!("g{process}-{number}"));
                match store.commit(&line, &command, 0, MAX).await {
                    Ok(()) => made += 1,
                    Err(StoreError::TooManyConversations { max, .. }) => assert_eq!(max, MAX),
                    Err(error) => panic!("{error}"),
                }
            }
            made
        }));
    }
    let mut made = 0;
    for it in making {
        made += it.await.expect("ends");
    }
    assert_eq!(made, MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_line_that_all_settle_or_withdraw_is_settled_or_withdrawn_once() {
    let place = Place::fresh().await;
    let mut stores = Vec::new();
    for _ in 0..PROCESSES {
        stores.push(place.open().await);
    }
    for round in 0..10 {
        let (mut line, command) = line(round, created());
        line.key = key(&format!("g{round}"));
        stores[0]
            .commit(&line, &command, 0, 100)
            .await
            .expect("commits");
        let settling: Vec<_> = stores
            .iter()
            .map(|store| {
                let (store, line) = (Arc::clone(store), line.clone());
                tokio::spawn(async move {
                    match round % 2 {
                        0 => store.settle(&line, &at(1)).await,
                        _ => store.withdraw(&line).await,
                    }
                })
            })
            .collect();
        for it in settling {
            it.await.expect("ends").expect("settles");
        }
        let version = stores[0].version(&UserKey::new("t", "mia")).await;
        assert_eq!(version.expect("answers").version, round / 2 + 1);
    }
    counts_are_right(&place).await;
}
