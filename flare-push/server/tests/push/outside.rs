//! Presence, rosters and gateways, played by the test.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use flare_push_server::{
    application::{
        deliver::Deliver,
        large::LargeConversations,
        ports::{
            Connection, Delivery, Found, Gateway, Gateways, Interest, Interested, Located,
            MembersHere, Payload, PortError, Presence, RosterSource,
        },
        rosters::Rosters,
    },
    domain::{
        event::{Conversation, Event, MemberChange},
        roster::Roster,
    },
};
use flare_server_core::telemetry::Spans;

pub(crate) type Sent = (String, Bytes, Vec<u64>);

/// Gateway, id, device.
type Online = (usize, u64, String);

/// Two gateways, with users' connections.
#[derive(Default)]
pub(crate) struct Outside {
    pub(crate) online: Mutex<HashMap<String, Vec<Online>>>,
    pub(crate) lookups: Mutex<Vec<Vec<String>>>,
    pub(crate) roster: Mutex<Option<Roster>>,
    sent: Mutex<Vec<Sent>>,
    /// What gateways were told with events of large conversations, in the order in which they were.
    told: Mutex<Vec<(String, MembersHere)>>,
    /// Who tells, and whom every conversation interests; None: nobody can say.
    pub(crate) interest: Mutex<Option<Interested>>,
    /// Of the conversation, if it is large.
    pub(crate) member_seq: Mutex<Option<u64>>,
    finds: AtomicUsize,
    asked_for_all: AtomicUsize,
    pub(crate) fails: Mutex<bool>,
    refused: AtomicUsize,
    started_over: AtomicUsize,
}

#[async_trait]
impl Presence for Outside {
    async fn lookup(
        &self,
        users: &[(String, String)],
        all_gateways: bool,
    ) -> Result<Located, PortError> {
        if *self.fails.lock().unwrap() {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(PortError {
                what: "presence",
                why: "away".to_owned(),
            });
        }
        self.lookups
            .lock()
            .unwrap()
            .push(users.iter().map(|it| it.1.clone()).collect());
        let online = self.online.lock().unwrap();
        if all_gateways {
            self.asked_for_all.fetch_add(1, Ordering::SeqCst);
        }
        let gateways = ["g0", "g1"].map(gateway);
        let users = users
            .iter()
            .map(|(_, user)| {
                let connections = online.get(user).cloned().unwrap_or_default();
                connections
                    .into_iter()
                    .map(|(gateway, id, device)| Connection {
                        gateway,
                        id,
                        device,
                    })
                    .collect()
            })
            .collect();
        Ok(Located {
            users,
            gateways: gateways.into(),
        })
    }
}

#[async_trait]
impl RosterSource for Outside {
    async fn fetch(&self, _: &Conversation) -> Result<Option<Roster>, PortError> {
        Ok(self.roster.lock().unwrap().clone())
    }

    async fn find(&self, _: &Conversation) -> Result<Option<Found>, PortError> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        if let Some(member_seq) = *self.member_seq.lock().unwrap() {
            return Ok(Some(Found::Large { member_seq }));
        }
        Ok(self.roster.lock().unwrap().clone().map(Found::Members))
    }
}

#[async_trait]
impl Interest for Outside {
    async fn interested(&self, conversations: &[&Conversation]) -> Result<Interested, PortError> {
        let known = self.interest.lock().unwrap().clone();
        let mut known = known.ok_or(PortError {
            what: "interest",
            why: "away".to_owned(),
        })?;
        let whom = known.conversations.pop().unwrap_or_default();
        known.conversations = vec![whom; conversations.len()];
        Ok(known)
    }
}

#[async_trait]
impl Gateways for Outside {
    async fn deliver(&self, gateway: &Gateway, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let bytes = match delivery.payload {
                Payload::Event(bytes) | Payload::Signal(bytes) => bytes,
                Payload::SyncHint => Bytes::from_static(b"hint"),
            };
            if let Some(members) = delivery.members {
                let told = (gateway.incarnation.clone(), members);
                self.told.lock().unwrap().push(told);
            }
            let mut connections = delivery.connections;
            connections.sort_unstable();
            self.sent
                .lock()
                .unwrap()
                .push((gateway.incarnation.clone(), bytes, connections));
        }
    }

    fn start_over(&self) {
        self.started_over.fetch_add(1, Ordering::SeqCst);
    }
}

impl Outside {
    pub(crate) fn connect(&self, user: &str, gateway: usize, id: u64, device: &str) {
        self.online
            .lock()
            .unwrap()
            .entry(user.to_owned())
            .or_default()
            .push((gateway, id, device.to_owned()));
    }

    /// Every conversation interests those of whom `indexes` are, of these who tell.
    pub(crate) fn interests(&self, telling: &[&str], indexes: &[usize]) {
        *self.interest.lock().unwrap() = Some(Interested {
            telling: telling.iter().copied().map(gateway).collect(),
            conversations: vec![indexes.to_vec()],
        });
    }

    /// What gateways were told with events of large conversations.
    pub(crate) fn told(&self) -> Vec<(String, MembersHere)> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    /// How often the source was asked what it knows.
    pub(crate) fn finds(&self) -> usize {
        self.finds.load(Ordering::SeqCst)
    }

    /// How often all gateways were asked for.
    pub(crate) fn asked_for_all(&self) -> usize {
        self.asked_for_all.load(Ordering::SeqCst)
    }

    /// How often presence did not answer.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// How often everybody was to be told.
    pub(crate) fn started_over(&self) -> usize {
        self.started_over.load(Ordering::SeqCst)
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        let mut sent = std::mem::take(&mut *self.sent.lock().unwrap());
        sent.sort();
        sent
    }
}

pub(crate) fn deliver(outside: &Arc<Outside>) -> Deliver {
    Deliver {
        presence: outside.clone(),
        interest: outside.clone(),
        gateways: outside.clone(),
        rosters: Rosters::new(outside.clone(), 1_000),
        large: LargeConversations::new(outside.clone(), 100),
        spans: Spans::default(),
    }
}

pub(crate) fn gateway(name: &str) -> Gateway {
    Gateway {
        incarnation: name.to_owned(),
        endpoint: String::new(),
    }
}

pub(crate) fn conversation() -> Conversation {
    Conversation {
        tenant: "default".to_owned(),
        id: "c".to_owned(),
    }
}

pub(crate) fn event(seq: u64, participants: &[&str], change: MemberChange) -> Event {
    Event {
        conversation: conversation(),
        seq,
        trace_id: Bytes::new(),
        sender: "alice".to_owned(),
        sender_device: "phone".to_owned(),
        participants: participants.iter().map(|it| (*it).to_owned()).collect(),
        change,
        large: None,
        bytes: Bytes::from(format!("e{seq}")),
    }
}
