//! What Kafka's library tells a member while it is polled.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics, TopicPartitionList};

use super::report::Voice;

/// A change of the assignment that waits for the member's answer. The library waits with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Assign(Vec<i32>),
    Revoke(Vec<i32>),
}

/// Keeps what was told until the member, whose thread it is, takes it.
pub(super) struct MemberContext {
    /// As Kafka knows it.
    topic: String,
    told: Mutex<Told>,
    /// Whether changes are answered at once, as nobody is there to take them.
    leaving: AtomicBool,
    /// How much was told so far.
    count: AtomicU64,
    voice: Voice,
}

#[derive(Default)]
struct Told {
    changes: VecDeque<Change>,
    bounds: Option<Vec<(i32, (u64, u64))>>,
}

impl MemberContext {
    pub(super) fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            told: Mutex::default(),
            leaving: AtomicBool::new(false),
            count: AtomicU64::new(0),
            voice: Voice::default(),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(SeqCst)
    }

    pub(super) fn leave(&self) {
        self.leaving.store(true, SeqCst);
    }

    /// The change that is to be answered next.
    pub(super) fn change(&self) -> Option<Change> {
        self.told().changes.front().cloned()
    }

    /// The next change is answered.
    pub(super) fn answered(&self) {
        self.told().changes.pop_front();
    }

    /// Where lanes begin and end.
    pub(super) fn take_bounds(&self) -> Option<Vec<(i32, (u64, u64))>> {
        self.told().bounds.take()
    }

    /// Tells of a failure, and not all the time.
    pub(super) fn say(&self, error: &KafkaError, reason: &str) {
        self.voice.say(error, reason);
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_more(&self) {
        self.count.fetch_add(1, SeqCst);
    }
}

impl ClientContext for MemberContext {
    // A poll that finds a line of the library's log returns nothing, though more may wait behind it.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.one_more();
        DefaultClientContext.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.one_more();
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let offset = |offset: i64| u64::try_from(offset).ok();
        let known = topic.partitions.values().filter_map(|lane| {
            let bounds = (offset(lane.lo_offset).unwrap_or(0), offset(lane.hi_offset)?);
            Some((lane.partition, bounds))
        });
        self.told().bounds = Some(known.collect());
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.one_more();
        self.voice.say(&error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        lanes: &mut TopicPartitionList,
    ) {
        self.one_more();
        let change = |lanes: &TopicPartitionList| {
            let numbers = lanes
                .elements()
                .iter()
                .map(|lane| lane.partition())
                .collect();
            match what {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assign(numbers),
                _ => Change::Revoke(numbers),
            }
        };
        if !self.leaving.load(SeqCst) {
            self.told().changes.push_back(change(lanes));
            return;
        }
        let answered = match change(lanes) {
            Change::Assign(_) => consumer.incremental_assign(lanes),
            Change::Revoke(_) => consumer.incremental_unassign(lanes),
        };
        if let Err(error) = answered {
            tracing::debug!(topic = self.topic, %error, "a change of the assignment could not be answered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_library_s_log_is_something_told() {
        let context = MemberContext::new("topic");
        let before = context.count();
        context.log(RDKafkaLogLevel::Debug, "FACILITY", "a line");
        assert_ne!(context.count(), before, "whoever polls would stop");
    }
}
