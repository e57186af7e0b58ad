//! A subscription: a member of a group, for as long as it lasts.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaResult;
use tokio_util::sync::CancellationToken;

use super::lane::Topic;
use super::link::Link;
use super::member;
use super::membership::Membership;
use super::{Shared, group_name};
use crate::event_bus::BatchHandler;

/// A member that had to go out of its group comes back after so long.
const REJOIN_AFTER: Duration = Duration::from_secs(1);

/// Gives the records that come to a member to its handler.
pub(super) struct Delivery {
    pub(super) bus: Arc<Shared>,
    pub(super) topic: Arc<Topic>,
    pub(super) group: String,
    pub(super) handler: Arc<dyn BatchHandler>,
    pub(super) stop: CancellationToken,
}

impl Delivery {
    /// Joins the group.
    pub(super) fn join(&self) -> KafkaResult<Link> {
        let mut config = self.bus.config.client();
        config.set(
            "group.id",
            group_name(&self.bus.config, &self.topic.name, &self.group),
        );
        let options = &self.bus.options;
        member::join(
            config,
            &self.topic.kafka_name,
            options.batch_records,
            &self.bus.runtime,
        )
    }

    /// Returns when it is stopped and out of its group.
    pub(super) async fn run(self, link: Link) {
        let mut joined = Some(link);
        while !self.stop.is_cancelled() {
            if let Some(link) = joined.take() {
                Membership::new(&self, link).run().await;
            }
            let pause = tokio::time::sleep(REJOIN_AFTER);
            if self.stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
            match self.join() {
                Ok(link) => joined = Some(link),
                Err(error) => {
                    tracing::warn!(topic = self.topic.name, group = self.group, %error, "a group cannot be joined");
                }
            }
        }
        if let Some(link) = joined {
            self.leave(link).await;
        }
    }

    /// Leaves the group.
    pub(super) async fn leave(&self, link: Link) {
        if !link.leave().await {
            tracing::warn!(
                topic = self.topic.name,
                group = self.group,
                "Kafka does not answer: a member leaves its group without a goodbye"
            );
        }
    }
}
