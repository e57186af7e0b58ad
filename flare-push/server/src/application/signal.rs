//! Signals to devices.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    ports::{Delivery, Gateways, Payload, PortError, Presence},
    rosters::Rosters,
};
use crate::domain::event::Conversation;

/// Who hears a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody in the conversation but the signal's user.
    Participants,
    /// The devices of the signal's user, but this one.
    OwnDevices {
        /// Whose doing it was; empty: no device's.
        except_device: String,
    },
}

/// A transient signal.
#[derive(Clone, Debug)]
pub struct Signal {
    /// Where.
    pub conversation: Conversation,
    /// Whose.
    pub user: String,
    /// To whom.
    pub audience: Audience,
    /// An encoded `flare.client.v1.Signal`.
    pub bytes: Bytes,
}

/// Passes signals on.
pub struct PassOn {
    /// Who is connected.
    pub presence: Arc<dyn Presence>,
    /// Where to.
    pub gateways: Arc<dyn Gateways>,
    /// Who is in a conversation.
    pub rosters: Rosters,
}

impl PassOn {
    /// Passes one on. A signal of somebody who is not in the conversation goes nowhere.
    pub async fn signal(&self, signal: Signal) -> Result<(), PortError> {
        let tenant = &signal.conversation.tenant;
        let (users, except): (Vec<_>, &str) = match &signal.audience {
            Audience::OwnDevices { except_device } => {
                (vec![(tenant.clone(), signal.user.clone())], except_device)
            }
            Audience::Participants => {
                let roster = self.rosters.look(&signal.conversation).await?;
                let Some(roster) = roster.filter(|it| it.contains(&signal.user)) else {
                    metrics::counter!("flare_push_signals_refused_total").increment(1);
                    return Ok(());
                };
                let others = roster.members().filter(|user| **user != signal.user);
                (
                    others.map(|user| (tenant.clone(), user.clone())).collect(),
                    "",
                )
            }
        };
        let located = self.presence.lookup(&users).await?;
        let mut targets: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for connection in located
            .users
            .iter()
            .flatten()
            .filter(|it| except.is_empty() || it.device != except)
        {
            targets
                .entry(connection.gateway)
                .or_default()
                .push(connection.id);
        }
        for (gateway, connections) in targets {
            if let Some(gateway) = located.gateways.get(gateway) {
                let payload = Payload::Signal(signal.bytes.clone());
                self.gateways
                    .deliver(
                        gateway,
                        vec![Delivery {
                            payload,
                            connections,
                        }],
                    )
                    .await;
            }
        }
        metrics::counter!("flare_push_signals_total").increment(1);
        Ok(())
    }
}
