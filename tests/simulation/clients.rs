//! Clients that send, lose answers and send again; and the session that decides who is a member.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use flare_checker::{Acked, Client, ClientEvent, Intent, Kind, Refused, Target, body_hash};
use flare_message_orchestrator::owner::{
    Action, Actor, ActorKind, Command, Membership, Origin, Placement, Role, Standing,
};
use flare_proto::common::ErrorCode;
use flare_proto::message::{
    ConversationClass, ConversationCreated, EventBody, EventKind, EventMember, MemberRemoved,
    MembersAdded, MessageCreated, event_body::Body,
};
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, direct_conversation_id, fingerprint};
use prost::Message;
use rand::{Rng, rngs::StdRng};
use ulid::Ulid;

pub(super) const TENANT: &str = "default";
pub(super) const GROUP: &str = "group";
pub(super) const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// A user with one command under way at most: its order needs no lanes.
pub(super) struct Sender {
    pub(super) user: &'static str,
    pub(super) under_way: Option<Command>,
    /// Sends that nobody answered yet, in turns.
    pub(super) waiting: u32,
    /// Answered commands, to be sent again at any age.
    pub(super) done: Vec<Command>,
}

impl Sender {
    pub(super) fn new(user: &'static str) -> Self {
        Self {
            user,
            under_way: None,
            waiting: 0,
            done: Vec::new(),
        }
    }

    pub(super) fn client(&self) -> Client {
        Client::new(TENANT, self.user, "phone")
    }

    /// A new message to somebody, or to the group.
    pub(super) fn compose(&self, rng: &mut StdRng, now_ms: i64) -> (Command, Intent) {
        let minted = Ulid::from_parts(u64::try_from(now_ms).unwrap_or_default(), rng.random());
        // Some ids do not tell their age.
        let client_id = if rng.random_bool(0.7) {
            minted.to_string()
        } else {
            format!("id-{}", rng.random::<u64>())
        };
        let content = Bytes::from(format!("{} says {}", self.user, rng.random::<u32>()));
        let peer = USERS[rng.random_range(0..USERS.len())];
        let to_group = peer == self.user || rng.random_bool(0.5);
        let (conversation, participants, target) = if to_group {
            (
                GROUP.to_owned(),
                None,
                Target::Conversation(GROUP.to_owned()),
            )
        } else {
            let mut both: [Arc<str>; 2] = [self.user.into(), peer.into()];
            both.sort();
            (
                direct_conversation_id(TENANT, self.user, peer),
                Some(both),
                Target::User(peer.to_owned()),
            )
        };
        let created = Body::MessageCreated(MessageCreated {
            content: content.clone(),
        });
        let command = Command {
            origin: Origin::default(),
            conversation: ConversationKey::new(TENANT, conversation.as_str()),
            participants,
            actor: Actor {
                kind: ActorKind::User,
                user: self.user.into(),
                device: "phone".into(),
            },
            client_id: client_id.as_str().into(),
            trace_id: Bytes::new(),
            fingerprint: fingerprint(&conversation, &content),
            action: Action::Send {
                content: content.clone(),
                mentions: Vec::new(),
                mention_all: false,
            },
            body: EventBody {
                body: Some(created),
            }
            .encode_to_vec()
            .into(),
            refused: None,
        };
        let intent = Intent {
            client_id,
            target,
            sender: self.user.to_owned(),
            body_hash: body_hash(&content),
            kind: Kind::Message,
        };
        (command, intent)
    }

    /// An answer to what is under way.
    pub(super) fn answered(&mut self, result: Result<Placement, Refusal>) -> Option<ClientEvent> {
        let command = self.under_way.take()?;
        let client_id = command.client_id.to_string();
        match result {
            Ok(placement) => {
                self.done.push(command);
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
                let code = refusal.code.as_str_name().to_owned();
                if retryable {
                    // Comes again before anything else.
                    self.under_way = Some(command);
                }
                Some(ClientEvent::Refused(Refused {
                    client_id,
                    code,
                    retryable,
                }))
            }
        }
    }
}

/// flare-session, as far as the owner sees it: members by the seqs of their events, one change under way at a time.
pub(super) struct Session {
    members: BTreeMap<&'static str, bool>,
    as_of: u64,
    pub(super) under_way: Option<(Command, Change)>,
    lines: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Add(&'static str),
    Remove(&'static str),
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            as_of: 0,
            under_way: None,
            lines: 0,
        }
    }

    pub(super) fn membership(&self, conversation: &str, user: &str) -> Membership {
        assert_eq!(
            conversation, GROUP,
            "the owner knows of direct conversations by itself"
        );
        let standing = match self.members.get(user) {
            _ if self.as_of == 0 => Standing::NoConversation,
            Some(true) => Standing::Active(Role::Member),
            Some(false) => Standing::Former,
            None => Standing::Stranger,
        };
        Membership {
            standing,
            disbanded: false,
            as_of: self.as_of,
        }
    }

    /// The next change, if none is under way.
    pub(super) fn compose(&mut self, rng: &mut StdRng) -> Option<Command> {
        if self.under_way.is_some() {
            return None;
        }
        let user = USERS[rng.random_range(0..USERS.len())];
        let change = match self.members.get(user) {
            _ if self.as_of == 0 => Change::Create,
            Some(true) => Change::Remove(user),
            _ => Change::Add(user),
        };
        self.lines += 1;
        let (kind, body) = match change {
            Change::Create => {
                let members = USERS.map(member).to_vec();
                let created = ConversationCreated {
                    members,
                    ..ConversationCreated::default()
                };
                (
                    EventKind::ConversationCreated,
                    Body::ConversationCreated(created),
                )
            }
            Change::Add(user) => (
                EventKind::MembersAdded,
                Body::MembersAdded(MembersAdded {
                    members: vec![member(user)],
                }),
            ),
            Change::Remove(user) => (
                EventKind::MemberRemoved,
                Body::MemberRemoved(MemberRemoved {
                    user_id: user.to_owned(),
                }),
            ),
        };
        let body = Bytes::from(EventBody { body: Some(body) }.encode_to_vec());
        let command = Command {
            origin: Origin::default(),
            conversation: ConversationKey::new(TENANT, GROUP),
            participants: None,
            actor: Actor {
                kind: ActorKind::Service,
                user: "".into(),
                device: "".into(),
            },
            client_id: format!("flare:{}", self.lines).into(),
            trace_id: Bytes::new(),
            fingerprint: fingerprint(GROUP, &body),
            action: Action::Change {
                kind,
                class: ConversationClass::Group,
            },
            body,
            refused: None,
        };
        self.under_way = Some((command.clone(), change));
        Some(command)
    }

    /// The change has its seq: the rows count from here on.
    pub(super) fn answered(&mut self, result: Result<Placement, Refusal>) {
        let Some((command, change)) = self.under_way.take() else {
            return;
        };
        match result {
            Ok(placement) => {
                self.as_of = placement.receipt.seq;
                match change {
                    Change::Create => self.members.extend(USERS.map(|user| (user, true))),
                    Change::Add(user) => drop(self.members.insert(user, true)),
                    Change::Remove(user) => drop(self.members.insert(user, false)),
                }
            }
            Err(refusal) => {
                // An owner that was deposed and does not know it yet refuses by what it last knew; the outbox submits the line again.
                let deposed = refusal.code == ErrorCode::ConversationNotFound;
                assert!(
                    refusal.is_retryable() || deposed,
                    "a change was refused for good: {refusal}"
                );
                self.under_way = Some((command, change));
            }
        }
    }
}

fn member(user: &str) -> EventMember {
    EventMember {
        user_id: user.to_owned(),
        ..EventMember::default()
    }
}
