//! Users with one device each: several commands under way, in an order of their own per conversation, sent again until they are answered.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use flare_checker::{Acked, Client, ClientEvent, Intent, Kind, Refused, Target, body_hash};
use flare_message_orchestrator::owner::{Action, Actor, ActorKind, Command, Origin, Placement};
use flare_proto::message::{EventBody, MessageCreated, MessageRecalled, event_body::Body};
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, direct_conversation_id, fingerprint};
use prost::Message;
use rand::{Rng, rngs::StdRng};
use ulid::Ulid;

pub(crate) const TENANT: &str = "default";
pub(crate) const GROUP: &str = "group";
pub(crate) const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
/// Commands of a user that wait for their answers, at most.
const WINDOW: usize = 5;
/// Answered commands that may come again.
const KEPT: usize = 40;

/// A command that its user has no answer to.
struct Entry {
    command: Command,
    intent: Intent,
    /// It has left before.
    was_sent: bool,
    /// On this connection, and not answered.
    in_flight: bool,
    /// How many versions of the membership there were when it left last.
    left_at: usize,
    /// Refused on this connection, and not sent again: the server lets none pass it.
    is_awaited: bool,
}

/// What leaves.
pub(crate) struct Leaving {
    pub(crate) command: Command,
    /// The client id that it declares as given up, or empty.
    pub(crate) abandons: String,
    pub(crate) event: ClientEvent,
}

/// A user's device.
pub(crate) struct User {
    name: &'static str,
    entries: VecDeque<Entry>,
    /// Conversations in which a retryable refusal came while something was in flight behind the refused command.
    stalled: HashSet<Arc<str>>,
    /// Given up after a retryable refusal; the next command to the conversation tells the server.
    abandoned: HashMap<Arc<str>, VecDeque<String>>,
    done: VecDeque<(Command, Intent)>,
    /// Own messages, by conversation and seq.
    placed: Vec<(ConversationKey, u64)>,
}

impl User {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            entries: VecDeque::new(),
            stalled: HashSet::new(),
            abandoned: HashMap::new(),
            done: VecDeque::new(),
            placed: Vec::new(),
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(TENANT, self.name, "phone")
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether what is under way by this id takes a message back.
    pub(crate) fn is_recall(&self, client_id: &str) -> bool {
        self.find(client_id)
            .is_some_and(|it| it.intent.kind == Kind::Recall)
    }

    /// How many versions of the membership there were when this left last; None: it did not go to the group.
    pub(crate) fn left_to_group_at(&self, client_id: &str) -> Option<usize> {
        let entry = self.find(client_id)?;
        let to_group = *entry.command.conversation.conversation == *GROUP;
        to_group.then_some(entry.left_at)
    }

    fn find(&self, client_id: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|it| it.intent.client_id == client_id)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Means to say or take back something, unless enough is under way. Now and then an old command comes again, of any age.
    pub(crate) fn compose(&mut self, rng: &mut StdRng, now_ms: i64) {
        if self.entries.len() >= WINDOW {
            return;
        }
        let old = rng.random_bool(0.15) && !self.done.is_empty();
        let (command, intent) = if old {
            self.done[rng.random_range(0..self.done.len())].clone()
        } else if rng.random_bool(0.1) && !self.placed.is_empty() {
            let which = rng.random_range(0..self.placed.len());
            let (key, seq) = self.placed[which].clone();
            self.recall(key, seq, client_id(rng, now_ms))
        } else {
            self.message(rng, now_ms)
        };
        let client_id = &intent.client_id;
        // One is under way once: what it is answered must be plain.
        if self
            .entries
            .iter()
            .any(|it| it.intent.client_id == *client_id)
        {
            return;
        }
        self.entries.push_back(Entry {
            command,
            intent,
            was_sent: old,
            in_flight: false,
            left_at: 0,
            is_awaited: false,
        });
    }

    fn message(&self, rng: &mut StdRng, now_ms: i64) -> (Command, Intent) {
        let content = Bytes::from(format!("{} says {}", self.name, rng.random::<u32>()));
        let peer = USERS[rng.random_range(0..USERS.len())];
        let to_group = peer == self.name || rng.random_bool(0.5);
        let (conversation, participants, target) = if to_group {
            let target = Target::Conversation(GROUP.to_owned());
            (GROUP.to_owned(), None, target)
        } else {
            let mut both: [Arc<str>; 2] = [self.name.into(), peer.into()];
            both.sort();
            let id = direct_conversation_id(TENANT, self.name, peer);
            (id, Some(both), Target::User(peer.to_owned()))
        };
        let body = Body::MessageCreated(MessageCreated {
            content: content.clone(),
        });
        let action = Action::Send {
            content: content.clone(),
            mentions: Vec::new(),
            mention_all: false,
        };
        let command = Command {
            participants,
            ..self.command(
                ConversationKey::new(TENANT, conversation.as_str()),
                client_id(rng, now_ms),
                action,
                body,
                &content,
            )
        };
        let intent = self.intent(&command, target, &content, Kind::Message);
        (command, intent)
    }

    fn recall(&self, key: ConversationKey, seq: u64, client_id: String) -> (Command, Intent) {
        let said = format!("recall {seq}");
        let body = Body::MessageRecalled(MessageRecalled { seq });
        let target = Target::Conversation(key.conversation.to_string());
        let action = Action::Recall { seq };
        let command = self.command(key, client_id, action, body, said.as_bytes());
        let intent = self.intent(&command, target, said.as_bytes(), Kind::Recall);
        (command, intent)
    }

    fn command(
        &self,
        conversation: ConversationKey,
        client_id: String,
        action: Action,
        body: Body,
        said: &[u8],
    ) -> Command {
        Command {
            origin: Origin::default(),
            fingerprint: fingerprint(&*conversation.conversation, said),
            conversation,
            participants: None,
            actor: Actor {
                kind: ActorKind::User,
                user: self.name.into(),
                device: "phone".into(),
            },
            client_id: client_id.into(),
            trace_id: Bytes::new(),
            action,
            body: EventBody { body: Some(body) }.encode_to_vec().into(),
            refused: None,
        }
    }

    fn intent(&self, command: &Command, target: Target, said: &[u8], kind: Kind) -> Intent {
        Intent {
            client_id: command.client_id.to_string(),
            target,
            sender: self.name.to_owned(),
            body_hash: body_hash(said),
            kind,
        }
    }

    /// The next command that may leave: none overtakes another of its conversation.
    pub(crate) fn leave(&mut self, versions: usize) -> Option<Leaving> {
        let mut held: HashSet<&Arc<str>> = HashSet::new();
        let mut busy: HashSet<&Arc<str>> = HashSet::new();
        for entry in &self.entries {
            if entry.in_flight {
                busy.insert(&entry.command.conversation.conversation);
            }
        }
        let at = self.entries.iter().position(|entry| {
            let lane = &entry.command.conversation.conversation;
            if entry.in_flight || held.contains(lane) {
                return false;
            }
            // What was refused comes again once all that was sent behind it is answered.
            let may = !self.stalled.contains(lane) || !busy.contains(lane);
            if !may {
                held.insert(lane);
            }
            may
        })?;
        let entry = &mut self.entries[at];
        let lane = Arc::clone(&entry.command.conversation.conversation);
        self.stalled.remove(&lane);
        let abandons = self
            .abandoned
            .get_mut(&lane)
            .and_then(VecDeque::pop_front)
            .unwrap_or_default();
        let event = if std::mem::replace(&mut entry.was_sent, true) {
            ClientEvent::Resent {
                client_id: entry.intent.client_id.clone(),
            }
        } else {
            ClientEvent::Intent(entry.intent.clone())
        };
        entry.in_flight = true;
        entry.left_at = versions;
        entry.is_awaited = false;
        Some(Leaving {
            command: entry.command.clone(),
            abandons,
            event,
        })
    }

    /// An answer that came over the present connection.
    pub(crate) fn answered(
        &mut self,
        client_id: &str,
        result: Result<Placement, Refusal>,
    ) -> Option<ClientEvent> {
        let at = self
            .entries
            .iter()
            .position(|it| it.in_flight && it.intent.client_id == client_id)?;
        let client_id = client_id.to_owned();
        match result {
            Ok(placement) => {
                let entry = self.entries.remove(at)?;
                if let Action::Send { .. } = entry.command.action {
                    let key = entry.command.conversation.clone();
                    self.placed.push((key, placement.receipt.seq));
                }
                self.done.push_back((entry.command, entry.intent));
                if self.done.len() > KEPT {
                    self.done.pop_front();
                }
                Some(ClientEvent::Acked(Acked {
                    client_id,
                    conversation: placement.conversation.to_string(),
                    seq: placement.receipt.seq,
                    message_id: placement.receipt.message_id.to_string(),
                    duplicate: placement.duplicate,
                    body_hash: None,
                }))
            }
            Err(refusal) => {
                let retryable = refusal.is_retryable();
                if retryable {
                    let entry = &mut self.entries[at];
                    entry.in_flight = false;
                    entry.is_awaited = true;
                    let lane = Arc::clone(&entry.command.conversation.conversation);
                    self.stalled.insert(lane);
                } else {
                    self.entries.remove(at);
                }
                Some(ClientEvent::Refused(Refused {
                    client_id,
                    code: refusal.code.as_str_name().to_owned(),
                    retryable,
                }))
            }
        }
    }

    /// Gives up a command after a retryable refusal.
    pub(crate) fn give_up(&mut self) -> Option<ClientEvent> {
        let at = self
            .entries
            .iter()
            .position(|it| it.is_awaited && !it.in_flight)?;
        let entry = self.entries.remove(at)?;
        let client_id = entry.intent.client_id;
        self.abandoned
            .entry(entry.command.conversation.conversation)
            .or_default()
            .push_back(client_id.clone());
        Some(ClientEvent::Abandoned { client_id })
    }

    /// The connection is gone: all that has no answer leaves again on the next one, in its order.
    pub(crate) fn disconnected(&mut self) {
        for entry in &mut self.entries {
            entry.in_flight = false;
            entry.is_awaited = false;
        }
        self.stalled.clear();
        self.abandoned.clear();
    }
}

/// Some ids do not tell their age.
fn client_id(rng: &mut StdRng, now_ms: i64) -> String {
    if rng.random_bool(0.7) {
        let minted_ms = u64::try_from(now_ms).unwrap_or_default();
        Ulid::from_parts(minted_ms, rng.random()).to_string()
    } else {
        format!("id-{}", rng.random::<u64>())
    }
}
