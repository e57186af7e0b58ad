//! One partition's commands, and the way that they go.

use std::{collections::HashSet, sync::Arc};

use super::{HANDOVER_MS, Item, Told, way::Way};
use crate::domain::in_flight::InFlight;

/// Pauses before whoever refused as not the owner is asked again, if no other owner is told.
const SHORTEST_PAUSE_MS: u64 = 25;
/// Doublings of it.
const MAX_DOUBLINGS: u32 = 5;

#[derive(Debug)]
pub(super) struct Part<T> {
    pub(super) in_flight: InFlight<T>,
    /// The owner, as it was told.
    pub(super) told: Option<Told>,
    /// Another, by whoever refused; asked once.
    hint: Option<Arc<str>>,
    /// Who is at the end of its way, as it was told when it was bound.
    asked: Option<Told>,
    /// The way that it is bound to.
    pub(super) way: Option<u64>,
    /// The way that it has left because its end was not the owner, or did not answer.
    pub(super) left: Option<u64>,
    /// It is to leave its way: at once when nothing is under way, at this time in any case.
    pub(super) leaves_by_ms: Option<u64>,
    /// Whoever is at the way's end has said that it is not the owner.
    pub(super) is_disowned: bool,
    /// The lanes whose first open command was refused so: of these nothing is lost.
    disowned: HashSet<u64>,
    /// Who refused so last, as it was told then: it is not asked before `not_before_ms`.
    refused: Option<Told>,
    not_before_ms: u64,
    /// How often it was refused so since its last receipt.
    refusals: u32,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self {
            in_flight: InFlight::default(),
            told: None,
            hint: None,
            asked: None,
            way: None,
            left: None,
            leaves_by_ms: None,
            is_disowned: false,
            disowned: HashSet::new(),
            refused: None,
            not_before_ms: 0,
            refusals: 0,
        }
    }
}

impl<T> Part<T> {
    /// The first command with its deadline; nothing may have been sent.
    pub(super) fn take_first(&mut self) -> Option<(T, u64)> {
        let deadline_ms = self.in_flight.next_deadline_ms()?;
        Some((self.in_flight.pop()?, deadline_ms))
    }

    pub(super) fn is_sending_by(&self, way: u64) -> bool {
        self.way == Some(way) && self.leaves_by_ms.is_none() && self.in_flight.has_next()
    }

    /// Whether the owner that was told makes it leave its way.
    pub(super) fn hand_over(&mut self, way: Option<&Way>, now_ms: u64) {
        let (Some(way), Some(told)) = (way, &self.told) else {
            return;
        };
        if way.leads_to(&told.endpoint) {
            if !way.is_retired() {
                self.leaves_by_ms = None;
            }
        } else {
            self.hand_over_by(now_ms.saturating_add(HANDOVER_MS));
        }
    }

    /// It is to leave its way until then.
    pub(super) fn hand_over_by(&mut self, ms: u64) {
        self.leaves_by_ms.get_or_insert(ms);
    }

    pub(super) fn had_receipt(&mut self) {
        self.refusals = 0;
    }

    /// Whoever refused says who is the owner instead. Not twice in a row: two that take each other for the owner would keep it running.
    pub(super) fn hint(&mut self, endpoint: &str) {
        let is_other = self
            .asked
            .as_ref()
            .is_some_and(|it| *it.endpoint != *endpoint);
        if self.is_disowned && self.refusals == 0 && is_other {
            self.hint = Some(endpoint.into());
        }
    }

    /// Leaves its way, with nothing under way. What is open goes by the next from the first on.
    pub(super) fn leave(&mut self) {
        self.in_flight.rewind();
        self.way = None;
        self.leaves_by_ms = None;
        self.is_disowned = false;
        self.disowned.clear();
    }

    /// Leaves its way for that of another owner. One that refused is not asked again soon, nor by the way on which it refused; nor is one by a way on
    /// which it `has_not_answered`.
    pub(super) fn leave_for_another(&mut self, now_ms: u64, has_not_answered: bool) {
        if self.is_disowned {
            let pause_ms = SHORTEST_PAUSE_MS << self.refusals.min(MAX_DOUBLINGS);
            self.not_before_ms = now_ms.saturating_add(pause_ms);
            self.refusals = self.refusals.saturating_add(1);
        }
        if self.is_disowned || has_not_answered {
            self.left = self.way;
        }
        self.leave();
    }

    /// The endpoint whose way it needs now.
    pub(super) fn wants(&self, now_ms: u64) -> Option<Arc<str>> {
        if !self.is_waiting() {
            return None;
        }
        if let Some(hint) = &self.hint {
            return Some(Arc::clone(hint));
        }
        let told = self.told.as_ref()?;
        let may_ask = self.refused.as_ref() != Some(told) || self.not_before_ms <= now_ms;
        may_ask.then(|| Arc::clone(&told.endpoint))
    }

    /// It goes by this way from here on, to this endpoint.
    pub(super) fn bind(&mut self, way: u64, endpoint: Arc<str>) {
        self.way = Some(way);
        self.hint = None;
        let epoch = self.told.as_ref().map_or(0, |it| it.epoch);
        self.asked = Some(Told { epoch, endpoint });
    }

    fn is_waiting(&self) -> bool {
        self.way.is_none() && self.in_flight.has_next()
    }

    /// When, after `now_ms`, it may ask again, or must leave.
    pub(super) fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let asks_again = self.is_waiting() && self.refused == self.told;
        let asks_at = asks_again.then_some(self.not_before_ms);
        let later = asks_at.filter(|it| *it > now_ms);
        self.leaves_by_ms.into_iter().chain(later).min()
    }

    pub(super) fn names(&self, endpoint: &str) -> bool {
        self.told
            .as_ref()
            .is_some_and(|it| *it.endpoint == *endpoint)
    }
}

impl<T: Item> Part<T> {
    /// The command was refused by somebody who is not the owner, or behind one that was.
    pub(super) fn give_back(&mut self, correlation: u64) {
        let lane = self.in_flight.get(correlation).map(Item::lane);
        self.disowned.extend(lane);
        self.in_flight.give_back(correlation);
        if !std::mem::replace(&mut self.is_disowned, true) {
            self.refused = self.asked.clone();
        }
    }

    /// Of what its way leaves without an answer, what could lose its order if it were sent again: receipts of its lane may be lost.
    pub(super) fn leave_open(&mut self) -> Vec<T> {
        let mut open = self.in_flight.sent_in_company(Item::lane);
        open.retain(|it| {
            let item = self.in_flight.get(*it);
            item.is_some_and(|it| !self.disowned.contains(&it.lane()))
        });
        open.into_iter()
            .filter_map(|it| self.in_flight.settle(it))
            .collect()
    }
}
