//! Topics of events between services, and the groups that handle them.
//!
//! [`EventBus`] is a port. [`EmbeddedEventBus`] keeps topics in files of this process; a cluster
//! keeps them in Kafka, by the `KafkaEventBus` of the feature `cluster`. Every adapter passes the suite in [`contract`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Refusal;

mod burying;
#[doc(hidden)]
pub mod contract;
mod cursor_file;
mod dead_letter;
mod delivery;
mod embedded_event_bus;
mod embedded_following;
mod following;
mod frontier;
mod group;
#[cfg(feature = "cluster")]
mod kafka_event_bus;
mod own_topic;
mod subscription;
mod topic;
mod view;

#[doc(hidden)]
pub use cursor_file::judge_cursor;
pub use dead_letter::{DeadLetter, NotADeadLetter};
pub use embedded_event_bus::{EmbeddedBusOptions, EmbeddedEventBus, TopicOptions};
pub use following::{Ends, Follower, Following};
pub use frontier::Frontier;
#[cfg(feature = "cluster")]
pub use kafka_event_bus::{KafkaBusOptions, KafkaEventBus, NoKafkaClient};
pub use subscription::Subscription;
pub use view::{TopicView, ViewError, ViewRead};

/// The topic that gets what handlers of `topic` reject, as [`DeadLetter`]s.
pub fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}.dlq")
}

/// Topics, and groups that handle each record of a topic.
///
/// A topic exists by being used; in Kafka it is made before, by `flare topics create`, and the use of one that is missing fails and makes nothing.
/// Its name, and that of a group, is 1 to 128 characters of
/// `[a-z0-9._-]`, the first a letter or digit. What an implementation owes:
///
/// - **Durable.** When [`publish`](Self::publish) returns `Ok`, the record survives the loss of power,
///   unless the topic is configured to be synced lazily: then it survives the end of the process.
/// - **Every group gets every record** published after the group first subscribed, and those before
///   that are still kept, unaltered.
/// - **Order per key.** Records of one key reach a group's handler in the order of their publishing,
///   and the later one not before the earlier one is handled. A batch counts as published in its order.
/// - **At least once.** A record whose handling was not reported comes again, after a crash too, and
///   with it records after it that were handled already. None is passed over.
/// - **Flushed.** A group's position that survives a crash never exceeds what its handlers have handled and then
///   [flushed](BatchHandler::flush): what was not flushed comes again after a crash, and to the next subscription.
/// - **Kept position.** What a group has handled does not come again after an orderly end.
/// - **Retry** brings the same batch again, after a growing pause, for as long as the handler says so.
///   A handler that panics has said so.
/// - **Reject** puts the record named into [`dead_letter_topic`], durably; those before it count as
///   handled, those after it come again.
/// - **Shared.** Subscriptions of one group share its records: each goes to one of them.
/// - **Told.** [`BatchHandler::reassigned`] is called before a handler's first batch, and again whenever other
///   members of its group may have been given records that would have come to it, before its next batch.
/// - **Stopped.** When [`Subscription::shutdown`] has returned, its handler is not called again.
/// - **Ascending.** The positions of a key's records, in a batch and from batch to batch, ascend, unless a batch comes
///   again. They need not be dense.
/// - **Released.** [`lowest_cursor`](Self::lowest_cursor) never exceeds the position of a record that
///   some group may still be given, and follows when all groups have handled theirs.
/// - **Caught up.** When [`caught_up`](Self::caught_up) returns, the group has handled every record that was
///   published before the call, and every one that any group's handler had been given by then.
/// - **Followed.** A follower is given every record that is published after he began, of those before it at most `behind`, the latest, and
///   again those of another only where he is told that he begins anew. He is in no group: none misses what he is given, and nothing is kept
///   for him. [`Following::caught_up`] returns when he has taken every record that was published before the call.
/// - **Names are checked**, and nothing is made for a bad one.
/// - **Views.** A topic given to [`register_view`](Self::register_view) is delivered like any other, and
///   takes no records.
///
/// Each is a test in [`contract`].
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Publishes one record.
    ///
    /// # Errors
    /// [`PublishError`]. Only [`PublishError::Unknown`] leaves open whether it was published.
    async fn publish(&self, topic: &str, key: Bytes, payload: Bytes) -> Result<(), PublishError> {
        self.publish_batch(topic, vec![(key, payload)]).await
    }

    /// Publishes records, as keys and payloads, in their order. Of a batch that fails with
    /// [`PublishError::Unknown`], any number of the first ones of each key may be published; to keep the
    /// order, publish it again before what comes later.
    ///
    /// # Errors
    /// [`PublishError`].
    async fn publish_batch(
        &self,
        topic: &str,
        records: Vec<(Bytes, Bytes)>,
    ) -> Result<(), PublishError>;

    /// Has `handler` handle the records of `topic` as a member of `group`, until the subscription
    /// is dropped or shut down. A group that is new begins with the oldest record kept.
    ///
    /// # Errors
    /// [`SubscribeError`].
    async fn subscribe(
        &self,
        topic: &str,
        group: &str,
        handler: Arc<dyn BatchHandler>,
    ) -> Result<Subscription, SubscribeError>;

    /// Has `follower` take the records of `topic`, beside all groups, until what is returned is dropped or shut down. He begins at most `behind` records
    /// before the end, as far as these are kept.
    ///
    /// # Errors
    /// [`SubscribeError`].
    async fn follow(
        &self,
        topic: &str,
        behind: u64,
        follower: Arc<dyn Follower>,
    ) -> Result<Following, SubscribeError>;

    /// Offers `view` as the content of `topic`, in place of publishing there. An adapter that keeps
    /// its own copy answers [`RegisterError::Unsupported`]: then the records are to be published.
    ///
    /// # Errors
    /// [`RegisterError`].
    async fn register_view(
        &self,
        topic: &str,
        view: Arc<dyn TopicView>,
    ) -> Result<(), RegisterError>;

    /// The lowest position from which a group would go on after a crash at this moment: what lies
    /// below has been handled by all groups. None if the topic has no group, or the adapter keeps
    /// its own copy and trims it itself.
    ///
    /// # Errors
    /// [`SubscribeError::BadName`], [`SubscribeError::Failed`].
    async fn lowest_cursor(&self, topic: &str) -> Result<Option<u64>, SubscribeError>;

    /// Waits until a group has handled what is in the topic now; what is published meanwhile is not
    /// waited for. Bound it by a time: a handler may be stuck.
    ///
    /// # Errors
    /// [`SubscribeError`]; [`SubscribeError::Failed`] also if the group never subscribed.
    async fn caught_up(&self, topic: &str, group: &str) -> Result<(), SubscribeError>;
}

/// A record of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusRecord {
    /// What its order is kept for.
    pub key: Bytes,
    /// Its content.
    pub payload: Bytes,
    /// Where it is in the topic. Ascending for a key, not necessarily dense; means nothing elsewhere. Its upper 16 bits name the lane that the record shares with
    /// others, all in one order; a [`Frontier`] tells whether it lies before that.
    pub position: u64,
}

/// Handles the records of a topic for a group.
#[async_trait]
pub trait BatchHandler: Send + Sync + 'static {
    /// Handles a batch, which is never empty. Has to be idempotent: a batch comes again after
    /// [`Handled::Retry`], and may after a crash.
    async fn handle(&self, batch: &[BusRecord]) -> Handled;

    /// Returns when what it holds in memory of the batches that it had handled before the call survives a crash. Called now and
    /// then, before the group's position is kept, and when the subscription ends; it may handle another batch meanwhile. So a
    /// handler may write what many batches bring at once. One that leaves nothing unwritten has nothing to do here.
    ///
    /// # Errors
    /// It does not survive a crash yet: the group's position stays where it is, and this is called again.
    async fn flush(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// Which records come to this handler has changed: from here on, or for a while until now, others of
    /// its group are given some. What it remembers of earlier records may miss what theirs said. Never
    /// called while it handles a batch.
    async fn reassigned(&self) {}
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// All of it is handled.
    Ok,
    /// It is to come again, all of it, after a pause.
    Retry,
    /// One record cannot be handled, ever. Those before it are handled, it goes to the topic's
    /// dead letters, those after it are to come again.
    Reject {
        /// Which record of the batch. One that the batch does not have means [`Handled::Retry`].
        index: usize,
        /// Why, for whoever reads the dead letters.
        reason: String,
    },
}

/// Why a record was not, or may not have been, published.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// It may be published, or not.
    #[error("publish to {topic}: outcome unknown: {reason}")]
    Unknown {
        /// The topic.
        topic: String,
        /// What happened.
        reason: String,
    },
    /// There is too little room. Nothing was published; try again later.
    #[error("publish to {topic}: no room, try again in {retry_after_ms} ms")]
    NoRoom {
        /// The topic.
        topic: String,
        /// When trying again is worth it, in milliseconds.
        retry_after_ms: u64,
    },
    /// Key and payload together are too large. Nothing was published.
    #[error("publish to {topic}: record of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Key, payload and what the bus adds, in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The topic is a view of something else and takes no records.
    #[error("publish to {0}: the topic is a view")]
    View(String),
    /// The name is not one of a topic.
    #[error("publish to {0:?}: not a topic name")]
    BadName(String),
    /// The topic cannot be opened. Nothing was published.
    #[error("publish to {topic}: {reason}")]
    Failed {
        /// The topic.
        topic: String,
        /// What happened.
        reason: String,
    },
    /// The bus is closed. Nothing was published.
    #[error("publish to {0}: the bus is closed")]
    Closed(String),
}

/// Why a group cannot subscribe.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubscribeError {
    /// Topic or group has a name that is none.
    #[error("{0:?} is not the name of a topic or group")]
    BadName(String),
    /// The topic, or the group's position in it, cannot be read or is damaged; names the file.
    #[error("topic {topic}: {reason}")]
    Failed {
        /// The topic.
        topic: String,
        /// What happened.
        reason: String,
    },
    /// The bus is closed.
    #[error("topic {0}: the bus is closed")]
    Closed(String),
}

/// Why a view was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegisterError {
    /// This adapter has no views: publish the records.
    #[error("topic {0}: this event bus has no views")]
    Unsupported(String),
    /// The topic has records of its own, or a view already.
    #[error("topic {0}: it has content already")]
    Taken(String),
    /// The name is not one of a topic.
    #[error("{0:?} is not a topic name")]
    BadName(String),
    /// The groups' positions cannot be read; names the file.
    #[error("topic {topic}: {reason}")]
    Failed {
        /// The topic.
        topic: String,
        /// What happened.
        reason: String,
    },
}

impl fmt::Debug for dyn EventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventBus")
    }
}

/// Whether this may be the name of a topic or group; it is then safe as a file name.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=128).contains(&name.len())
        && name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|byte| plain(byte) || b"._-".contains(&byte))
}
