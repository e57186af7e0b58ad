//! Sees from outside how far a group is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::fresh::Fresh;
use super::lane::Topic;
use super::report::Quiet;

/// So long Kafka may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often, and for how long in all, a node is asked that does not know yet what it leads.
const AGAIN: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_millis(500))
    .with_total_delay(Some(PATIENCE))
    .without_max_times();

/// Offsets by lane; lanes of which there is none are left out.
pub(super) type Offsets = BTreeMap<i32, u64>;

/// Asks Kafka about a topic and a group, of which it is no member.
pub(super) struct Observer {
    seer: Arc<Seer>,
    bounds: Fresh<Result<(Offsets, Offsets), String>>,
    kept: Fresh<Result<Offsets, String>>,
    runtime: Handle,
}

struct Seer {
    consumer: BaseConsumer<Quiet>,
    topic: Arc<Topic>,
    group: String,
}

impl Observer {
    /// `group` is the group's name as Kafka knows it.
    pub(super) fn new(
        mut config: ClientConfig,
        topic: Arc<Topic>,
        group: String,
        runtime: Handle,
    ) -> KafkaResult<Self> {
        config
            .set("group.id", &group)
            .set("enable.auto.commit", "false")
            .set("allow.auto.create.topics", "false");
        let consumer = config.create_with_context(Quiet::default())?;
        Ok(Self {
            seer: Arc::new(Seer {
                consumer,
                topic,
                group,
            }),
            bounds: Fresh::default(),
            kept: Fresh::default(),
            runtime,
        })
    }

    /// The topic's name, as the bus knows it.
    pub(super) fn topic(&self) -> &str {
        &self.seer.topic.name
    }

    /// Where the lanes begin, and the offsets after their last records, not before this call.
    pub(super) async fn bounds(&self) -> Result<(Offsets, Offsets), String> {
        let question = async || self.ask(|seer| bounds(&seer.consumer, &seer.topic)).await;
        self.bounds.ask(question).await
    }

    /// The positions that the group has kept, not before this call.
    pub(super) async fn kept(&self) -> Result<Offsets, String> {
        let question = async || self.ask(Seer::kept).await;
        self.kept.ask(question).await
    }

    /// Whether the group has members anywhere.
    pub(super) async fn has_members(&self) -> Result<bool, String> {
        self.ask(Seer::has_members).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&Seer) -> KafkaResult<T> + Copy + Send + 'static,
    ) -> Result<T, String> {
        let once = async || {
            let seer = self.seer.clone();
            let answer = self.runtime.spawn_blocking(move || {
                // What it complained of meanwhile is passed on, and does not pile up.
                while seer.consumer.poll(Duration::ZERO).is_some() {}
                question(&seer)
            });
            answer.await.unwrap_or(Err(KafkaError::Canceled))
        };
        let answer = once.retry(AGAIN).when(is_not_known_yet).await;
        answer.map_err(|error| error.to_string())
    }
}

impl Seer {
    fn kept(&self) -> KafkaResult<Offsets> {
        let list = self
            .consumer
            .committed_offsets(lanes(&self.topic, Offset::Invalid)?, PATIENCE)?;
        known(&list)
    }

    fn has_members(&self) -> KafkaResult<bool> {
        let groups = self
            .consumer
            .fetch_group_list(Some(&self.group), PATIENCE)?;
        Ok(groups
            .groups()
            .iter()
            .any(|group| !group.members().is_empty()))
    }
}

/// Whether it is what nodes answer while leadership moves: one that has just come back, too.
fn is_not_known_yet(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::FencedLeaderEpoch
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::UnknownLeaderEpoch
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
        )
    )
}

/// Where the lanes of a topic begin, and the offsets after their last records.
pub(super) fn bounds(
    consumer: &BaseConsumer<Quiet>,
    topic: &Topic,
) -> KafkaResult<(Offsets, Offsets)> {
    // The library takes the beginning and the end for times.
    let offsets = |which| {
        let list = consumer.offsets_for_times(lanes(topic, which)?, PATIENCE)?;
        known(&list)
    };
    Ok((offsets(Offset::Beginning)?, offsets(Offset::End)?))
}

fn lanes(topic: &Topic, offset: Offset) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for lane in topic.all_lanes() {
        list.add_partition_offset(&topic.kafka_name, lane, offset)?;
    }
    Ok(list)
}

fn known(list: &TopicPartitionList) -> KafkaResult<Offsets> {
    let mut known = Offsets::new();
    for lane in list.elements() {
        lane.error()?;
        if let Offset::Offset(offset) = lane.offset() {
            known.insert(lane.partition(), offset.unsigned_abs());
        }
    }
    Ok(known)
}
