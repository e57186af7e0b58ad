//! An embedded store in a folder of its own.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use flare_storage_model::{
    EmbeddedMessageStore, EmbeddedStoreOptions, MessageStore, contract::Subject,
};
use tempfile::TempDir;

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
        let mut store = self.store.lock().expect("no test panics here");
        let old = store.take().expect("it is open");
        // Dropped without close: what the tail held is gone.
        Arc::try_unwrap(old).ok().expect("nobody else uses it");
        let new = open(&self.folder, self.options);
        *store = Some(Arc::clone(&new));
        new
    }
}
