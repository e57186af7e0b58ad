//! What waits to be written to one connection: bounded in bytes, allocated on use.
//!
//! Frames are of two sorts. *Events and signals* can be had again by a sync, so an overflow clears them and one `SyncHint` goes out instead, before anything else.
//! *Answers* (`Connected`, `SendAck`, `Reply`, `Error`, `Pong`, …) are told once: they are never cleared. They count against the bound all
//! the same, so a reader that lets too many of them pile up is closed.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use flare_proto::client::SyncHint;

use crate::{
    codec::{Codec, Payload, ServerFrame, encode_server},
    deliver::{DeliverBuilder, EncodedEvent},
};

/// Most conversations that a `SyncHint` names; beyond, it names none and the client asks for its inbox.
pub const MAX_HINTED: usize = 64;
/// A second overflow within this time closes the connection, in milliseconds.
pub const OVERFLOW_WINDOW_MS: u64 = 30_000;
/// An empty queue that grew beyond this many places gives them back.
const KEPT_PLACES: usize = 16;

/// One thing to be written.
#[derive(Debug, Clone)]
pub enum Outbound {
    /// An event; neighbours share a frame. Cleared on overflow, its conversation named in the hint.
    Deliver(Arc<EncodedEvent>),
    /// A signal that is worth nothing later (typing). Cleared on overflow.
    Transient(Payload),
    /// A signal whose loss leaves the client's inbox behind (a read mark, settings). Cleared on overflow, and the hint then names none: the client
    /// asks for its inbox.
    Inbox(Payload),
    /// A hint to sync one conversation. Cleared on overflow, and then told again with all else that was.
    Hint {
        /// Which.
        conversation_id: Arc<str>,
        /// The frame.
        payload: Payload,
    },
    /// An answer, or anything else that cannot be had again. Never cleared.
    Answer(Payload),
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// It waits.
    Queued,
    /// There was no room: events and signals were cleared, and a `SyncHint` goes out next instead of them. An answer was queued all the same.
    Overflowed,
    /// The reader is too slow: close with `SLOW_READER`. What was pushed is not queued.
    SlowReader,
}

/// The frames that wait for one connection.
#[derive(Debug)]
pub struct OutboundQueue {
    codec: Codec,
    max_bytes: usize,
    /// Each with the bytes it counts for.
    waiting: VecDeque<(Outbound, usize)>,
    bytes: usize,
    hint: Option<Hint>,
    last_overflow_ms: Option<u64>,
}

/// What was cleared and is not yet told. `None`: too many to name.
#[derive(Debug)]
struct Hint(Option<BTreeSet<String>>);

impl Hint {
    fn add(&mut self, conversation_id: &str) {
        let Some(named) = &mut self.0 else { return };
        if !named.contains(conversation_id) {
            if named.len() == MAX_HINTED {
                self.0 = None;
                return;
            }
            named.insert(conversation_id.to_owned());
        }
    }
}

impl OutboundQueue {
    /// A queue of at most `max_bytes` of frames. A single frame is taken whatever its size when nothing else waits.
    pub fn new(codec: Codec, max_bytes: usize) -> Self {
        Self {
            codec,
            max_bytes,
            waiting: VecDeque::new(),
            bytes: 0,
            hint: None,
            last_overflow_ms: None,
        }
    }

    /// Queues a frame behind the others. `now_ms` is of a clock that only goes forward.
    pub fn push(&mut self, item: Outbound, now_ms: u64) -> Pushed {
        let bytes = self.cost(&item);
        if self.fits(bytes) {
            self.place(item, bytes);
            return Pushed::Queued;
        }
        let again = self
            .last_overflow_ms
            .is_some_and(|at| now_ms < at.saturating_add(OVERFLOW_WINDOW_MS));
        self.last_overflow_ms = Some(now_ms);
        if again {
            return Pushed::SlowReader;
        }
        self.clear();
        match item {
            Outbound::Answer(_) if !self.fits(bytes) => return Pushed::SlowReader,
            Outbound::Answer(_) => self.place(item, bytes),
            dropped => self.hint_at(&dropped),
        }
        Pushed::Overflowed
    }

    /// Takes what is to be written next. Neighbouring events come joined, up to about `max_frame_bytes`.
    pub fn pop(&mut self, max_frame_bytes: usize) -> Option<Payload> {
        // First, so that a queue that never runs empty cannot hold it back.
        if let Some(hint) = self.hint.take() {
            return Some(self.encode(hint));
        }
        let Some((item, bytes)) = self.waiting.pop_front() else {
            self.shrink();
            return None;
        };
        self.bytes -= bytes;
        let first = match item {
            Outbound::Transient(payload)
            | Outbound::Inbox(payload)
            | Outbound::Hint { payload, .. }
            | Outbound::Answer(payload) => return Some(payload),
            Outbound::Deliver(event) => event,
        };
        let mut frame = DeliverBuilder::new(self.codec);
        frame.push(first);
        while let Some((Outbound::Deliver(_), next)) = self.waiting.front()
            && frame.len_bound() + next <= max_frame_bytes
            && let Some((Outbound::Deliver(event), next)) = self.waiting.pop_front()
        {
            self.bytes -= next;
            frame.push(event);
        }
        frame.finish()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.hint.is_none()
    }

    /// Whether a `SyncHint` waits that names no conversation: too many were cleared, or something of the inbox.
    pub fn hints_at_inbox(&self) -> bool {
        matches!(self.hint, Some(Hint(None)))
    }

    /// The bytes that wait, as they count against the bound.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn fits(&self, bytes: usize) -> bool {
        self.waiting.is_empty() || self.bytes + bytes <= self.max_bytes
    }

    fn cost(&self, item: &Outbound) -> usize {
        match item {
            Outbound::Deliver(event) => event.frame_len(self.codec),
            Outbound::Transient(payload)
            | Outbound::Inbox(payload)
            | Outbound::Hint { payload, .. }
            | Outbound::Answer(payload) => payload.bytes.len(),
        }
    }

    fn place(&mut self, item: Outbound, bytes: usize) {
        self.waiting.push_back((item, bytes));
        self.bytes += bytes;
    }

    fn clear(&mut self) {
        for (item, bytes) in std::mem::take(&mut self.waiting) {
            match item {
                Outbound::Answer(_) => self.waiting.push_back((item, bytes)),
                cleared => {
                    self.bytes -= bytes;
                    self.hint_at(&cleared);
                }
            }
        }
    }

    fn hint_at(&mut self, dropped: &Outbound) {
        let hint = self.hint.get_or_insert_with(|| Hint(Some(BTreeSet::new())));
        match dropped {
            Outbound::Deliver(event) => hint.add(event.view().conversation_id),
            Outbound::Hint {
                conversation_id, ..
            } => hint.add(conversation_id),
            Outbound::Inbox(_) => hint.0 = None,
            Outbound::Transient(_) | Outbound::Answer(_) => {}
        }
    }

    fn encode(&self, hint: Hint) -> Payload {
        let conversation_ids = hint.0.into_iter().flatten().collect();
        let frame = ServerFrame::SyncHint(SyncHint {
            conversation_ids,
            head_seqs: Vec::new(),
        });
        encode_server(self.codec, &frame)
            .unwrap_or_else(|error| unreachable!("a SyncHint holds strings only: {error}"))
    }

    fn shrink(&mut self) {
        if self.waiting.capacity() > KEPT_PLACES {
            self.waiting = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests;
