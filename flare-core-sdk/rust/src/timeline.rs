//! One conversation as its consumer sees it: each seq once, in order, without a hole.

use std::collections::BTreeMap;

use crate::{cursors::Cursor, event::ConversationEvent};

/// Most events of one conversation that are kept although an earlier one is missing.
const MAX_AHEAD: usize = 256;
/// Most bytes of them.
const MAX_AHEAD_BYTES: usize = 512 * 1024;
/// The largest page of the contract.
const MAX_PAGE: u32 = 200;

/// Where a conversation stands. It decides what is told to the consumer, and whether the server is to be asked.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// The last seq that was told. `None` until it is decided where the conversation begins.
    cursor: Option<u64>,
    /// The highest seq of an event that arrived, or of an own receipt: it is there, even if a sync does not show it yet.
    seen: u64,
    /// The head as the inbox, or an earlier run, named it. A sync's answer settles it.
    named: u64,
    /// What `named` was when the server was last asked.
    named_when_asked: u64,
    /// The server asked for a sync.
    hinted: bool,
    /// By seq: arrived, and an earlier one is missing.
    ahead: BTreeMap<u64, ConversationEvent>,
    ahead_bytes: usize,
    pub(crate) ask: Ask,
}

/// How asking the server goes.
#[derive(Debug)]
pub(crate) struct Ask {
    /// A sync or snapshot is on its way.
    pub(crate) open: bool,
    /// It waits for its turn to be asked for.
    pub(crate) queued: bool,
    /// Not before this.
    pub(crate) not_before_ms: u64,
    /// Answers in a row that brought nothing new.
    pub(crate) vain: u32,
    /// Events, or messages of a snapshot, to ask for: less where so many made too large an answer.
    pub(crate) limit: u32,
}

impl Ask {
    /// An answer of the asked size has come: a larger one may be asked for again.
    pub(crate) fn grow(&mut self) {
        self.limit = self.limit.max(1).saturating_mul(2).min(MAX_PAGE);
    }
}

/// What an offered event leads to.
#[derive(Debug, PartialEq)]
pub(crate) enum Offered {
    /// These are next, in order.
    Tell(Vec<ConversationEvent>),
    /// It was told before.
    Known,
    /// It has to wait for earlier ones, or was not kept: a sync brings them.
    Missing,
}

/// What the answer to a sync amounts to.
#[derive(Debug, PartialEq)]
pub(crate) struct Answered {
    /// The conversation goes on at this seq: what is missing below is not to be had.
    pub(crate) floor: Option<u64>,
    /// Told next, in order.
    pub(crate) tell: Vec<ConversationEvent>,
    /// All that is known of has been told, up to this seq.
    pub(crate) synced_to: Option<u64>,
}

impl Timeline {
    pub(crate) fn new(known: Cursor) -> Self {
        Self {
            cursor: known.seq,
            seen: 0,
            named: known.heard_seq,
            named_when_asked: 0,
            hinted: false,
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
            ask: Ask {
                open: false,
                queued: false,
                not_before_ms: 0,
                vain: 0,
                limit: MAX_PAGE,
            },
        }
    }

    /// A seq was heard of that should be there.
    pub(crate) fn name_head(&mut self, seq: u64) {
        self.named = self.named.max(seq);
    }

    /// An event with this seq exists.
    pub(crate) fn see(&mut self, seq: u64) {
        self.seen = self.seen.max(seq);
    }

    /// The server asks for a sync.
    pub(crate) fn hint(&mut self) {
        self.hinted = true;
    }

    /// The server is being asked. What it is told meanwhile, the answer may not show.
    pub(crate) fn asked(&mut self) {
        self.ask.open = true;
        self.hinted = false;
        self.named_when_asked = self.named;
    }

    /// The question has no answer; it may be asked again after `not_before_ms`.
    pub(crate) fn unanswered(&mut self, not_before_ms: u64) {
        self.ask.open = false;
        self.ask.not_before_ms = not_before_ms;
        self.hinted = true;
    }

    pub(crate) fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    /// It is decided that events after `seq` are told.
    pub(crate) fn begin(&mut self, seq: u64) -> Vec<ConversationEvent> {
        self.cursor = Some(self.cursor.unwrap_or_default().max(seq));
        self.drain()
    }

    /// Whether the server has to be asked, if it may be now.
    pub(crate) fn is_behind(&self) -> bool {
        match self.cursor {
            Some(cursor) => self.hinted || cursor < self.seen.max(self.named),
            None => self.hinted || self.seen.max(self.named) > 0,
        }
    }

    /// An event arrived by delivery or by an own receipt.
    pub(crate) fn offer(&mut self, event: ConversationEvent, room: bool) -> Offered {
        let seq = event.header.seq;
        self.see(seq);
        let Some(cursor) = self.cursor else {
            // Nothing is told before the conversation begins somewhere; then a sync brings this one too.
            return Offered::Missing;
        };
        if seq <= cursor {
            return Offered::Known;
        }
        if !room {
            return Offered::Missing;
        }
        if seq == cursor + 1 {
            self.cursor = Some(seq);
            let mut tell = vec![event];
            tell.append(&mut self.drain());
            return Offered::Tell(tell);
        }
        let cost = event.cost();
        let fits = self.ahead.len() < MAX_AHEAD
            && self.ahead_bytes.saturating_add(cost) <= MAX_AHEAD_BYTES;
        if fits && self.ahead.insert(seq, event).is_none() {
            self.ahead_bytes += cost;
        }
        Offered::Missing
    }

    /// A sync from `after_seq` was answered with these events, the reader's head and floor.
    pub(crate) fn answer(
        &mut self,
        after_seq: u64,
        events: Vec<ConversationEvent>,
        head: u64,
        floor_seq: u64,
        has_more: bool,
    ) -> Answered {
        let before = self.cursor.unwrap_or_default().max(after_seq);
        // Events that came meanwhile may have carried the cursor past what was asked for.
        let mut cursor = before;
        let mut floor = None;
        if floor_seq > cursor + 1 {
            floor = Some(floor_seq);
            cursor = floor_seq - 1;
        }
        let mut tell = Vec::new();
        for event in events {
            let seq = event.header.seq;
            self.see(seq);
            if seq == cursor + 1 {
                cursor = seq;
                tell.push(event);
            }
        }
        self.cursor = Some(cursor);
        tell.append(&mut self.drain());
        let cursor = self.cursor.unwrap_or(cursor);
        self.ask.open = false;
        self.named = if has_more || self.named != self.named_when_asked {
            self.named.max(head)
        } else {
            head
        };
        let is_complete = !self.is_behind() && !has_more;
        self.ask.vain = if is_complete || cursor > before {
            0
        } else {
            self.ask.vain.saturating_add(1)
        };
        Answered {
            floor,
            tell,
            synced_to: is_complete.then_some(cursor),
        }
    }

    /// The user may not read it (any longer): until the server tells of it again, there is nothing to ask for.
    pub(crate) fn close(&mut self) {
        let told = self.cursor.unwrap_or_default();
        self.seen = told;
        self.named = told;
        self.ask.open = false;
        self.ahead.clear();
        self.ahead_bytes = 0;
        self.ask.vain = 0;
    }

    fn drain(&mut self) -> Vec<ConversationEvent> {
        let mut next = Vec::new();
        let Some(mut cursor) = self.cursor else {
            return next;
        };
        while let Some(entry) = self.ahead.first_entry() {
            if *entry.key() > cursor + 1 {
                break;
            }
            let event = entry.remove();
            self.ahead_bytes = self.ahead_bytes.saturating_sub(event.cost());
            if event.header.seq == cursor + 1 {
                cursor += 1;
                next.push(event);
            }
        }
        self.cursor = Some(cursor);
        next
    }
}

#[cfg(test)]
mod tests;
