//! A consumer that is in no group, with a place for one reader of each partition.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{consumer::BaseConsumer, error::KafkaResult};
use tokio::sync::watch;

use super::{TOPIC, client::Watched, slot::Slot};
use crate::kafka::KafkaConfig;

/// Errors of a consumer that are looked at together.
const EVENTS: usize = 1_000;

/// What a lane is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be told of what comes: the broker keeps a fetch until there is something.
    Follow,
    /// To read what is there: the broker answers at once.
    Scan,
}

impl Purpose {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Scan => "scan",
        }
    }

    /// How long the broker keeps a fetch that finds nothing; who comes in between waits as long.
    fn fetch_wait_ms(self) -> &'static str {
        match self {
            Self::Follow => "100",
            Self::Scan => "5",
        }
    }

    /// A place that was left alone for so long is given up.
    fn idle_limit(self) -> Duration {
        match self {
            Self::Follow => Duration::from_secs(30),
            Self::Scan => Duration::from_secs(2),
        }
    }
}

pub(super) struct Lane {
    purpose: Purpose,
    topic: Arc<str>,
    slots: Mutex<HashMap<u32, Arc<Slot>>>,
    /// After the slots, which have queues of it.
    consumer: Arc<BaseConsumer<Watched>>,
}

impl Lane {
    pub(super) fn open(kafka: &KafkaConfig, purpose: Purpose) -> KafkaResult<Self> {
        let consumer: BaseConsumer<Watched> = kafka
            .client()
            // Which no consumer joins: librdkafka assigns nothing without a name.
            .set("group.id", kafka.named("flare-message-log-readers"))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_uncommitted")
            .set("check.crcs", "true")
            .set("socket.timeout.ms", "3000")
            .set("fetch.wait.max.ms", purpose.fetch_wait_ms())
            .set("fetch.min.bytes", "1")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.error.backoff.ms", "50")
            .set("fetch.message.max.bytes", "1048576")
            .set("fetch.max.bytes", "4194304")
            // Of each partition that has a queue of its own.
            .set("queued.max.messages.kbytes", "1024")
            .create_with_context(Watched { client: "reader" })?;
        Ok(Self {
            purpose,
            topic: kafka.named(TOPIC).into(),
            slots: Mutex::default(),
            consumer: Arc::new(consumer),
        })
    }

    /// The partition's place, if it ever had one here.
    pub(super) fn existing(&self, partition: u32) -> Option<Arc<Slot>> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(&partition).cloned()
    }

    /// The partition's place.
    pub(super) fn slot(&self, partition: u32, end: &watch::Sender<u64>) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(partition).or_insert_with(|| {
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            Arc::new(Slot::new(
                Arc::clone(&self.consumer),
                Arc::clone(&self.topic),
                number,
                end.clone(),
            ))
        });
        Arc::clone(slot)
    }

    /// Has the consumer say what is wrong, and gives up places that nobody uses. Blocks for some milliseconds.
    pub(super) fn keep(&self) {
        for _ in 0..EVENTS {
            // What is wrong comes to the context; records come to the slots.
            if self.consumer.poll(Duration::ZERO).is_none() {
                break;
            }
        }
        let slots: Vec<_> = {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.values().cloned().collect()
        };
        for slot in slots {
            slot.reap(self.purpose.idle_limit());
        }
    }
}
