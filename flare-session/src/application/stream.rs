//! Takes the public stream of events in: heads, mentions, direct conversations, and the read positions of who sends.

use std::{collections::HashSet, sync::Arc};

use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;
use moka::sync::Cache;

use super::{
    heads::{Heads, Remembered},
    outbox::Outbox,
    ports::{DirectConversation, InboxStore, RosterStore, StreamCount, StreamEffects, StreamStart},
    positions::Positions,
};
use crate::domain::{head::StreamEvent, inbox::ReadPosition, role::Class};

/// The stream's consumer. A batch may come again: everything it does is idempotent.
pub struct Stream {
    pub(crate) inboxes: Arc<dyn InboxStore>,
    pub(crate) rosters: Arc<dyn RosterStore>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) positions: Arc<Positions>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) part: Part,
}

/// What of the stream comes to this consumer.
pub(crate) enum Part {
    /// All: no other process has these rows, and the heads follow here.
    All(Arc<dyn StreamCount>),
    /// Each event comes to one of several processes, which writes its rows. Heads follow elsewhere.
    Shared(KnownDirects),
}

/// Direct conversations whose rows are there.
pub(crate) struct KnownDirects(Cache<ConversationKey, ()>);

impl KnownDirects {
    /// Room for so many.
    pub(crate) fn new(max: u64) -> Self {
        Self(Cache::new(max))
    }
}

impl Stream {
    /// Takes a batch in. On an error it is to come again. Positions and activity wait in memory until [`flush`](Self::flush).
    ///
    /// The order matters to who syncs an inbox in between: rows first, then positions, heads last. A head that is seen to have moved has its
    /// mentions counted; and whatever was seen without them moves afterwards, so it is handed out again. Where heads follow elsewhere, an inbox waits for the rows
    /// instead.
    pub async fn take(&self, events: &[StreamEvent]) -> Result<(), Refusal> {
        if let Part::Shared(_) = &self.part {
            self.outbox.settle_landed(events).await?;
        }
        let effects = self.effects(events).await?;
        if !effects.is_empty() {
            for direct in self.inboxes.record(&effects).await? {
                self.rosters.forget(&direct.key);
            }
        }
        if let Part::Shared(KnownDirects(known)) = &self.part {
            for direct in effects.directs {
                known.insert(direct.key, ());
            }
        }
        let mut reads = Vec::new();
        let mut activity: Vec<(ConversationKey, i64)> = Vec::new();
        for event in events {
            if event.countable && event.from_device && !event.sender.is_empty() {
                let position = ReadPosition {
                    seq: event.seq,
                    ordinal: event.ordinal,
                };
                reads.push((event.key.clone(), Arc::clone(&event.sender), position));
            }
            match activity.last_mut() {
                Some((key, time_ms)) if *key == event.key => *time_ms = event.time_ms,
                _ => activity.push((event.key.clone(), event.time_ms)),
            }
        }
        self.positions.from_stream(&reads, &activity).await?;
        if let Part::All(_) = &self.part {
            self.heads.observe(events);
            for event in events.iter().filter(|it| it.is_change) {
                self.outbox.landed(&event.key);
            }
        }
        Ok(())
    }

    /// Writes what waits of the batches that were taken in: the stream may go on behind them after a crash.
    pub async fn flush(&self) -> Result<(), Refusal> {
        self.positions.flush().await
    }

    /// The stream came to a clean end: nothing is taken in any more, and nobody asks. What waits is written, and the count of moves kept, so
    /// that tokens stay good across the restart.
    pub async fn end(&self) -> Result<(), Refusal> {
        self.flush().await?;
        if let Part::All(count) = &self.part {
            let Remembered {
                epoch, frontier, ..
            } = self.heads.stream();
            let position = frontier.next(0);
            count.ended(StreamStart { epoch, position }).await?;
        }
        Ok(())
    }

    /// Whether there may be no rows of a direct conversation yet.
    async fn may_be_new(&self, key: &ConversationKey) -> Result<bool, Refusal> {
        match &self.part {
            Part::All(_) => {
                Ok(self.heads.newest_seq(key).is_none()
                    && self.rosters.roster(key).await?.is_none())
            }
            // The heads may be ahead of the rows.
            Part::Shared(KnownDirects(known)) => Ok(!known.contains_key(key)),
        }
    }

    async fn effects(&self, events: &[StreamEvent]) -> Result<StreamEffects, Refusal> {
        let mut effects = StreamEffects::default();
        let mut looked_at = HashSet::new();
        for event in events {
            if let (Class::Direct, [low, high]) = (event.class, &event.participants[..])
                && looked_at.insert(&event.key)
                && self.may_be_new(&event.key).await?
            {
                effects.directs.push(DirectConversation {
                    key: event.key.clone(),
                    participants: [Arc::clone(low), Arc::clone(high)],
                    time_ms: event.time_ms,
                });
            }
            let mentioned: Vec<_> = event
                .mentions
                .iter()
                .filter(|it| **it != event.sender)
                .cloned()
                .collect();
            if !mentioned.is_empty() {
                effects
                    .mentions
                    .push((event.key.clone(), event.seq, mentioned));
            }
            if let Some(target) = event.recalls {
                effects.recalls.push((event.key.clone(), target, event.seq));
            }
            if event.is_change {
                effects.changes.push((event.key.clone(), event.seq));
            }
        }
        Ok(effects)
    }
}
