use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use backon::ExponentialBuilder;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::delivery::Delivery;
use self::lane::Topic;
use self::local::{Local, Progress};
use self::observer::Observer;
use self::publisher::{Lookup, Publisher};
use super::delivery::default_retry;
use super::{
    BatchHandler, EventBus, Follower, Following, PublishError, RegisterError, SubscribeError,
    Subscription, TopicView, dead_letter_topic, is_name,
};
use crate::kafka::{KafkaConfig, MESSAGE_TIMEOUT_MS};

mod delivery;
mod following;
mod fresh;
mod handing;
mod in_hand;
mod keeping;
mod lane;
mod link;
mod local;
mod member;
mod member_context;
mod membership;
mod observer;
mod positions;
mod publisher;
mod report;
mod shown;

/// So long Kafka may take to say whether there is a topic.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);
/// The group that the library asks for where there is none. Nobody joins it.
const FOLLOWERS: &str = "followers";
/// How often is looked how far a member in another process is.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a [`KafkaEventBus`] behaves.
#[derive(Debug, Clone)]
pub struct KafkaBusOptions {
    /// Records handed to a handler at most at once.
    pub batch_records: usize,
    /// A group's position is flushed and kept so often: what was handled since comes again after a crash. Whoever waits for a group that has members in other
    /// processes waits for it as well.
    pub keep_every: Duration,
    /// The pauses before a batch comes again.
    pub retry: ExponentialBuilder,
}

impl Default for KafkaBusOptions {
    fn default() -> Self {
        Self {
            batch_records: 4_096,
            keep_every: Duration::from_millis(250),
            retry: default_retry(),
        }
    }
}

/// A client of Kafka cannot be made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a client of Kafka cannot be made: {0}")]
pub struct NoKafkaClient(String);

/// An [`EventBus`] in Kafka.
///
/// A topic is made before it is used, with its dead letters; its number of partitions, here called lanes, is fixed for its life. A record goes through the lane
/// of its key. A group of the bus is a consumer group of its own for each topic: its subscriptions share the lanes, each has one batch in hand at a time, of all its
/// lanes. A follower has a consumer of its own, which is in no group and keeps nothing.
///
/// Another subscription takes over within a second of an orderly end, and within ten of a crash. Positions are offsets that
/// its handlers have flushed. A record's position here is its lane (upper 16 bits) and its offset there (lower 48).
///
/// A subscription stays in its group while its handler takes its time, or has batches come again. Lanes that are to go to another wait up to five seconds
/// for the batch in hand.
///
/// Who publishes in order, and is told [`PublishError::Unknown`], publishes again from there: then the first time that each record comes is in order.
pub struct KafkaEventBus {
    shared: Arc<Shared>,
}

/// What subscriptions share with the bus.
struct Shared {
    config: KafkaConfig,
    options: KafkaBusOptions,
    publisher: Arc<Publisher>,
    /// Those that are known to exist.
    topics: RwLock<HashMap<String, Arc<Topic>>>,
    local: Local,
    observers: Mutex<HashMap<(String, String), Arc<Observer>>>,
    runtime: Handle,
    stop: CancellationToken,
    deliveries: TaskTracker,
}

impl KafkaEventBus {
    /// Makes a bus on the runtime that it is called in. Kafka is looked for from here on, and need not be there yet.
    ///
    /// # Errors
    /// [`NoKafkaClient`].
    pub fn open(config: &KafkaConfig, options: KafkaBusOptions) -> Result<Self, NoKafkaClient> {
        let publisher = Publisher::new(config.client());
        let publisher = publisher.map_err(|error| NoKafkaClient(error.to_string()))?;
        let shared = Shared {
            config: config.clone(),
            options,
            publisher: Arc::new(publisher),
            topics: RwLock::default(),
            local: Local::default(),
            observers: Mutex::default(),
            runtime: Handle::current(),
            stop: CancellationToken::new(),
            deliveries: TaskTracker::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Ends all subscriptions as [`Subscription::shutdown`] does, and waits until what is being published is, or is overdue.
    pub async fn close(&self) {
        let shared = &self.shared;
        shared.stop.cancel();
        shared.deliveries.close();
        shared.deliveries.wait().await;
        shared.publisher.close().await;
        let observers = std::mem::take(
            &mut *shared
                .observers
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        // Their end blocks.
        drop(shared.runtime.spawn_blocking(move || drop(observers)).await);
    }
}

impl Drop for KafkaEventBus {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

#[async_trait]
impl EventBus for KafkaEventBus {
    async fn publish_batch(
        &self,
        topic: &str,
        records: Vec<(Bytes, Bytes)>,
    ) -> Result<(), PublishError> {
        self.shared.publish(topic, records).await
    }

    async fn subscribe(
        &self,
        topic: &str,
        group: &str,
        handler: Arc<dyn BatchHandler>,
    ) -> Result<Subscription, SubscribeError> {
        let shared = &self.shared;
        if !is_name(group) {
            return Err(SubscribeError::BadName(group.to_owned()));
        }
        let found = shared.topic(topic).await?;
        if !topic.ends_with(".dlq") {
            // Rather here than with a record that cannot be put away.
            shared.topic(&dead_letter_topic(topic)).await?;
        }
        let stop = shared.stop.child_token();
        let delivery = Delivery {
            bus: shared.clone(),
            topic: found,
            group: group.to_owned(),
            handler,
            stop: stop.clone(),
        };
        let link = delivery
            .join()
            .map_err(|error| failed(topic, error.to_string()))?;
        let task = shared
            .deliveries
            .spawn_on(delivery.run(link), &shared.runtime);
        Ok(Subscription::new(stop, task))
    }

    async fn follow(
        &self,
        topic: &str,
        behind: u64,
        follower: Arc<dyn Follower>,
    ) -> Result<Following, SubscribeError> {
        let shared = &self.shared;
        let found = shared.topic(topic).await?;
        let observer = shared.observer(&found, FOLLOWERS);
        let observer = observer.map_err(|reason| failed(topic, reason))?;
        let stop = shared.stop.child_token();
        let (ended, reached) = following::begin(
            shared.config.client(),
            group_name(&shared.config, topic, FOLLOWERS),
            found,
            behind,
            follower,
            stop.clone(),
        )
        .map_err(|error| failed(topic, error.to_string()))?;
        let ended = shared.deliveries.spawn_on(
            // An error means the same: the thread is over.
            async move { drop(ended.await) },
            &shared.runtime,
        );
        let subscription = Subscription::new(stop, ended);
        Ok(Following::new(subscription, topic, observer, reached))
    }

    async fn register_view(
        &self,
        topic: &str,
        _view: Arc<dyn TopicView>,
    ) -> Result<(), RegisterError> {
        if !is_name(topic) {
            return Err(RegisterError::BadName(topic.to_owned()));
        }
        Err(RegisterError::Unsupported(topic.to_owned()))
    }

    async fn lowest_cursor(&self, topic: &str) -> Result<Option<u64>, SubscribeError> {
        if !is_name(topic) {
            return Err(SubscribeError::BadName(topic.to_owned()));
        }
        // Kafka has a copy of its own, and trims it by the topic's retention.
        Ok(None)
    }

    async fn caught_up(&self, topic: &str, group: &str) -> Result<(), SubscribeError> {
        if !is_name(group) {
            return Err(SubscribeError::BadName(group.to_owned()));
        }
        let found = self.shared.topic(topic).await?;
        let caught_up = self.shared.caught_up(found, group);
        let caught_up = self.shared.stop.run_until_cancelled(caught_up).await;
        let outcome = caught_up.ok_or_else(|| SubscribeError::Closed(topic.to_owned()))?;
        outcome.map_err(|reason| failed(topic, reason))
    }
}

impl Shared {
    async fn publish(&self, topic: &str, records: Vec<(Bytes, Bytes)>) -> Result<(), PublishError> {
        let deadline = Instant::now() + Duration::from_millis(MESSAGE_TIMEOUT_MS.into());
        let found = self.topic(topic).await.map_err(|error| match error {
            SubscribeError::BadName(name) => PublishError::BadName(name),
            SubscribeError::Closed(topic) => PublishError::Closed(topic),
            SubscribeError::Failed { topic, reason } => PublishError::Failed { topic, reason },
        })?;
        if records.is_empty() {
            return Ok(());
        }
        self.publisher.publish(&found, &records, deadline).await
    }

    /// The topic of this name, which exists.
    async fn topic(&self, name: &str) -> Result<Arc<Topic>, SubscribeError> {
        if self.stop.is_cancelled() {
            return Err(SubscribeError::Closed(name.to_owned()));
        }
        let known = |topics: &HashMap<String, Arc<Topic>>| topics.get(name).cloned();
        if let Some(topic) = known(&self.topics.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(topic);
        }
        if !is_name(name) {
            return Err(SubscribeError::BadName(name.to_owned()));
        }
        let kafka_name = self.config.named(name);
        let (publisher, asked) = (self.publisher.clone(), kafka_name.clone());
        let lanes = self
            .runtime
            .spawn_blocking(move || publisher.lanes_of(&asked, LOOKUP_PATIENCE));
        let lanes = lanes
            .await
            .unwrap_or_else(|error| Err(Lookup::Failed(error.to_string())));
        let lanes = lanes.map_err(|why| match why {
            Lookup::Missing => failed(
                name,
                format!("Kafka has no topic {kafka_name}: `flare topics create` makes it"),
            ),
            Lookup::Failed(reason) => failed(name, reason),
        })?;
        let topic = Arc::new(Topic {
            name: name.to_owned(),
            kafka_name,
            lanes,
        });
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        Ok(topics.entry(name.to_owned()).or_insert(topic).clone())
    }

    /// Members in this process say how far they are; of others is known what they have kept, which they have handled and flushed.
    async fn caught_up(&self, topic: Arc<Topic>, group: &str) -> Result<(), String> {
        let observer = self.observer(&topic, group)?;
        let (begins, mut ends) = observer.bounds().await?;
        let local = self.local.group(&topic.name, group);
        let mut moves = local.moves();
        if local.is_empty() && observer.kept().await?.is_empty() && !observer.has_members().await? {
            return Err(format!("no group {group} ever subscribed"));
        }
        ends.retain(|lane, end| *end > begins.get(lane).copied().unwrap_or(0));
        loop {
            let here = local.progress();
            let is_handled = |lane: &i32, end: &u64| matches!(here.get(lane), Some(Some(handled)) if handled >= end);
            ends.retain(|lane, end| !is_handled(lane, end));
            if !is_all_here(&ends, &here) {
                let kept = observer.kept().await?;
                ends.retain(|lane, end| kept.get(lane).is_none_or(|kept| kept < end));
            }
            if ends.is_empty() {
                return Ok(());
            }
            let moved = moves.changed();
            if is_all_here(&ends, &here) {
                // The sender lives as long as `local`.
                drop(moved.await);
            } else {
                drop(tokio::time::timeout(LOOK_EVERY, moved).await);
            }
        }
    }

    fn observer(&self, topic: &Arc<Topic>, group: &str) -> Result<Arc<Observer>, String> {
        let mut observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let name = (topic.name.clone(), group.to_owned());
        if let Some(observer) = observers.get(&name) {
            return Ok(observer.clone());
        }
        let kafka_group = group_name(&self.config, &topic.name, group);
        let observer = Observer::new(
            self.config.client(),
            topic.clone(),
            kafka_group,
            self.runtime.clone(),
        );
        let observer = Arc::new(observer.map_err(|error| error.to_string())?);
        observers.insert(name, observer.clone());
        Ok(observer)
    }
}

/// Whether all these lanes come to members in this process.
fn is_all_here(ends: &observer::Offsets, here: &Progress) -> bool {
    ends.keys().all(|lane| here.contains_key(lane))
}

/// The name of a topic's group as Kafka knows it.
fn group_name(config: &KafkaConfig, topic: &str, group: &str) -> String {
    config.named(&format!("{topic}:{group}"))
}

fn failed(topic: &str, reason: String) -> SubscribeError {
    SubscribeError::Failed {
        topic: topic.to_owned(),
        reason,
    }
}
