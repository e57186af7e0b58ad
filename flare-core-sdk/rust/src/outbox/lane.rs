//! The order of one conversation, and how it stands after refusals.

use std::collections::VecDeque;

use flare_core::pending::DEFAULT_MAX_UNACKED;

use crate::error::Refusal;

/// The pause after a refusal that names none, in milliseconds; doubles with each.
const SHORTEST_RETRY_MS: u64 = 50;
/// The longest such pause.
const LONGEST_RETRY_MS: u64 = 5_000;

/// How many may be in flight while it is not known how many the server takes: one after a refusal, and one more with each round of receipts.
/// All at once would be refused at once, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Caution {
    most: usize,
    /// Since `most` was last raised.
    receipts: usize,
}

impl Caution {
    const AFTER_A_REFUSAL: Self = Self {
        most: 1,
        receipts: 0,
    };

    /// A receipt came; `None` when there is no more reason for it.
    fn eased(self) -> Option<Self> {
        let receipts = self.receipts + 1;
        if receipts < self.most {
            return Some(Self { receipts, ..self });
        }
        let most = self.most + 1;
        (most < DEFAULT_MAX_UNACKED).then_some(Self { most, receipts: 0 })
    }
}

/// The order of one conversation.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) entries: usize,
    pub(super) in_flight: usize,
    /// One was refused for now: nothing leaves until what is in flight behind it has come back.
    pub(super) stalled: bool,
    /// After a refusal one command tries the way alone.
    pub(super) probing: bool,
    /// Since a refusal; `None` when as many may be in flight as the connection may have.
    caution: Option<Caution>,
    pub(super) not_before_ms: u64,
    pub(super) refusals: u32,
    /// Refused here for now and given up: the server waits for them until told.
    pub(super) abandoned: VecDeque<String>,
}

impl Lane {
    /// Whether the next command may leave.
    pub(super) fn lets_pass(&self, now_ms: u64) -> bool {
        let is_room = self.caution.is_none_or(|it| self.in_flight < it.most);
        now_ms >= self.not_before_ms
            && (self.in_flight == 0 || (is_room && !(self.stalled || self.probing)))
    }

    /// A receipt came.
    pub(super) fn placed(&mut self) {
        self.refusals = 0;
        // That of the one who tried the way alone says only that there is one.
        if !std::mem::take(&mut self.probing) {
            self.caution = self.caution.and_then(Caution::eased);
        }
    }

    /// One was refused for now. `chance`, between 0 and 1, spreads the pause where the server names none.
    pub(super) fn stall(&mut self, refusal: &Refusal, now_ms: u64, chance: f64) {
        let is_follower = self.stalled && refusal.retry_after.is_none();
        self.stalled = true;
        self.probing = false;
        self.caution = Some(Caution::AFTER_A_REFUSAL);
        if is_follower {
            // Refused only because of the one before it.
            return;
        }
        let pause = refusal.retry_after.map_or_else(
            || {
                let pause = (SHORTEST_RETRY_MS << self.refusals.min(10)).min(LONGEST_RETRY_MS);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "a pause is small"
                )]
                let more = (pause as f64 * chance.clamp(0.0, 1.0)) as u64;
                pause + more
            },
            |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX),
        );
        self.refusals = self.refusals.saturating_add(1);
        self.not_before_ms = self.not_before_ms.max(now_ms.saturating_add(pause));
    }

    /// What was two orders is one.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.entries += other.entries;
        self.in_flight += other.in_flight;
        self.stalled |= other.stalled;
        self.probing |= other.probing;
        self.caution = self.caution.into_iter().chain(other.caution).min();
        self.not_before_ms = self.not_before_ms.max(other.not_before_ms);
        self.refusals = self.refusals.max(other.refusals);
        self.abandoned.append(&mut other.abandoned);
    }

    /// The connection is gone, and with it what the server waits for.
    pub(super) fn disconnected(&mut self) {
        self.in_flight = 0;
        self.stalled = false;
        self.probing = false;
        self.caution = None;
        self.abandoned.clear();
    }
}
