//! Signals to devices.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use flare_server_core::shutdown::Shutdown;
use tokio::sync::mpsc;

use super::{
    missed::Missed,
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
    /// Passes on what is queued, until the process drains.
    pub async fn run(
        &self,
        mut queue: mpsc::Receiver<Signal>,
        missed: &Missed,
        shutdown: &Shutdown,
    ) {
        while let Some(Some(signal)) = shutdown.or_drain(queue.recv()).await {
            if let Err(error) = self.signal(&signal).await {
                tracing::debug!(%error, "a signal was dropped");
                missed.dropped(&signal);
            }
        }
    }

    /// Passes one on. A signal of somebody who is not in the conversation goes nowhere, nor does one to all of a large conversation.
    pub async fn signal(&self, signal: &Signal) -> Result<(), PortError> {
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
        let payload = Payload::Signal(signal.bytes.clone());
        self.put_out(&users, except, payload).await?;
        metrics::counter!("flare_push_signals_total").increment(1);
        Ok(())
    }

    /// Tells all devices of some users (tenant, user) to sync their inboxes.
    pub async fn hint(&self, users: &[(String, String)]) -> Result<(), PortError> {
        self.put_out(users, "", Payload::SyncHint).await
    }

    async fn put_out(
        &self,
        users: &[(String, String)],
        except_device: &str,
        payload: Payload,
    ) -> Result<(), PortError> {
        let located = self.presence.lookup(users, false).await?;
        let mut targets: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for connection in located.users.iter().flatten() {
            if except_device.is_empty() || connection.device != except_device {
                targets
                    .entry(connection.gateway)
                    .or_default()
                    .push(connection.id);
            }
        }
        for (gateway, connections) in targets {
            if let Some(gateway) = located.gateways.get(gateway) {
                let payload = payload.clone();
                let delivery = Delivery {
                    payload,
                    connections,
                    members: None,
                };
                self.gateways.deliver(gateway, vec![delivery]).await;
            }
        }
        Ok(())
    }
}
