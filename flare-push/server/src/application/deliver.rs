//! Events to devices.

mod steps;
mod ways;

use std::sync::Arc;

use flare_server_core::telemetry::Spans;

use self::{
    steps::Steps,
    ways::{Asked, Ways},
};
use super::{
    large::LargeConversations,
    ports::{Gateways, Interest, Interested, MembersHere, PortError, Presence},
    rosters::Rosters,
};
use crate::domain::event::{Conversation, Event};

/// Delivers batches of the stream, in its order. One caller at a time.
pub struct Deliver {
    /// Who is connected.
    pub presence: Arc<dyn Presence>,
    /// Which gateways have members of large conversations.
    pub interest: Arc<dyn Interest>,
    /// Where to.
    pub gateways: Arc<dyn Gateways>,
    /// Groups' members.
    pub rosters: Rosters,
    /// What is known of large conversations.
    pub large: LargeConversations,
    /// Of sampled traces.
    pub spans: Spans,
}

/// Whom an event goes to.
struct Audience {
    /// Whose connections are looked up.
    users: Vec<String>,
    /// Of a large conversation: beside these, its members at whichever gateways have any.
    members: Option<MembersHere>,
}

impl Deliver {
    /// Delivers each event to every connected device of its audience but the one that it came from. Repeatable: devices drop what they have by its seq.
    pub async fn batch(&self, events: &[Event]) -> Result<(), PortError> {
        let mut steps = Steps::begin(&self.spans, events);
        let mut asked = Asked::default();
        let mut places = Vec::with_capacity(events.len());
        for event in events {
            let audience = self.audience(event).await;
            let audience = steps.or_failed("push_server.audience", audience)?;
            places.push(asked.add(event, audience));
        }
        steps.done("push_server.audience");
        let Asked {
            users,
            conversations,
            ..
        } = asked;
        if users.is_empty() && conversations.is_empty() {
            return Ok(());
        }
        // After the events were read, so that whoever is not found registers later and syncs after that; likewise for who is interested.
        let (located, interested) = futures::join!(
            self.presence.lookup(&users, !conversations.is_empty()),
            self.interested(&conversations)
        );
        let located = steps.or_failed("push_server.presence", located)?;
        steps.done("push_server.presence");
        let ways = Ways::new(located, interested, &users);
        let outgoing = ways.by_gateway(events, &places);
        let sending = outgoing.into_iter().filter_map(|(gateway, deliveries)| {
            let gateway = ways.gateways.get(gateway)?;
            Some(self.gateways.deliver(gateway, deliveries))
        });
        futures::future::join_all(sending).await;
        steps.done("push_server.hand_over");
        Ok(())
    }

    async fn audience(&self, event: &Event) -> Result<Audience, PortError> {
        if !event.participants.is_empty() {
            return Ok(Audience {
                users: event.participants.clone(),
                members: None,
            });
        }
        let Some(large) = event.large else {
            return Ok(Audience {
                users: self.roster_of(event).await?,
                members: None,
            });
        };
        // Those of the others whom gateways do not know yet are named by the event by which it becomes large.
        let users = match large.begins && event.seq > 1 {
            true => self.roster_of(event).await?,
            false => event.change.named().to_vec(),
        };
        let members = MembersHere {
            member_seq: self.large.member_seq_before(event).await?,
            named_all: large.begins,
        };
        if large.begins {
            self.rosters.forget(&event.conversation).await;
        }
        self.large.passed(event).await;
        Ok(Audience {
            users,
            members: Some(members),
        })
    }

    /// Who of a group gets the event.
    async fn roster_of(&self, event: &Event) -> Result<Vec<String>, PortError> {
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

    /// Whom the conversations interest. Where nobody can say, nobody has told anything: then it goes to every gateway.
    async fn interested(&self, conversations: &[&Conversation]) -> Interested {
        if conversations.is_empty() {
            return Interested::default();
        }
        match self.interest.interested(conversations).await {
            Ok(interested) => interested,
            Err(error) => {
                metrics::counter!("flare_push_interest_unknown_total").increment(1);
                tracing::warn!(%error, "events of large conversations go to every gateway");
                Interested::default()
            }
        }
    }
}
