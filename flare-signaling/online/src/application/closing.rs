//! Closes connections at their gateways, for as long as it takes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::Semaphore;

use super::ports::{CloseReason, Gateways, PresenceStore};
use crate::domain::presence::{Gateway, Located};

/// Before a gateway that did not answer is asked again, at first.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// And in the long run.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Calls that are repeated at a time: a gateway that renews its lease and never answers must not fill the memory.
const MAX_REPEATED: usize = 1_000;

/// The way to the gateways' connections. Clones share their limit.
#[derive(Clone)]
pub struct Closing {
    presence: Arc<dyn PresenceStore>,
    gateways: Arc<dyn Gateways>,
    room: Arc<Semaphore>,
}

/// What one gateway is to close.
struct Order {
    gateway: Gateway,
    connection_ids: Vec<u64>,
    reason: CloseReason,
    message: String,
}

impl Closing {
    /// Closes at these gateways what presence has found.
    pub fn new(presence: Arc<dyn PresenceStore>, gateways: Arc<dyn Gateways>) -> Self {
        Self {
            presence,
            gateways,
            room: Arc::new(Semaphore::new(MAX_REPEATED)),
        }
    }

    /// Closes connections, each gateway's in one call, and answers how many of them were open. A gateway that does not answer counts for
    /// none; it is asked again until it does, or its lease ends: then its connections are judged anew when it registers them again.
    pub async fn close(
        &self,
        connections: Vec<Located>,
        reason: CloseReason,
        message: &str,
    ) -> u32 {
        let mut by_gateway: HashMap<Gateway, Vec<u64>> = HashMap::new();
        for connection in connections {
            by_gateway
                .entry(connection.gateway)
                .or_default()
                .push(connection.connection_id);
        }
        let closing = by_gateway.into_iter().map(|(gateway, connection_ids)| {
            self.close_at(Order {
                gateway,
                connection_ids,
                reason,
                message: message.to_owned(),
            })
        });
        futures::future::join_all(closing).await.into_iter().sum()
    }

    async fn close_at(&self, order: Order) -> u32 {
        if let Some(closed) = self.ask(&order).await {
            return closed;
        }
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            metrics::counter!("flare_online_closes_given_up_total").increment(1);
            return 0;
        };
        let this = self.clone();
        tokio::spawn(async move {
            this.repeat(order).await;
            drop(room);
        });
        0
    }

    async fn repeat(&self, order: Order) {
        let lease = || self.presence.lease(&order.gateway.incarnation);
        let Ok(Some(held_on)) = lease().await else {
            return;
        };
        let pauses = ExponentialBuilder::default()
            .with_min_delay(SHORTEST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times()
            .build();
        for pause in pauses {
            tokio::time::sleep(pause).await;
            let has_ended = lease().await.is_ok_and(|it| it != Some(held_on));
            if has_ended || self.ask(&order).await.is_some() {
                return;
            }
        }
    }

    /// None: it has not answered.
    async fn ask(&self, order: &Order) -> Option<u32> {
        let Order {
            gateway,
            connection_ids,
            reason,
            message,
        } = order;
        let closed = self
            .gateways
            .close(gateway, connection_ids.clone(), *reason, message)
            .await;
        closed
            .inspect_err(|error| {
                tracing::warn!(%error, gateway = %gateway.incarnation, "connections were not closed");
            })
            .ok()
    }
}
