//! Which event goes by which gateway.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Audience;
use crate::{
    application::ports::{
        Connection, Delivery, Gateway, Interested, Located, MembersHere, Payload,
    },
    domain::event::{Conversation, Event},
};

/// What is to be looked up for the events of a batch, each once.
#[derive(Default)]
pub(super) struct Asked<'a> {
    /// (tenant, user).
    pub(super) users: Vec<(String, String)>,
    /// Large ones.
    pub(super) conversations: Vec<&'a Conversation>,
    users_at: HashMap<(String, String), usize>,
    conversations_at: HashMap<&'a Conversation, usize>,
}

/// Whom an event goes to, by what was looked up.
pub(super) struct Place {
    /// Indexes into the users.
    users: Vec<usize>,
    /// Index into the conversations.
    large: Option<(usize, MembersHere)>,
}

impl<'a> Asked<'a> {
    /// Adds what the event's audience needs.
    pub(super) fn add(&mut self, event: &'a Event, audience: Audience) -> Place {
        let users = audience.users.into_iter().map(|user| {
            let key = (event.conversation.tenant.clone(), user);
            let all = &mut self.users;
            *self.users_at.entry(key).or_insert_with_key(|key| {
                all.push(key.clone());
                all.len() - 1
            })
        });
        let users = users.collect();
        let large = audience.members.map(|members| {
            let all = &mut self.conversations;
            let at = self.conversations_at.entry(&event.conversation);
            let at = *at.or_insert_with(|| {
                all.push(&event.conversation);
                all.len() - 1
            });
            (at, members)
        });
        Place { users, large }
    }
}

/// What was looked up.
pub(super) struct Ways<'a> {
    /// All of them, each once.
    pub(super) gateways: Vec<Gateway>,
    users: &'a [(String, String)],
    /// In the order of the users.
    connections: Vec<Vec<Connection>>,
    /// In the order of the conversations: the gateways whom each interests.
    interested: Vec<Vec<usize>>,
    /// Of whom it is not known what interests them.
    silent: Vec<usize>,
}

impl<'a> Ways<'a> {
    pub(super) fn new(
        located: Located,
        interested: Interested,
        users: &'a [(String, String)],
    ) -> Self {
        let Interested {
            telling,
            conversations,
        } = interested;
        let mut gateways = located.gateways;
        let held = gateways.len();
        let telling: Vec<usize> = telling
            .into_iter()
            .map(|it| {
                let known = gateways
                    .iter()
                    .position(|known| known.incarnation == it.incarnation);
                known.unwrap_or_else(|| {
                    gateways.push(it);
                    gateways.len() - 1
                })
            })
            .collect();
        let interested = conversations.into_iter().map(|all| {
            all.iter()
                .filter_map(|it| telling.get(*it).copied())
                .collect()
        });
        let interested = interested.collect();
        let telling: BTreeSet<usize> = telling.into_iter().collect();
        Self {
            silent: (0..held).filter(|it| !telling.contains(it)).collect(),
            gateways,
            users,
            connections: located.users,
            interested,
        }
    }

    /// What goes to each gateway, by its index: an event at most once, and events in their order.
    pub(super) fn by_gateway(
        &self,
        events: &[Event],
        places: &[Place],
    ) -> BTreeMap<usize, Vec<Delivery>> {
        let mut outgoing: BTreeMap<usize, Vec<Delivery>> = BTreeMap::new();
        let (mut sent, mut large_events, mut large_messages) = (0u64, 0u64, 0u64);
        for (event, place) in events.iter().zip(places) {
            let mut targets = self.targets(event, place);
            let members = place.large.map(|(_, members)| members);
            if members.is_some() {
                large_events += 1;
                large_messages += targets.len() as u64;
            } else {
                targets.retain(|_, connections| !connections.is_empty());
            }
            for (gateway, connections) in targets {
                sent += connections.len() as u64;
                outgoing.entry(gateway).or_default().push(Delivery {
                    payload: Payload::Event(event.bytes.clone()),
                    connections,
                    members,
                });
            }
        }
        metrics::counter!("flare_push_deliveries_total").increment(sent);
        metrics::counter!("flare_push_events_total").increment(events.len() as u64);
        metrics::counter!("flare_push_large_events_total").increment(large_events);
        metrics::counter!("flare_push_large_messages_total").increment(large_messages);
        outgoing
    }

    /// The gateways that the event goes to, each with the connections that are named to it.
    fn targets(&self, event: &Event, place: &Place) -> BTreeMap<usize, Vec<u64>> {
        let mut targets: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        if let Some((conversation, _)) = place.large {
            let interested = self.interested.get(conversation).into_iter().flatten();
            for gateway in interested.chain(&self.silent) {
                targets.entry(*gateway).or_default();
            }
        }
        for index in &place.users {
            let (Some((_, user)), Some(connections)) =
                (self.users.get(*index), self.connections.get(*index))
            else {
                continue;
            };
            let is_sender = *user == event.sender && !event.sender_device.is_empty();
            for connection in connections {
                // The origin device has its acknowledgement instead.
                if !(is_sender && connection.device == event.sender_device) {
                    targets
                        .entry(connection.gateway)
                        .or_default()
                        .push(connection.id);
                }
            }
        }
        targets
    }
}
