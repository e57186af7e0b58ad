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
        ports::{
            Connection, Delivery, Gateway, Gateways, Located, Payload, PortError, Presence,
            RosterSource,
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
    pub(crate) fails: Mutex<bool>,
    refused: AtomicUsize,
    started_over: AtomicUsize,
}

#[async_trait]
impl Presence for Outside {
    async fn lookup(&self, users: &[(String, String)]) -> Result<Located, PortError> {
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
        let gateways = ["g0", "g1"].map(|it| Gateway {
            incarnation: it.to_owned(),
            endpoint: String::new(),
        });
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
}

#[async_trait]
impl Gateways for Outside {
    async fn deliver(&self, gateway: &Gateway, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let bytes = match delivery.payload {
                Payload::Event(bytes) | Payload::Signal(bytes) => bytes,
                Payload::SyncHint => Bytes::from_static(b"hint"),
            };
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
        gateways: outside.clone(),
        rosters: Rosters::new(outside.clone(), 1_000),
        spans: Spans::default(),
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
        bytes: Bytes::from(format!("e{seq}")),
    }
}
