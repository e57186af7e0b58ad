//! An embedded store in a folder of its own.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use flare_storage_model::{
    EmbeddedMessageStore, EmbeddedStoreOptions, MessageStore, StoreError, contract::Subject,
};
use tempfile::TempDir;
use tokio::{task::yield_now, time::timeout};

/// A thread of a store that was dropped ends soon.
const SOON: Duration = Duration::from_secs(10);

/// Nothing leaves the tail unless it is asked to.
pub(crate) fn tail_only() -> EmbeddedStoreOptions {
    EmbeddedStoreOptions {
        gather: Duration::from_secs(3_600),
        sync_interval: Duration::from_secs(3_600),
        ..EmbeddedStoreOptions::default()
    }
}

/// A store in a new folder.
pub(crate) fn fresh(options: EmbeddedStoreOptions) -> Arc<dyn Subject> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, options);
    Arc::new(Embedded {
        folder,
        options,
        store: Mutex::new(Some(store)),
    })
}

struct Embedded {
    folder: TempDir,
    options: EmbeddedStoreOptions,
    store: Mutex<Option<Arc<EmbeddedMessageStore>>>,
}

fn open(folder: &TempDir, options: EmbeddedStoreOptions) -> Arc<EmbeddedMessageStore> {
    Arc::new(EmbeddedMessageStore::open(folder.path(), options).expect("the store opens"))
}

#[async_trait]
impl Subject for Embedded {
    fn store(&self) -> Arc<dyn MessageStore> {
        Arc::clone(
            self.store
                .lock()
                .expect("no test panics here")
                .as_ref()
                .expect("it is open"),
        ) as _
    }

    async fn crash(&self) -> Arc<dyn MessageStore> {
        let old = self.store.lock().expect("no test panics here").take();
        // Dropped without close: what the tail held is gone.
        Arc::try_unwrap(old.expect("it is open"))
            .ok()
            .expect("nobody else uses it");
        // The folder is locked by what is left of the old one.
        let opens = async {
            loop {
                match EmbeddedMessageStore::open(self.folder.path(), self.options) {
                    Err(StoreError::Unavailable(_)) => yield_now().await,
                    opened => break Arc::new(opened.expect("the store opens")),
                }
            }
        };
        let new = timeout(SOON, opens).await.expect("the folder is free");
        *self.store.lock().expect("no test panics here") = Some(Arc::clone(&new));
        new
    }
}
