//! The store of record of a cluster: PostgreSQL.
//!
//! Tables and their reasons stand in `migrations/`. One transaction a batch, whose first lock is the row of the partition's cursor: of two
//! writers of one partition the second waits, then finds what the first has stored and compares it.

mod addition;
mod commit;
mod errors;
mod moves;
mod partitions;
mod placement;
mod reads;
mod statements;
mod values;
mod writes;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::postgres::{Postgres, PostgresConfig};
use tokio::{
    select,
    sync::{RwLock, watch},
    task::JoinSet,
};
use tracing::Instrument;
use ulid::Ulid;

use crate::{
    command_id::{Fingerprint, IdKey, Receipt},
    conversation_key::ConversationKey,
    head::Head,
    message_store::{Cursor, MessageQuery, MessageRow, MessageStore, StoreBatch, StoreError},
};
use moves::Moves;
use partitions::Partitions;

/// The service whose schema the tables are in.
const SCHEMA: &str = "message_store";

/// The fewest connections with which a store is opened: one listens.
pub const MIN_CONNECTIONS: u32 = 2;

/// The settings of [`PostgresMessageStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresStoreOptions {
    /// Who waits for a partition's cursor that another process moves learns it from a notification, and from a look so often: a notification
    /// may be lost with a connection.
    pub look_every: Duration,
}

impl Default for PostgresStoreOptions {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(1),
        }
    }
}

/// The [`MessageStore`] of a cluster. Any number of processes may have it open; one at a time commits to a partition.
///
/// What PostgreSQL has committed survives a power loss ([`PostgresConfig`] refuses a server of which that is not true), so the synced cursor is the cursor. While the
/// server does not answer, each call ends in `Unavailable` after the configuration's `acquire_timeout_ms` and `statement_timeout_ms` at most.
///
/// One of the configuration's connections listens as soon as somebody waits for a cursor, so it needs [`MIN_CONNECTIONS`].
pub struct PostgresMessageStore {
    rows: Arc<Rows>,
    /// Held by each commit until it has ended.
    commits: Arc<RwLock<()>>,
    closed: watch::Sender<bool>,
    moves: Arc<Moves>,
    look_every: Duration,
    /// Tells others of moves and listens for theirs; ends with the store.
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    set: JoinSet<()>,
    listens: bool,
}

/// The tables.
struct Rows {
    postgres: Postgres,
    partitions: Partitions,
}

impl Rows {
    /// The answer to one statement, in time.
    async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        Ok(self.postgres.within(call).await?)
    }
}

impl PostgresMessageStore {
    /// Waits for the server, checks it, brings the tables up to this version, and opens the store.
    ///
    /// # Errors
    /// `Unavailable` with what is wrong with the configuration, the server or the tables.
    pub async fn open(
        config: &PostgresConfig,
        options: PostgresStoreOptions,
    ) -> Result<Self, StoreError> {
        if config.max_connections < MIN_CONNECTIONS {
            return Err(StoreError::Unavailable(format!(
                "the message store needs max_connections of {MIN_CONNECTIONS} at least, not {}",
                config.max_connections
            )));
        }
        let postgres = Postgres::open(config, SCHEMA, sqlx::migrate!())
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        // Several installations may share a database: notifications bear the schema's name.
        let (schema,): (String,) = sqlx::query_as("SELECT current_schema()::text")
            .fetch_one(postgres.pool())
            .await?;
        let moves = Arc::new(Moves::new(postgres.clone(), schema));
        let mut tasks = Tasks::default();
        tasks.set.spawn(Arc::clone(&moves).tell());
        Ok(Self {
            rows: Arc::new(Rows {
                postgres,
                partitions: Partitions::default(),
            }),
            commits: Arc::default(),
            closed: watch::Sender::new(false),
            moves,
            look_every: options.look_every,
            tasks: Mutex::new(tasks),
        })
    }

    /// Listens for what other processes commit, from now on.
    fn listen(&self) {
        let mut tasks = self
            .tasks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !tasks.listens {
            tasks.listens = true;
            tasks
                .set
                .spawn(Arc::clone(&self.moves).listen(self.look_every));
        }
    }
}

#[async_trait]
impl MessageStore for PostgresMessageStore {
    async fn cursor(&self, partition: u32) -> Result<Cursor, StoreError> {
        self.rows.cursor(partition).await
    }

    async fn synced_cursor(&self, partition: u32) -> Result<Cursor, StoreError> {
        self.rows.cursor(partition).await
    }

    async fn commit(&self, batch: Arc<StoreBatch>) -> Result<(), StoreError> {
        let turn = Arc::clone(&self.commits).read_owned().await;
        if *self.closed.borrow() {
            return Err(StoreError::Closed);
        }
        let (rows, moves) = (Arc::clone(&self.rows), Arc::clone(&self.moves));
        // It goes on where the caller gives up: a transaction that is dropped in the middle would cost its connection.
        let committing = async move {
            let _turn = turn;
            let cursor = rows.commit(&batch).await?;
            moves.moved(batch.partition, cursor);
            moves.to_tell(batch.partition);
            Ok(())
        };
        tokio::spawn(committing.in_current_span())
            .await
            .unwrap_or_else(|error| Err(StoreError::Failed(error.to_string())))
    }

    async fn wait_beyond(&self, partition: u32, offset: u64) -> Result<Cursor, StoreError> {
        let mut closed = self.closed.subscribe();
        let mut moved = self.moves.watch(partition);
        self.listen();
        let reached = async {
            // What was committed before somebody watched.
            let cursor = self.rows.cursor(partition).await?;
            self.moves.moved(partition, cursor);
            let beyond = moved.wait_for(|it| it.next_offset > offset).await;
            beyond.map(|it| *it).map_err(|_| StoreError::Closed)
        };
        select! {
            biased;
            _ = closed.wait_for(|it| *it) => Err(StoreError::Closed),
            reached = reached => reached,
        }
    }

    async fn heads(&self, keys: &[ConversationKey]) -> Result<Vec<Option<Head>>, StoreError> {
        self.rows.heads(keys).await
    }

    async fn receipts(
        &self,
        keys: &[IdKey],
    ) -> Result<Vec<Option<(Receipt, Fingerprint)>>, StoreError> {
        self.rows.receipts(keys).await
    }

    async fn range(
        &self,
        key: &ConversationKey,
        after_seq: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        self.rows.range(key, after_seq, limit, max_bytes).await
    }

    async fn event(&self, key: &ConversationKey, seq: u64) -> Result<Option<Bytes>, StoreError> {
        self.rows.event(key, seq).await
    }

    async fn messages(
        &self,
        key: &ConversationKey,
        query: MessageQuery,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.rows.messages(key, query, limit).await
    }

    async fn count_recalled_above(
        &self,
        key: &ConversationKey,
        seq: u64,
    ) -> Result<u64, StoreError> {
        self.rows.count_recalled_above(key, seq).await
    }

    async fn recalled_between(
        &self,
        key: &ConversationKey,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<u64>, StoreError> {
        self.rows.recalled_between(key, first_seq, last_seq).await
    }

    async fn locate(&self, message_id: Ulid) -> Result<Option<(ConversationKey, u64)>, StoreError> {
        self.rows.locate(message_id).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.closed.send_replace(true);
        // Commits that have begun end, each in its time.
        let _ended = self.commits.write().await;
        self.moves.tell_now().await;
        Ok(())
    }

    async fn floor(&self, key: &ConversationKey) -> Result<u64, StoreError> {
        self.rows.floor(key).await
    }
}
