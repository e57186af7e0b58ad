//! Events to devices.

mod steps;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use flare_server_core::telemetry::Spans;

use self::steps::Steps;
use super::{
    ports::{Delivery, Gateways, Located, Payload, PortError, Presence},
    rosters::Rosters,
};
use crate::domain::event::Event;

/// Delivers batches of the stream, in its order. One caller at a time.
pub struct Deliver {
    /// Who is connected.
    pub presence: Arc<dyn Presence>,
    /// Where to.
    pub gateways: Arc<dyn Gateways>,
    /// Groups' members.
    pub rosters: Rosters,
    /// Of sampled traces.
    pub spans: Spans,
}

impl Deliver {
    /// Delivers each event to every connected device of its audience but the one that it came from. Repeatable: devices drop what they have by its seq.
    pub async fn batch(&self, events: &[Event]) -> Result<(), PortError> {
        let mut steps = Steps::begin(&self.spans, events);
        let mut users: Vec<(String, String)> = Vec::new();
        let mut indexes: HashMap<(String, String), usize> = HashMap::new();
        // Audiences by index into `users`, in the order of the events.
        let mut audiences = Vec::with_capacity(events.len());
        for event in events {
            let audience = self.audience(event).await;
            let audience: Vec<usize> = steps
                .or_failed("push_server.audience", audience)?
                .into_iter()
                .map(|user| {
                    *indexes
                        .entry((event.conversation.tenant.clone(), user))
                        .or_insert_with_key(|key| {
                            users.push(key.clone());
                            users.len() - 1
                        })
                })
                .collect();
            audiences.push(audience);
        }
        steps.done("push_server.audience");
        if users.is_empty() {
            return Ok(());
        }
        // After the events were read, so that whoever is not found registers later and syncs after that.
        let located = self.presence.lookup(&users).await;
        let located = steps.or_failed("push_server.presence", located)?;
        steps.done("push_server.presence");
        let outgoing = by_gateway(events, &audiences, &users, &located);
        let sending = outgoing.into_iter().filter_map(|(gateway, deliveries)| {
            located
                .gateways
                .get(gateway)
                .map(|gateway| self.gateways.deliver(gateway, deliveries))
        });
        futures::future::join_all(sending).await;
        steps.done("push_server.hand_over");
        Ok(())
    }

    async fn audience(&self, event: &Event) -> Result<Vec<String>, PortError> {
        if !event.participants.is_empty() {
            return Ok(event.participants.clone());
        }
        let Some(mut roster) = self.rosters.get(&event.conversation).await? else {
            return Ok(Vec::new());
        };
        if roster.is_changed_by(event) {
            roster = Arc::new(roster.after(event));
            self.rosters
                .put(&event.conversation, Arc::clone(&roster))
                .await;
        }
        Ok(roster.audience(event))
    }
}

fn by_gateway(
    events: &[Event],
    audiences: &[Vec<usize>],
    users: &[(String, String)],
    located: &Located,
) -> BTreeMap<usize, Vec<Delivery>> {
    let mut outgoing: BTreeMap<usize, Vec<Delivery>> = BTreeMap::new();
    let mut sent = 0u64;
    for (event, audience) in events.iter().zip(audiences) {
        let mut targets: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for index in audience {
            let (Some((_, user)), Some(connections)) =
                (users.get(*index), located.users.get(*index))
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
        for (gateway, connections) in targets {
            sent += connections.len() as u64;
            let payload = Payload::Event(event.bytes.clone());
            outgoing.entry(gateway).or_default().push(Delivery {
                payload,
                connections,
            });
        }
    }
    metrics::counter!("flare_push_deliveries_total").increment(sent);
    metrics::counter!("flare_push_events_total").increment(events.len() as u64);
    outgoing
}
