//! How far the members in this process are, for whoever waits for a group.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The offset of the next record to handle, by lane; none: nothing was ever kept or handled.
pub(super) type Progress = BTreeMap<i32, Option<u64>>;

/// The groups with members in this process.
#[derive(Default)]
pub(super) struct Local {
    groups: Mutex<HashMap<(String, String), Arc<Group>>>,
}

/// The members of a group in this process.
#[derive(Default)]
pub(super) struct Group {
    members: Mutex<HashMap<u64, Progress>>,
    /// How many members there were so far.
    entered: AtomicU64,
    /// How often something moved.
    moved: watch::Sender<u64>,
}

/// A member's place in its [`Group`], until it is dropped.
pub(super) struct Entry {
    group: Arc<Group>,
    id: u64,
}

impl Local {
    /// A member that has no lanes yet.
    pub(super) fn enter(&self, topic: &str, group: &str) -> Entry {
        let group = self.group(topic, group);
        let id = group.entered.fetch_add(1, SeqCst);
        let entry = Entry { group, id };
        entry.set(Progress::default());
        entry
    }

    pub(super) fn group(&self, topic: &str, group: &str) -> Arc<Group> {
        let name = (topic.to_owned(), group.to_owned());
        lock(&self.groups).entry(name).or_default().clone()
    }
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.members).is_empty()
    }

    /// How far the lanes are that come to these members.
    pub(super) fn progress(&self) -> Progress {
        let mut all = Progress::new();
        for progress in lock(&self.members).values() {
            all.extend(progress);
        }
        all
    }

    /// Tells when something moves after this.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }
}

impl Entry {
    pub(super) fn set(&self, progress: Progress) {
        lock(&self.group.members).insert(self.id, progress);
        self.group.moved.send_modify(|moved| *moved += 1);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.group.members).remove(&self.id);
        self.group.moved.send_modify(|moved| *moved += 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
