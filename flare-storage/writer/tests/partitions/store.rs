//! A store that can be out of reach.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flare_storage_model::{
    ConversationKey, Cursor, Fingerprint, Head, IdKey, MessageQuery, MessageRow, MessageStore,
    Receipt, StoreBatch, StoreError,
};
use tokio::sync::watch;
use ulid::Ulid;

/// The store as one process reaches it.
pub(crate) struct Reached {
    store: Arc<dyn MessageStore>,
    pub(crate) down: watch::Sender<bool>,
}

impl Reached {
    pub(crate) fn new(store: Arc<dyn MessageStore>) -> Arc<Self> {
        let down = watch::Sender::new(false);
        Arc::new(Self { store, down })
    }

    fn up(&self) -> Result<&dyn MessageStore, StoreError> {
        match *self.down.borrow() {
            false => Ok(&*self.store),
            true => Err(StoreError::Unavailable("down".to_owned())),
        }
    }
}

#[async_trait]
impl MessageStore for Reached {
    async fn cursor(&self, partition: u32) -> Result<Cursor, StoreError> {
        self.up()?.cursor(partition).await
    }

    async fn synced_cursor(&self, partition: u32) -> Result<Cursor, StoreError> {
        // As in a cluster: what is committed is kept.
        self.up()?.cursor(partition).await
    }

    async fn commit(&self, batch: Arc<StoreBatch>) -> Result<(), StoreError> {
        self.up()?.commit(batch).await
    }

    async fn wait_beyond(&self, partition: u32, offset: u64) -> Result<Cursor, StoreError> {
        self.up()?.wait_beyond(partition, offset).await
    }

    async fn heads(&self, keys: &[ConversationKey]) -> Result<Vec<Option<Head>>, StoreError> {
        self.up()?.heads(keys).await
    }

    async fn receipts(
        &self,
        keys: &[IdKey],
    ) -> Result<Vec<Option<(Receipt, Fingerprint)>>, StoreError> {
        self.up()?.receipts(keys).await
    }

    async fn range(
        &self,
        key: &ConversationKey,
        after_seq: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        self.up()?.range(key, after_seq, limit, max_bytes).await
    }

    async fn event(&self, key: &ConversationKey, seq: u64) -> Result<Option<Bytes>, StoreError> {
        self.up()?.event(key, seq).await
    }

    async fn messages(
        &self,
        key: &ConversationKey,
        query: MessageQuery,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.up()?.messages(key, query, limit).await
    }

    async fn count_recalled_above(
        &self,
        key: &ConversationKey,
        seq: u64,
    ) -> Result<u64, StoreError> {
        self.up()?.count_recalled_above(key, seq).await
    }

    async fn recalled_between(
        &self,
        key: &ConversationKey,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<u64>, StoreError> {
        self.up()?.recalled_between(key, first_seq, last_seq).await
    }

    async fn locate(&self, id: Ulid) -> Result<Option<(ConversationKey, u64)>, StoreError> {
        self.up()?.locate(id).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }

    async fn floor(&self, key: &ConversationKey) -> Result<u64, StoreError> {
        self.up()?.floor(key).await
    }
}
