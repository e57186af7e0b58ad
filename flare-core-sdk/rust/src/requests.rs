//! What a connection has asked and not been answered.

use std::collections::{BTreeSet, HashMap};

use tokio::sync::oneshot;

use crate::{error::CallError, reading::Question};

/// A request on its way, by what waits for its answer.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A command of the outbox.
    Command(u64),
    /// A call.
    Call(u64),
    /// The inbox, a sync, a snapshot.
    Reading(Question),
    /// A new token. `None`: nobody waits.
    Refresh(Option<oneshot::Sender<Result<(), CallError>>>),
}

/// By request id.
#[derive(Debug)]
pub(crate) struct Requests {
    last_id: u32,
    open: HashMap<u32, (u64, Asked)>,
    deadlines: BTreeSet<(u64, u32)>,
}

impl Requests {
    /// `last_id` is taken already.
    pub(crate) fn new(last_id: u32) -> Self {
        Self {
            last_id,
            open: HashMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// An id for the next request: above 0, and of no open one.
    pub(crate) fn next_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.open.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    pub(crate) fn ask(&mut self, id: u32, asked: Asked, deadline_ms: u64) {
        self.open.insert(id, (deadline_ms, asked));
        self.deadlines.insert((deadline_ms, id));
    }

    pub(crate) fn answered(&mut self, id: u32) -> Option<Asked> {
        let (deadline, asked) = self.open.remove(&id)?;
        self.deadlines.remove(&(deadline, id));
        Some(asked)
    }

    /// One that has waited too long.
    pub(crate) fn expired(&mut self, now_ms: u64) -> Option<Asked> {
        let &(deadline, id) = self.deadlines.first()?;
        if deadline > now_ms {
            return None;
        }
        self.answered(id)
    }

    pub(crate) fn wake_at(&self) -> Option<u64> {
        self.deadlines.first().map(|it| it.0)
    }

    /// Everything that is open; nothing of it will be answered.
    pub(crate) fn drain(&mut self) -> Vec<Asked> {
        self.deadlines.clear();
        self.open.drain().map(|(_, (_, asked))| asked).collect()
    }
}
