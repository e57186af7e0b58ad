use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use backon::ExponentialBuilder;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::delivery::{Delivery, default_retry};
use super::embedded_following::{Follow, beginning};
use super::topic::Topic;
use super::{
    BatchHandler, EventBus, Follower, Following, PublishError, RegisterError, SubscribeError,
    Subscription, TopicView, is_name,
};
use crate::log_file::{
    AsyncLogOptions, Durability, FileLayer, FolderLock, LockFailure, LogError, LogOptions,
    Retention,
};

/// How long a topic's records are kept, and how safely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicOptions {
    /// Whether a publish waits for the disk.
    pub durability: Durability,
    /// What is removed although some group has not handled it, or there is no group. What all
    /// groups have handled goes anyway.
    pub retention: Retention,
}

impl Default for TopicOptions {
    /// Synced; seven days, at most 1 GiB.
    fn default() -> Self {
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        let retention = Retention {
            max_age: Some(week),
            max_bytes: Some(1 << 30),
            // Nothing else has a topic's records: its bound is its bound.
            only_stored: false,
        };
        Self {
            durability: Durability::Synced,
            retention,
        }
    }
}

/// How an [`EmbeddedEventBus`] behaves.
#[derive(Debug, Clone)]
pub struct EmbeddedBusOptions {
    /// Topics that differ from `other_topics`.
    pub topics: BTreeMap<String, TopicOptions>,
    /// All other topics.
    pub other_topics: TopicOptions,
    /// Topics that are views. Groups may subscribe before the view is registered; they wait for it.
    pub views: BTreeSet<String>,
    /// The log of each topic; `durability` and `retention` in it are those of the topic.
    pub log: AsyncLogOptions,
    /// Records handed to a handler at most at once. A batch takes several turns of the scheduler, which are long
    /// where much is to be done: who is behind catches up by larger batches.
    pub batch_records: usize,
    /// A group's position is kept on disk so often: what was handled since comes again after a
    /// crash.
    pub keep_cursor_every: Duration,
    /// The pauses before a batch comes again.
    pub retry: ExponentialBuilder,
}

impl Default for EmbeddedBusOptions {
    fn default() -> Self {
        let log = LogOptions {
            segment_bytes: 8 << 20,
            ..LogOptions::default()
        };
        Self {
            topics: BTreeMap::new(),
            other_topics: TopicOptions::default(),
            views: BTreeSet::new(),
            log: AsyncLogOptions {
                log,
                tail_bytes: 4 << 20,
                ..AsyncLogOptions::default()
            },
            batch_records: 4_096,
            keep_cursor_every: Duration::from_secs(1),
            retry: default_retry(),
        }
    }
}

/// An [`EventBus`] in files of this process: one folder per topic, with a
/// [log](crate::log_file) and a file `<group>.cursor` per group.
///
/// Of the subscriptions of one group, one at a time is given records; another takes over when it
/// ends. Segments of a topic go when all its groups have passed them, or by retention.
/// Dropping it ends all subscriptions; [`close`](Self::close) does so in order.
pub struct EmbeddedEventBus {
    bus: Arc<Bus>,
}

/// What subscriptions share with the bus.
pub(super) struct Bus {
    pub(super) options: EmbeddedBusOptions,
    layer: Arc<dyn FileLayer>,
    folder: PathBuf,
    topics: RwLock<HashMap<String, Arc<Topic>>>,
    /// Held while a topic is opened, so that each is opened once.
    opening: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    deliveries: TaskTracker,
    lock: Mutex<Option<FolderLock>>,
}

/// What a topic that does not exist yet is going to be.
#[derive(Clone, Copy)]
enum Kind {
    AsConfigured,
    View,
}

impl EmbeddedEventBus {
    /// Opens the bus in `folder`, making it if there is none. Topics are opened when they are used.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`LogError::Locked`] if it is in use, [`LogError::Io`].
    pub fn open(
        layer: Arc<dyn FileLayer>,
        folder: &Path,
        options: EmbeddedBusOptions,
    ) -> Result<Self, LogError> {
        layer
            .create_folder(folder)
            .map_err(|error| LogError::io("create", folder, error))?;
        let lock = layer
            .lock(&folder.join("lock"))
            .map_err(|failure| match failure {
                LockFailure::Held(pid) => LogError::Locked {
                    folder: folder.to_path_buf(),
                    pid,
                },
                LockFailure::Io(error) => LogError::io("lock", folder, error),
            })?;
        let bus = Bus {
            options,
            layer,
            folder: folder.to_path_buf(),
            topics: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
            deliveries: TaskTracker::new(),
            lock: Mutex::new(Some(lock)),
        };
        Ok(Self { bus: Arc::new(bus) })
    }

    /// Ends all subscriptions as [`Subscription::shutdown`] does, writes and syncs what waits, and
    /// releases the folder.
    pub async fn close(&self) {
        self.bus.stop.cancel();
        self.bus.deliveries.close();
        self.bus.deliveries.wait().await;
        let _opening = self.bus.opening.lock().await;
        let bus = self.bus.clone();
        let close = move || {
            for topic in bus
                .topics
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .values()
            {
                if let Some(own) = topic.own() {
                    own.log().close();
                }
            }
            drop(
                bus.lock
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(),
            );
        };
        drop(tokio::task::spawn_blocking(close).await);
    }

    /// Forgets a group that will not come back and has no subscription: it no longer holds
    /// records, and if it subscribes again, it begins anew.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn forget_group(&self, topic: &str, group: &str) -> Result<(), SubscribeError> {
        let opened = self.bus.topic(topic, Kind::AsConfigured).await?;
        opened.forget(group).map_err(|error| failed(topic, &error))
    }
}

impl Drop for EmbeddedEventBus {
    fn drop(&mut self) {
        self.bus.stop.cancel();
    }
}

#[async_trait]
impl EventBus for EmbeddedEventBus {
    async fn publish_batch(
        &self,
        topic: &str,
        records: Vec<(Bytes, Bytes)>,
    ) -> Result<(), PublishError> {
        self.bus.publish(topic, records).await
    }

    async fn subscribe(
        &self,
        topic: &str,
        group: &str,
        handler: Arc<dyn BatchHandler>,
    ) -> Result<Subscription, SubscribeError> {
        if !is_name(group) {
            return Err(SubscribeError::BadName(group.to_owned()));
        }
        let opened = self.bus.topic(topic, Kind::AsConfigured).await?;
        let group = opened.group(group);
        // From here on it holds back what it has not handled, also if the process dies.
        group.keep().await.map_err(|error| failed(topic, &error))?;
        let stop = self.bus.stop.child_token();
        let delivery = Delivery {
            bus: self.bus.clone(),
            topic: opened,
            group,
            handler,
            stop: stop.clone(),
        };
        Ok(Subscription::new(
            stop,
            self.bus.deliveries.spawn(delivery.run()),
        ))
    }

    async fn follow(
        &self,
        topic: &str,
        behind: u64,
        follower: Arc<dyn Follower>,
    ) -> Result<Following, SubscribeError> {
        let opened = self.bus.topic(topic, Kind::AsConfigured).await?;
        let stop = self.bus.stop.child_token();
        let (reached, reaches) = watch::channel(None);
        let follow = Follow {
            bus: self.bus.clone(),
            topic: opened.clone(),
            // At once: he is given what is published from here on.
            begins: opened.present().map(|it| beginning(it.as_ref(), behind)),
            behind,
            follower,
            reached,
            stop: stop.clone(),
        };
        let task = self.bus.deliveries.spawn(follow.run());
        Ok(Following::new(
            Subscription::new(stop, task),
            topic,
            opened,
            reaches,
        ))
    }

    async fn register_view(
        &self,
        topic: &str,
        view: Arc<dyn TopicView>,
    ) -> Result<(), RegisterError> {
        let opened = self
            .bus
            .topic(topic, Kind::View)
            .await
            .map_err(|error| match error {
                SubscribeError::BadName(name) => RegisterError::BadName(name),
                other => RegisterError::Failed {
                    topic: topic.to_owned(),
                    reason: other.to_string(),
                },
            })?;
        if opened.set_view(view) {
            Ok(())
        } else {
            Err(RegisterError::Taken(topic.to_owned()))
        }
    }

    async fn lowest_cursor(&self, topic: &str) -> Result<Option<u64>, SubscribeError> {
        Ok(self
            .bus
            .topic(topic, Kind::AsConfigured)
            .await?
            .lowest_cursor())
    }

    async fn caught_up(&self, topic: &str, group: &str) -> Result<(), SubscribeError> {
        if !is_name(group) {
            return Err(SubscribeError::BadName(group.to_owned()));
        }
        let opened = self.bus.topic(topic, Kind::AsConfigured).await?;
        let known = opened
            .known_group(group)
            .ok_or_else(|| SubscribeError::Failed {
                topic: topic.to_owned(),
                reason: format!("no group {group} ever subscribed"),
            })?;
        let reached = async {
            let end = opened.content().await.end();
            known.reaches(end).await;
        };
        let reached = self.bus.stop.run_until_cancelled(reached).await;
        reached.ok_or_else(|| SubscribeError::Closed(topic.to_owned()))
    }
}

impl Bus {
    pub(super) async fn publish(
        &self,
        topic: &str,
        records: Vec<(Bytes, Bytes)>,
    ) -> Result<(), PublishError> {
        let opened = self
            .topic(topic, Kind::AsConfigured)
            .await
            .map_err(|error| match error {
                SubscribeError::BadName(name) => PublishError::BadName(name),
                SubscribeError::Closed(topic) => PublishError::Closed(topic),
                SubscribeError::Failed { topic, reason } => PublishError::Failed { topic, reason },
            })?;
        match opened.own() {
            Some(own) => own.publish(records).await,
            None => Err(PublishError::View(topic.to_owned())),
        }
    }

    /// The topic of this name, opened if it is not yet.
    async fn topic(&self, name: &str, kind: Kind) -> Result<Arc<Topic>, SubscribeError> {
        if let Some(topic) = self.opened(name) {
            return Ok(topic);
        }
        if !is_name(name) {
            return Err(SubscribeError::BadName(name.to_owned()));
        }
        let _opening = self.opening.lock().await;
        if self.stop.is_cancelled() {
            return Err(SubscribeError::Closed(name.to_owned()));
        }
        if let Some(topic) = self.opened(name) {
            return Ok(topic);
        }
        let (layer, folder, owned) = (self.layer.clone(), self.folder.join(name), name.to_owned());
        let is_view = matches!(kind, Kind::View) || self.options.views.contains(name);
        let log = self.log_options(name);
        let open = move || {
            if is_view {
                Topic::open_view(layer, &folder, &owned)
            } else {
                Topic::open_own(layer, &folder, &owned, log)
            }
        };
        let topic = tokio::task::spawn_blocking(open)
            .await
            .unwrap_or(Err(LogError::Closed));
        let topic = Arc::new(topic.map_err(|error| failed(name, &error))?);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.insert(name.to_owned(), topic.clone());
        Ok(topic)
    }

    fn opened(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    fn log_options(&self, name: &str) -> AsyncLogOptions {
        let topic = self
            .options
            .topics
            .get(name)
            .unwrap_or(&self.options.other_topics);
        let mut options = self.options.log.clone();
        options.log.durability = topic.durability;
        options.log.retention = topic.retention;
        options
    }
}

fn failed(topic: &str, error: &LogError) -> SubscribeError {
    SubscribeError::Failed {
        topic: topic.to_owned(),
        reason: error.to_string(),
    }
}
