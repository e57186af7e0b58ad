//! Two owners who both may believe, over a log that loses, doubles and delays, with crashes, jumping clocks and a lagging store.

use std::collections::{BTreeMap, HashMap, HashSet};

use flare_storage_model::LoggedEvent;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::super::testing::*;
use crate::domain::owner::*;

const SEEDS: u64 = 200;
const STEPS: usize = 600;
const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

struct Node {
    owner: Owner,
    /// What is on its way to the owner, in no order.
    inputs: Vec<Input>,
}

struct World {
    rng: StdRng,
    clock_ms: i64,
    log: Vec<Bytes>,
    /// Appends that will land, or not, when nobody waits for them any more.
    late: Vec<Bytes>,
    store: Store,
    nodes: Vec<Node>,
    /// Every command, by correlation, until it has its receipt.
    open: BTreeMap<u64, Command>,
    /// Who is in the group, and as of which seq; what the change in hand does.
    members: HashMap<&'static str, bool>,
    as_of: u64,
    changes: HashMap<String, (&'static str, bool)>,
    changing: Option<u64>,
    acked: Vec<(Command, Placement)>,
    next: u64,
}

fn owner(rng: &mut StdRng) -> Owner {
    let config = OwnerConfig {
        memory: MemoryLimits {
            heads: 3,
            ids: 6,
            messages: 3,
            part_entries: 2,
        },
        memberships: 2,
        max_authorise_attempts: 2,
        ..config()
    };
    Owner::new(config, rng.random())
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = (0..2)
            .map(|_| Node {
                owner: owner(&mut rng),
                inputs: vec![Input::Assigned],
            })
            .collect();
        let mut world = Self {
            rng,
            clock_ms: NOW_MS,
            log: Vec::new(),
            late: Vec::new(),
            store: Store::default(),
            nodes,
            open: BTreeMap::new(),
            members: USERS.iter().map(|it| (*it, true)).collect(),
            as_of: 0,
            changes: HashMap::new(),
            changing: None,
            acked: Vec::new(),
            next: 0,
        };
        let correlation =
            world.open_command(change("general", EventKind::ConversationCreated, "created"));
        world.changing = Some(correlation);
        world
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.random_range(0..from.len())]
    }

    fn open_command(&mut self, mut command: Command) -> u64 {
        self.next += 1;
        command.origin.correlation = self.next;
        self.open.insert(self.next, command);
        self.next
    }

    /// Something new is wanted.
    fn want(&mut self) {
        let id = match self.chance(50) {
            true => ulid::Ulid::from_parts(
                u64::try_from(self.clock_ms).expect("after 1970"),
                self.rng.random(),
            )
            .to_string(),
            false => format!("plain-{}", self.next),
        };
        let (one, other) = (self.rng.random_range(0..4), self.rng.random_range(1..4));
        let (sender, peer) = (USERS[one], USERS[(one + other) % 4]);
        let seq = self.rng.random_range(1..20);
        let command = match self.rng.random_range(0..10) {
            0..4 => send(sender, peer, &id),
            4..8 => say(sender, "general", &id),
            8 => recall(sender, "general", seq, &id),
            _ if self.changing.is_some() => return,
            _ => {
                let joins = !self.members[sender];
                let kind = if joins {
                    EventKind::MembersAdded
                } else {
                    EventKind::MemberRemoved
                };
                let change = change("general", kind, &id);
                self.changes
                    .insert(change.client_id.to_string(), (sender, joins));
                self.changing = Some(self.next + 1);
                change
            }
        };
        self.open_command(command);
    }

    /// An open command comes, once more perhaps.
    fn submit(&mut self, node: usize) {
        let waiting: Vec<u64> = self.open.keys().copied().collect();
        if waiting.is_empty() {
            return;
        }
        let count = self.rng.random_range(1..5);
        let mut commands = Vec::new();
        for _ in 0..count {
            let correlation = self.pick(&waiting);
            commands.push(self.open[&correlation].clone());
        }
        self.step(node, Input::Commands(commands));
    }

    fn step(&mut self, node: usize, input: Input) {
        for output in self.nodes[node].owner.step(self.clock_ms, input) {
            if let Some(input) = self.perform(output) {
                self.nodes[node].inputs.push(input);
            }
        }
    }

    fn perform(&mut self, output: Output) -> Option<Input> {
        Some(match output {
            Output::ReadCursor { fold } => Input::CursorRead {
                fold,
                cursor: self.store.cursor,
            },
            Output::ReadLog { fold, .. } if self.chance(3) => Input::FoldFailed { fold },
            Output::ReadLog { fold, from } => {
                let count = self.rng.random_range(1..8);
                let records: Vec<_> = (from..)
                    .zip(self.log[from as usize..].iter().take(count).cloned())
                    .collect();
                let at_end = from as usize + records.len() == self.log.len();
                Input::LogRead {
                    fold,
                    records,
                    at_end,
                }
            }
            Output::BackOff { fold, .. } => Input::BackedOff { fold },
            Output::Append { append, record, .. } => self.append(append, record),
            Output::Read { read, .. } if self.chance(5) => {
                Input::ReadAnswered { read, answer: None }
            }
            Output::Read { read, request } => Input::ReadAnswered {
                read,
                answer: Some(self.store.answer(&request)),
            },
            Output::Authorise { ask, .. } if self.chance(5) => {
                Input::Authorised { ask, answers: None }
            }
            Output::Authorise { ask, items, .. } => {
                let answers = items
                    .iter()
                    .map(|(key, user)| self.membership(key, user))
                    .collect();
                Input::Authorised {
                    ask,
                    answers: Some(answers),
                }
            }
            Output::Reply { origin, result } => {
                self.answered(origin.correlation, result);
                return None;
            }
            Output::Halt(reason) => panic!("halted: {reason}"),
            _ => return None,
        })
    }

    fn append(&mut self, append: u64, record: Bytes) -> Input {
        let unknown = Input::Appended {
            append,
            report: AppendReport::Unknown,
        };
        match self.rng.random_range(0..100) {
            0..3 => unknown,
            3..6 => {
                self.late.push(record);
                unknown
            }
            6..9 => {
                self.log.push(record);
                unknown
            }
            9..11 => Input::Appended {
                append,
                report: AppendReport::NoRoom,
            },
            chance => {
                self.log.push(record.clone());
                let offset = self.log.len() as u64 - 1;
                if chance < 14 {
                    self.log.push(record);
                }
                Input::Appended {
                    append,
                    report: AppendReport::At(offset),
                }
            }
        }
    }

    fn membership(&self, key: &ConversationKey, user: &str) -> Membership {
        if self.as_of == 0 || *key.conversation != *"general" {
            return member(Standing::NoConversation, 0);
        }
        let standing = if self.members[user] {
            Standing::Active(Role::Member)
        } else {
            Standing::Former
        };
        member(standing, self.as_of)
    }

    fn answered(&mut self, correlation: u64, result: Result<Placement, Refusal>) {
        let Some(command) = self.open.get(&correlation).cloned() else {
            return;
        };
        let is_change = matches!(command.action, Action::Change { .. });
        match result {
            Ok(placement) => {
                if is_change {
                    self.as_of = placement.receipt.seq;
                    self.changing = None;
                    if let Some((user, joins)) = self.changes.get(&*command.client_id) {
                        self.members.insert(user, *joins);
                    }
                }
                self.acked.push((command, placement));
            }
            Err(refusal) if refusal.is_retryable() || is_change => return,
            Err(_) => {}
        }
        self.open.remove(&correlation);
    }

    fn deliver(&mut self, node: usize) {
        let count = self.nodes[node].inputs.len();
        if count > 0 {
            let at = self.rng.random_range(0..count);
            let input = self.nodes[node].inputs.swap_remove(at);
            self.step(node, input);
        }
    }

    fn adversity(&mut self) {
        let node = self.rng.random_range(0..2);
        match self.rng.random_range(0..100) {
            0..20 => self.want(),
            20..45 => self.submit(node),
            45..84 => self.deliver(node),
            84..88 => {
                if let Some(record) = self.late.pop() {
                    self.log.push(record);
                }
            }
            88..94 => {
                let from = self.store.cursor.next_offset as usize;
                let end = self.rng.random_range(from..=self.log.len());
                self.store.commit(&self.log, end);
                for node in &mut self.nodes {
                    node.inputs.push(Input::CursorMoved(self.store.cursor));
                }
            }
            94..96 => {
                let input = if self.chance(50) {
                    Input::Assigned
                } else {
                    Input::Revoked
                };
                self.step(node, input);
            }
            96 => {
                self.nodes[node] = Node {
                    owner: owner(&mut self.rng),
                    inputs: vec![Input::Assigned],
                }
            }
            97 => self.clock_ms += self.rng.random_range(0..60_000),
            98 => self.clock_ms -= self.rng.random_range(0..20_000),
            _ => self.nodes[node].inputs.push(Input::Room(true)),
        }
    }

    /// The storm is over: whatever is still wanted gets its answer.
    fn calm(&mut self) {
        self.step(1, Input::Revoked);
        self.step(0, Input::Room(true));
        self.step(0, Input::Assigned);
        for _ in 0..20_000 {
            if self.open.is_empty() {
                return;
            }
            if self.nodes[0].inputs.is_empty() {
                self.store.commit(&self.log, self.log.len());
                self.step(0, Input::CursorMoved(self.store.cursor));
                self.step(0, Input::Room(true));
                self.submit(0);
            }
            self.deliver(0);
        }
        panic!("{} commands have no answer", self.open.len());
    }

    fn events(&self) -> Vec<LoggedEvent> {
        let mut world = super::super::testing::World::new(config());
        world.log.clone_from(&self.log);
        world.events()
    }

    fn judge(&self) {
        let events = self.events();
        let mut heads: HashMap<ConversationKey, Head> = HashMap::new();
        let mut ids = HashSet::new();
        let mut members: HashMap<&str, bool> = USERS.iter().map(|it| (*it, true)).collect();
        let mut recalled = HashSet::new();
        for event in &events {
            let header = event.header();
            heads
                .entry(event.key().clone())
                .or_default()
                .apply(header)
                .expect("the next event");
            assert!(
                ids.insert(event.id_key()),
                "{} is there twice",
                header.client_id
            );
            if let Some((user, joins)) = self.changes.get(&header.client_id) {
                members.insert(user, *joins);
            } else if header.conversation_id == "general" && header.seq > 1 {
                assert!(
                    members[&*header.sender_id],
                    "{} spoke at {} after his removal",
                    header.sender_id, header.seq
                );
            }
            if let Some(seq) = event.recalls() {
                assert!(
                    recalled.insert((event.key().clone(), seq)),
                    "{seq} was taken back twice"
                );
            }
        }
        for (command, placement) in &self.acked {
            let id = command.id_key();
            let kept = events.iter().find(|it| it.id_key().as_ref() == Some(&id));
            let kept = kept.unwrap_or_else(|| panic!("{id:?} was acked and is lost"));
            assert_eq!(
                (kept.receipt(), kept.fingerprint()),
                (placement.receipt, command.fingerprint),
                "{id:?}"
            );
        }
    }
}

#[test]
fn every_ack_is_kept_once_and_in_order_whatever_the_log_does() {
    let (mut acks, mut duplicates, mut epochs) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.adversity());
        world.calm();
        world.judge();
        acks += world.acked.len();
        duplicates += world.acked.iter().filter(|it| it.1.duplicate).count();
        epochs += world.nodes[0].owner.log_state().epoch.number;
    }
    assert!(
        acks > 8_000 && duplicates > 200 && epochs > 600,
        "{acks} acks, {duplicates} duplicates, {epochs} epochs"
    );
}
