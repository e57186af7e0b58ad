//! What flare-signaling-route is told: the conversations that somebody here is in.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use flare_storage_model::ConversationKey;

use super::{Hint, LargeDirectory};

/// Conversations of one statement.
pub const MAX_CHANGES: usize = 5_000;
/// Conversations that came although nobody here is in them, and are to be taken back. Of more, the next event tells.
const MAX_UNWANTED: usize = 1_000;

/// Who tells, each one instance, and what it has to look at.
#[derive(Debug, Default)]
pub(super) struct Announcers {
    /// How often a conversation has begun or ended.
    changes: usize,
    last: u64,
    all: HashMap<u64, Announcer>,
}

#[derive(Debug, Default)]
struct Announcer {
    /// Began or ended since it was last looked at.
    changed: HashSet<Arc<ConversationKey>>,
    unwanted: HashSet<Arc<ConversationKey>>,
}

/// What an instance is told next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Somebody here is in them.
    pub begun: Vec<Arc<ConversationKey>>,
    /// Nobody is any more.
    pub ended: Vec<Arc<ConversationKey>>,
}

impl Announcers {
    pub(super) fn changed(&mut self, key: &Arc<ConversationKey>) {
        self.changes += 1;
        for announcer in self.all.values_mut() {
            announcer.changed.insert(Arc::clone(key));
        }
    }

    pub(super) fn unwanted(&mut self, key: &ConversationKey) {
        for announcer in self.all.values_mut() {
            if announcer.unwanted.len() < MAX_UNWANTED {
                announcer.unwanted.insert(Arc::new(key.clone()));
            }
        }
    }
}

impl LargeDirectory {
    /// How often a conversation has begun or ended to interest this gateway.
    pub fn changed(&self) -> usize {
        self.announcers.changes
    }

    /// Somebody begins to tell an instance: everything at first.
    pub fn announcer(&mut self) -> u64 {
        self.announcers.last += 1;
        let changed = self.conversations.keys().cloned().collect();
        let announcer = Announcer {
            changed,
            unwanted: HashSet::new(),
        };
        self.announcers.all.insert(self.announcers.last, announcer);
        self.announcers.last
    }

    /// It tells no more.
    pub fn forget_announcer(&mut self, announcer: u64) {
        self.announcers.all.remove(&announcer);
    }

    /// What an instance is to be told that has been told `told`, at most [`MAX_CHANGES`], and whether there is more. What is begun or ended by it has to
    /// be put into `told` by whoever tells it.
    pub fn changes(
        &mut self,
        announcer: u64,
        told: &HashSet<Arc<ConversationKey>>,
    ) -> (Changes, bool) {
        let mut changes = Changes::default();
        let Some(announcer) = self.announcers.all.get_mut(&announcer) else {
            return (changes, false);
        };
        changes.ended.extend(
            announcer
                .unwanted
                .drain()
                .filter(|key| !self.conversations.contains_key(key)),
        );
        let some: Vec<_> = announcer
            .changed
            .iter()
            .take(MAX_CHANGES)
            .cloned()
            .collect();
        for key in some {
            announcer.changed.remove(&key);
            match (self.conversations.contains_key(&key), told.contains(&key)) {
                (true, false) => changes.begun.push(key),
                (false, true) => changes.ended.push(key),
                (true, true) | (false, false) => {}
            }
        }
        (changes, !announcer.changed.is_empty())
    }

    /// An instance has taken in that these interest this gateway: what came before that may have passed it by.
    pub fn announced(&self, begun: &[Arc<ConversationKey>]) -> Vec<Hint> {
        let hints = begun
            .iter()
            .map(|key| self.hint_all(Arc::clone(key), 0, true));
        hints
            .filter(|it| !it.connections.is_empty() || !it.in_doubt.is_empty())
            .collect()
    }
}
