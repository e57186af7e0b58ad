//! flare-session, as far as the owner sees it: members by the seqs of their events, one change under way at a time.

use std::collections::BTreeMap;

use bytes::Bytes;
use flare_message_orchestrator::owner::{
    Action, Actor, ActorKind, Command, Membership, Origin, Placement, Role, Standing,
};
use flare_proto::message::{
    ConversationClass, ConversationCreated, EventBody, EventKind, EventMember, MemberRemoved,
    MembersAdded, event_body::Body,
};
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, fingerprint};
use prost::Message;
use rand::{Rng, rngs::StdRng};

use crate::clients::{GROUP, TENANT, USERS};

/// What the rows say, as of a seq.
#[derive(Clone, Default)]
struct Rows {
    members: BTreeMap<&'static str, bool>,
    as_of: u64,
}

pub(crate) struct Session {
    /// Oldest first, the latest at the end.
    versions: Vec<Rows>,
    pub(crate) under_way: Option<(Command, Change)>,
    lines: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Create,
    Add(&'static str),
    Remove(&'static str),
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            versions: vec![Rows::default()],
            under_way: None,
            lines: 0,
        }
    }

    /// How many answers there are, the latest among them.
    pub(crate) fn versions(&self) -> usize {
        self.versions.len()
    }

    fn rows(&self) -> &Rows {
        &self.versions[self.versions.len() - 1]
    }

    /// What it says of a user, as it was `ago` changes ago.
    pub(crate) fn membership(&self, conversation: &str, user: &str, ago: usize) -> Membership {
        assert_eq!(
            conversation, GROUP,
            "the owner knows of direct conversations by itself"
        );
        let rows = &self.versions[self.versions.len() - 1 - ago];
        let standing = match rows.members.get(user) {
            _ if rows.as_of == 0 => Standing::NoConversation,
            Some(true) if user == USERS[0] => Standing::Active(Role::Owner),
            Some(true) => Standing::Active(Role::Member),
            Some(false) => Standing::Former,
            None => Standing::Stranger,
        };
        Membership {
            standing,
            disbanded: false,
            as_of: rows.as_of,
        }
    }

    /// Whether the user was a member as of every change since the `from`-th version.
    pub(crate) fn was_member_since(&self, from: usize, user: &str) -> bool {
        let mut since = self.versions.iter().skip(from.saturating_sub(1));
        since.all(|it| it.members.get(user) == Some(&true))
    }

    /// The next change, if none is under way; else that one again.
    pub(crate) fn compose(&mut self, rng: &mut StdRng) -> Command {
        if let Some((command, _)) = &self.under_way {
            return command.clone();
        }
        let user = USERS[rng.random_range(0..USERS.len())];
        let change = match self.rows().members.get(user) {
            _ if self.rows().as_of == 0 => Change::Create,
            Some(true) => Change::Remove(user),
            _ => Change::Add(user),
        };
        self.lines += 1;
        let (kind, body) = change.event();
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
        command
    }

    /// The change has its seq: the rows count from here on. An error: it was refused for good.
    pub(crate) fn answered(&mut self, result: Result<Placement, Refusal>) -> Result<bool, Refusal> {
        let Some((command, change)) = self.under_way.take() else {
            return Ok(false);
        };
        match result {
            Ok(placement) => {
                let mut rows = self.rows().clone();
                rows.as_of = placement.receipt.seq;
                match change {
                    Change::Create => rows.members.extend(USERS.map(|user| (user, true))),
                    Change::Add(user) => drop(rows.members.insert(user, true)),
                    Change::Remove(user) => drop(rows.members.insert(user, false)),
                }
                self.versions.push(rows);
                Ok(true)
            }
            Err(refusal) if refusal.is_retryable() => {
                self.under_way = Some((command, change));
                Ok(false)
            }
            Err(refusal) => Err(refusal),
        }
    }
}

impl Change {
    fn event(self) -> (EventKind, Body) {
        match self {
            Self::Create => {
                let created = ConversationCreated {
                    members: USERS.map(member).to_vec(),
                    ..ConversationCreated::default()
                };
                (
                    EventKind::ConversationCreated,
                    Body::ConversationCreated(created),
                )
            }
            Self::Add(user) => (
                EventKind::MembersAdded,
                Body::MembersAdded(MembersAdded {
                    members: vec![member(user)],
                    ..MembersAdded::default()
                }),
            ),
            Self::Remove(user) => (
                EventKind::MemberRemoved,
                Body::MemberRemoved(MemberRemoved {
                    user_id: user.to_owned(),
                }),
            ),
        }
    }
}

fn member(user: &str) -> EventMember {
    EventMember {
        user_id: user.to_owned(),
        ..EventMember::default()
    }
}
