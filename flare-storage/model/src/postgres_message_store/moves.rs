//! Who waits for a partition's cursor learns that it has moved: from this process at once, from others by a notification of PostgreSQL, or by looking.
//!
//! A notification is a hint and no more: it names partitions, whose cursors are then read. It is sent after the commit, in a transaction of its own:
//! within it, commits of all partitions would wait for each other, as PostgreSQL lets one transaction at a time end that notifies.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flare_server_core::postgres::Postgres;
use sqlx::postgres::{PgListener, PgNotification};
use tokio::{
    select,
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{statements, values::cursor_of};
use crate::message_store::{Cursor, StoreError};

/// Partitions that one notification names: it has room for 8,000 bytes.
const PARTITIONS_TOLD: usize = 500;

/// The moves of all partitions.
pub(super) struct Moves {
    postgres: Postgres,
    /// What notifications are sent under.
    channel: String,
    /// Of partitions that somebody waits for, or has: as far as this process knows.
    known: Mutex<HashMap<u32, watch::Sender<Cursor>>>,
    /// What other processes are to be told of. An unsent hint stands for all later ones of its partition.
    untold: Mutex<BTreeSet<u32>>,
    is_untold: Notify,
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Moves {
    pub(super) fn new(postgres: Postgres, channel: String) -> Self {
        Self {
            postgres,
            channel,
            known: Mutex::default(),
            untold: Mutex::default(),
            is_untold: Notify::new(),
        }
    }

    /// What becomes known of the partition from now on.
    pub(super) fn watch(&self, partition: u32) -> watch::Receiver<Cursor> {
        locked(&self.known)
            .entry(partition)
            .or_default()
            .subscribe()
    }

    /// Wakes who waits in this process.
    pub(super) fn moved(&self, partition: u32, cursor: Cursor) {
        if let Some(known) = locked(&self.known).get(&partition) {
            known.send_if_modified(|it| {
                let is_news = it.next_offset < cursor.next_offset;
                if is_news {
                    *it = cursor;
                }
                is_news
            });
        }
    }

    /// Lets other processes know, soon.
    pub(super) fn to_tell(&self, partition: u32) {
        locked(&self.untold).insert(partition);
        self.is_untold.notify_one();
    }

    /// Tells other processes, for ever.
    pub(super) async fn tell(self: Arc<Self>) {
        loop {
            self.is_untold.notified().await;
            self.tell_now().await;
        }
    }

    /// Tells other processes what they have not been told. Those who miss it look for themselves.
    pub(super) async fn tell_now(&self) {
        let untold: Vec<_> = std::mem::take(&mut *locked(&self.untold))
            .into_iter()
            .collect();
        for some in untold.chunks(PARTITIONS_TOLD) {
            let numbers: Vec<_> = some.iter().map(u32::to_string).collect();
            let told = sqlx::query(statements::TELL)
                .bind(&self.channel)
                .bind(numbers.join(" "))
                .execute(self.postgres.pool());
            if let Err(error) = self.postgres.within(told).await {
                tracing::debug!(%error, "other processes were not told of a commit");
            }
        }
    }

    /// Listens to other processes and looks every so often, until the connections are closed.
    pub(super) async fn listen(self: Arc<Self>, look_every: Duration) {
        let mut is_told = false;
        loop {
            let Err(error) = self.follow(look_every, &mut is_told).await;
            if error == StoreError::Closed {
                return;
            }
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(%error, "moves of the message store's cursors are not heard of; trying again");
            }
            sleep(look_every).await;
        }
    }

    /// Looks by the connection that listens: one that is dead is noticed so.
    async fn follow(
        &self,
        look_every: Duration,
        is_told: &mut bool,
    ) -> Result<Infallible, StoreError> {
        let within = &self.postgres;
        let mut listener = within
            .within(PgListener::connect_with(within.pool()))
            .await?;
        // What was told until it listens again would be missed: whoever connects again looks first.
        listener.eager_reconnect(false);
        within.within(listener.listen(&self.channel)).await?;
        let mut ticks = interval(look_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let partitions = select! {
                told = listener.try_recv() => match told? {
                    Some(told) => self.watched_of(&mut listener, &told),
                    None => return Err(StoreError::Unavailable("the connection was lost".to_owned())),
                },
                _ = ticks.tick() => self.watched(),
            };
            if partitions.is_empty() {
                continue;
            }
            self.look(&mut listener, &partitions).await?;
            *is_told = false;
        }
    }

    /// Partitions that somebody waits for.
    fn watched(&self) -> BTreeSet<u32> {
        let known = locked(&self.known);
        let watched = known.iter().filter(|(_, it)| it.receiver_count() > 0);
        watched.map(|(partition, _)| *partition).collect()
    }

    /// Those of them that this notification, or another one that has come, names.
    fn watched_of(&self, listener: &mut PgListener, told: &PgNotification) -> BTreeSet<u32> {
        let mut named = named(told);
        while let Some(told) = listener.next_buffered() {
            named.append(&mut self::named(&told));
        }
        named.intersection(&self.watched()).copied().collect()
    }

    async fn look(
        &self,
        listener: &mut PgListener,
        partitions: &BTreeSet<u32>,
    ) -> Result<(), StoreError> {
        let partitions: Vec<_> = partitions.iter().map(|it| i64::from(*it)).collect();
        let rows = sqlx::query_as::<_, (i64, i64, i64, i64, i64, i64)>(statements::CURSORS)
            .bind(partitions)
            .fetch_all(listener);
        for (partition, next_offset, number, nonce, n, time_ms) in
            self.postgres.within(rows).await?
        {
            let cursor = cursor_of((next_offset, number, nonce, n, time_ms))?;
            if let Ok(partition) = u32::try_from(partition) {
                self.moved(partition, cursor);
            }
        }
        Ok(())
    }
}

fn named(told: &PgNotification) -> BTreeSet<u32> {
    let numbers = told.payload().split(' ');
    numbers.filter_map(|it| it.parse().ok()).collect()
}
