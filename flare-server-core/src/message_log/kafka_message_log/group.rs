//! This process as a member of a group: which partitions it should work on.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use rdkafka::{
    ClientConfig, ClientContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance},
    error::{KafkaError, KafkaResult},
};
use tokio::sync::watch;

use super::{TOPIC, client::complained};
use crate::kafka::{KafkaConfig, goodbye::say_goodbye};

/// A member that is not polled loses its partitions; also how soon it notices that nobody asks any more.
const POLL: Duration = Duration::from_millis(50);
/// A member that dies is missed after this.
const SESSION_MS: u32 = 10_000;
const HEARTBEAT_MS: u32 = 500;

/// A membership, kept up by a thread until nobody listens. Dropped, it is left first.
pub(super) struct Group {
    member: Arc<Member>,
    thread: Option<JoinHandle<()>>,
}

struct Member {
    name: String,
    topic: String,
    assigned: watch::Sender<Vec<u32>>,
    /// Nobody may listen any more: the thread ends.
    ending: Mutex<bool>,
    stop: AtomicBool,
}

impl Group {
    /// Begins to take part.
    pub(super) fn join(kafka: &KafkaConfig, name: &str) -> (Self, watch::Receiver<Vec<u32>>) {
        let mut config = kafka.client();
        config
            .set("group.id", kafka.named(name))
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_MS.to_string())
            .set("heartbeat.interval.ms", HEARTBEAT_MS.to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Nothing is read, and nothing was ever committed.
            .set("auto.offset.reset", "latest");
        let member = Arc::new(Member {
            name: name.to_owned(),
            topic: kafka.named(TOPIC),
            assigned: watch::Sender::default(),
            ending: Mutex::new(false),
            stop: AtomicBool::new(false),
        });
        let receiver = member.assigned.subscribe();
        let thread = thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn({
                let member = Arc::clone(&member);
                move || member.take_part(&config)
            });
        let thread = thread.map_err(|error| {
            tracing::error!(group = name, %error, "no thread for a group: nothing is assigned");
        });
        let thread = thread.ok();
        (Self { member, thread }, receiver)
    }

    /// Another who listens; None: the membership is at its end.
    pub(super) fn subscribe(&self) -> Option<watch::Receiver<Vec<u32>>> {
        let ending = self
            .member
            .ending
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (!*ending).then(|| self.member.assigned.subscribe())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.member.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(group = self.member.name, "a group's thread has panicked");
        }
    }
}

impl Member {
    fn take_part(self: &Arc<Self>, config: &ClientConfig) {
        let mut pauses = pauses();
        while !self.is_at_end() {
            match self.consumer(config) {
                Ok(consumer) => {
                    while !self.is_at_end() {
                        // Paused, it has no messages; what is wrong comes to the context.
                        drop(consumer.poll(POLL));
                    }
                    // Whoever is left gets the partitions at once.
                    say_goodbye(&consumer);
                    drop(consumer);
                }
                Err(error) => {
                    complained("group", &error, &self.name);
                    thread::park_timeout(pauses.next().unwrap_or(POLL));
                }
            }
        }
        self.assign(Vec::new());
    }

    fn consumer(self: &Arc<Self>, config: &ClientConfig) -> KafkaResult<BaseConsumer<Assigned>> {
        let consumer: BaseConsumer<Assigned> =
            config.create_with_context(Assigned(Arc::clone(self)))?;
        consumer.subscribe(&[&self.topic])?;
        Ok(consumer)
    }

    fn is_at_end(&self) -> bool {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        *ending |= self.stop.load(Ordering::Relaxed) || self.assigned.receiver_count() == 0;
        *ending
    }

    fn assign(&self, mut partitions: Vec<u32>) {
        partitions.sort_unstable();
        let group = self.name.clone();
        metrics::gauge!("flare_message_log_assigned_partitions", "group" => group)
            .set(partitions.len() as f64);
        self.assigned.send_if_modified(|assigned| {
            let is_new = *assigned != partitions;
            if is_new {
                tracing::info!(group = self.name, ?partitions, "partitions assigned");
                *assigned = partitions;
            }
            is_new
        });
    }
}

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(POLL)
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .build()
}

/// Told by the poll of the group's thread.
struct Assigned(Arc<Member>);

impl ClientContext for Assigned {
    fn error(&self, error: KafkaError, reason: &str) {
        complained("group", &error, reason);
    }
}

impl ConsumerContext for Assigned {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance
            && let Err(error) = consumer.pause(partitions)
        {
            complained("group", &error, "partitions are not paused");
        }
        match consumer.assignment() {
            Ok(all) => {
                let numbers = all.elements().into_iter().map(|it| it.partition());
                self.0
                    .assign(numbers.filter_map(|it| u32::try_from(it).ok()).collect());
            }
            Err(error) => complained("group", &error, "the assignment cannot be read"),
        }
    }
}
