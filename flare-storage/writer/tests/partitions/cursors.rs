//! The published cursors in memory: they outlive processes. And the suite of their port on them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use flare_storage_model::Cursor;
use flare_storage_writer::application::ports::{CursorsUnavailable, PublishedCursors};
use tokio::sync::watch;

#[path = "../postgres/contract.rs"]
mod contract;

#[derive(Default)]
pub(crate) struct MemoryPublishedCursors {
    kept: Mutex<BTreeMap<u32, Cursor>>,
    pub(crate) down: watch::Sender<bool>,
    /// How often something was saved.
    pub(crate) saves: watch::Sender<usize>,
}

impl MemoryPublishedCursors {
    pub(crate) fn kept(&self, partition: u32) -> Cursor {
        let kept = self.kept.lock().unwrap();
        kept.get(&partition).copied().unwrap_or_default()
    }

    fn is_up(&self) -> Result<(), CursorsUnavailable> {
        match *self.down.borrow() {
            false => Ok(()),
            true => Err(CursorsUnavailable("down".to_owned())),
        }
    }
}

#[async_trait]
impl PublishedCursors for MemoryPublishedCursors {
    async fn load(&self, partition: u32) -> Result<Cursor, CursorsUnavailable> {
        self.is_up()?;
        Ok(self.kept(partition))
    }

    async fn save(&self, cursors: &[(u32, Cursor)]) -> Result<(), CursorsUnavailable> {
        self.is_up()?;
        let mut kept = self.kept.lock().unwrap();
        for (partition, cursor) in cursors {
            let it = kept.entry(*partition).or_default();
            if it.next_offset < cursor.next_offset {
                *it = *cursor;
            }
        }
        self.saves.send_modify(|it| *it += 1);
        Ok(())
    }
}

#[tokio::test]
async fn cursors_in_memory_do_what_the_port_says() {
    let cursors = Arc::new(MemoryPublishedCursors::default());
    contract::does_what_the_port_says(async || {
        let opened: Arc<dyn PublishedCursors> = cursors.clone();
        opened
    })
    .await;
}
