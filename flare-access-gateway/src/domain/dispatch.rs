//! Commands by the partition of their conversation, and the ways to the partitions' owners: what goes where, and what waits, when owners change.
//!
//! A lane's commands are all of one partition, so a lane keeps its order as long as its partition does. A partition is bound to one way at a time, and
//! leaves it only when nothing of it is under way there: everything is answered, or was given back by an owner that was none any more. Then everything that
//! is open goes by the next way, from the first on. Where a way breaks, or does not answer, receipts may be lost: see [`InFlight::sent_in_company`].

mod part;
mod way;

use std::{collections::BTreeMap, sync::Arc};

use self::{part::Part, way::Way};
use super::in_flight::Sending;

/// How long a partition waits for what is under way to an owner that is none any more.
const HANDOVER_MS: u64 = 1_000;
/// A partition whose first command waits so long holds up others: see [`Dispatch::is_crowded`].
const STALLED_MS: u64 = 500;
/// The place of the partition in a correlation. Below it is room for what one gateway sends a partition in decades.
const PARTITION_SHIFT: u32 = 48;
/// Partitions that a correlation can name.
pub const MAX_PARTITIONS: u32 = 1 << (u64::BITS - PARTITION_SHIFT);

/// What is dispatched.
pub trait Item {
    /// The ordered lane that it belongs to.
    fn lane(&self) -> u64;
    /// A number that is the same for all of its conversation: modulo the partitions, it is the conversation's.
    fn place(&self) -> u64;
}

/// Where a partition's owner answers, as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The number of the owner's epoch.
    pub epoch: u64,
    /// The owner's endpoint.
    pub endpoint: Arc<str>,
}

/// What an answer says of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is placed, or refused for good, or nobody knows.
    Final,
    /// It is refused for now.
    Refused,
    /// It is refused because whoever was asked does not own its partition.
    NotOwner,
}

/// What is to be done.
#[derive(Debug)]
pub struct Todo<T> {
    /// Ways to be opened: their numbers, and where they lead.
    pub open: Vec<(u64, Arc<str>)>,
    /// Ways that are of no more use.
    pub close: Vec<u64>,
    /// Commands whose outcome nobody will know.
    pub unknown: Vec<T>,
}

/// The commands of a gateway that have no receipt.
#[derive(Debug)]
pub struct Dispatch<T> {
    /// One alone, that is nobody's, until it is known how many there are.
    parts: Vec<Part<T>>,
    is_partitioned: bool,
    ways: BTreeMap<u64, Way>,
    last_way: u64,
    /// In all parts.
    count: usize,
    /// How long a command waits for its receipt, at most.
    patience_ms: u64,
}

impl<T: Item> Dispatch<T> {
    /// Nothing waits. Every command expires after `patience_ms`.
    pub fn new(patience_ms: u64) -> Self {
        Self {
            parts: vec![Part::default()],
            is_partitioned: false,
            ways: BTreeMap::new(),
            last_way: 0,
            count: 0,
            patience_ms,
        }
    }

    /// The log has so many partitions. It is told once: a log does not change them.
    pub fn partition(&mut self, count: u32) {
        if std::mem::replace(&mut self.is_partitioned, true) {
            return;
        }
        // Nothing was sent yet, for nobody was known to send it to.
        let mut waiting = std::mem::take(&mut self.parts);
        self.parts.resize_with(count.max(1) as usize, Part::default);
        for part in &mut waiting {
            while let Some((item, deadline_ms)) = part.take_first() {
                self.put(item, deadline_ms);
            }
        }
    }

    /// Whether [`partition`](Self::partition) was told.
    pub fn is_partitioned(&self) -> bool {
        self.is_partitioned
    }

    /// A partition's owner, or that nobody is known to own it. A way that stands keeps its partition until there is another owner.
    pub fn owner(&mut self, partition: u32, told: Option<Told>, now_ms: u64) {
        let Some(part) = self.parts.get_mut(partition as usize) else {
            return;
        };
        part.told = told;
        let way = part.way.and_then(|it| self.ways.get(&it));
        part.hand_over(way, now_ms);
    }

    /// Takes a command that came at `at_ms`.
    pub fn push(&mut self, item: T, at_ms: u64) {
        self.count += 1;
        self.put(item, at_ms.saturating_add(self.patience_ms));
    }

    fn put(&mut self, item: T, deadline_ms: u64) {
        let at = partition_of(item.place(), self.parts.len());
        if let Some(part) = self.parts.get_mut(at) {
            part.in_flight.push(item, deadline_ms);
        }
    }

    /// How many more may be taken, if `max` may wait.
    pub fn room(&self, max: usize) -> usize {
        let places = self.parts.iter().map(|it| it.in_flight.room(max)).min();
        max.saturating_sub(self.count).min(places.unwrap_or(0))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the partition's commands take the room of others: it has got no receipt for a while, and half of the room for `max` is taken.
    pub fn is_crowded(&self, partition: u32, max: usize, now_ms: u64) -> bool {
        if self.parts.len() <= 1 || self.count < max / 2 {
            return false;
        }
        let part = self.parts.get(partition as usize);
        let deadline_ms = part.and_then(|it| it.in_flight.next_deadline_ms());
        // When it came, and a while.
        let stalled_ms = deadline_ms.map(|it| it.saturating_sub(self.patience_ms) + STALLED_MS);
        stalled_ms.is_some_and(|it| it <= now_ms)
    }

    /// The way that was to be opened stands.
    pub fn opened(&mut self, way: u64) {
        if let Some(way) = self.ways.get_mut(&way) {
            way.opened();
        }
    }

    /// The way has ended, or was not opened: receipts may be lost. Gives the commands whose outcome nobody will know.
    pub fn ended(&mut self, way: u64, now_ms: u64) -> Vec<T> {
        self.ways.remove(&way);
        let mut unknown = Vec::new();
        for part in self.parts.iter_mut().filter(|it| it.way == Some(way)) {
            unknown.append(&mut part.leave_open());
            part.leave_for_another(now_ms, false);
        }
        self.count -= unknown.len();
        unknown
    }

    /// Whether something is to be sent by the way.
    pub fn has_next(&self, way: u64) -> bool {
        self.ways.get(&way).is_some_and(Way::is_open)
            && self.parts.iter().any(|it| it.is_sending_by(way))
    }

    /// What is to be sent next by the way.
    pub fn send_next(&mut self, way: u64) -> Option<Sending<'_, T>> {
        if !self.ways.get(&way).is_some_and(Way::is_open) {
            return None;
        }
        let at = self.parts.iter().position(|it| it.is_sending_by(way))?;
        let part = self.parts.get_mut(at)?;
        let sending = part.in_flight.send_next()?;
        Some(Sending {
            correlation: (at as u64) << PARTITION_SHIFT | sending.correlation,
            ..sending
        })
    }

    /// An answer came by the way. Gives the command if it is to be told; not if it is to be sent again to another owner, nor if it is not open any more.
    ///
    /// Who is not the owner has decided nothing of what it refuses so, nor of what it refuses for now behind that.
    pub fn answered(
        &mut self,
        way: u64,
        correlation: u64,
        answer: Answer,
        now_ms: u64,
    ) -> Option<T> {
        let (at, correlation) = split(correlation);
        let part = self.parts.get_mut(at).filter(|it| it.way == Some(way))?;
        let is_given_back = match answer {
            Answer::NotOwner => true,
            Answer::Refused => part.is_disowned,
            Answer::Final => false,
        };
        if is_given_back {
            part.give_back(correlation);
            if let Some(way) = self.ways.get_mut(&way) {
                // Lanes stay broken where they were refused as long as the stream: no partition may go on by it.
                way.retire();
            }
            for part in self.parts.iter_mut().filter(|it| it.way == Some(way)) {
                part.hand_over_by(now_ms.saturating_add(HANDOVER_MS));
            }
            return None;
        }
        let item = part.in_flight.settle(correlation)?;
        part.had_receipt();
        self.count -= 1;
        Some(item)
    }

    /// The way's end of a partition says who owns it instead. It is tried at once where nothing better was told, but not again and again.
    pub fn hint(&mut self, correlation: u64, endpoint: &str) {
        if let Some(part) = self.parts.get_mut(split(correlation).0) {
            part.hint(endpoint);
        }
    }

    /// Takes out a command that is not to be sent.
    pub fn withdraw(&mut self, correlation: u64) -> Option<T> {
        let (at, correlation) = split(correlation);
        let item = self.parts.get_mut(at)?.in_flight.settle(correlation)?;
        self.count -= 1;
        Some(item)
    }

    /// A command whose time is over.
    pub fn expire(&mut self, now_ms: u64) -> Option<T> {
        let expired = self
            .parts
            .iter_mut()
            .find_map(|it| it.in_flight.expire(now_ms))?;
        self.count -= 1;
        Some(expired)
    }

    /// A command that is by no way, whatever its time.
    pub fn pop_unbound(&mut self) -> Option<T> {
        let mut unbound = self.parts.iter_mut().filter(|it| it.way.is_none());
        let item = unbound.find_map(|it| it.in_flight.pop())?;
        self.count -= 1;
        Some(item)
    }

    /// Any command.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.parts.iter_mut().find_map(|it| it.in_flight.pop())?;
        self.count -= 1;
        Some(item)
    }

    /// Moves partitions on: away from ways that they are to leave, and to those of their owners.
    pub fn sweep(&mut self, now_ms: u64) -> Todo<T> {
        let mut todo = Todo {
            open: Vec::new(),
            close: Vec::new(),
            unknown: Vec::new(),
        };
        for part in &mut self.parts {
            let Some(by_ms) = part.leaves_by_ms else {
                continue;
            };
            if part.in_flight.under_way() == 0 {
                part.leave_for_another(now_ms, false);
            } else if by_ms <= now_ms {
                // Whoever does not answer may still decide what it has: what goes by another way must not meet it there.
                if let Some(way) = part.way.and_then(|it| self.ways.get_mut(&it)) {
                    way.retire();
                }
                todo.unknown.append(&mut part.leave_open());
                part.leave_for_another(now_ms, true);
            }
        }
        self.count -= todo.unknown.len();
        self.leave_retired(now_ms);
        self.ways.retain(|number, way| {
            let stays = !way.is_retired() || self.parts.iter().any(|it| it.way == Some(*number));
            if !stays {
                todo.close.push(*number);
            }
            stays
        });
        self.bind(now_ms, &mut todo.open);
        todo
    }

    /// Who is bound to a retired way is to leave it.
    fn leave_retired(&mut self, now_ms: u64) {
        for part in &mut self.parts {
            let way = part.way.and_then(|it| self.ways.get(&it));
            if way.is_some_and(Way::is_retired) {
                part.hand_over_by(now_ms.saturating_add(HANDOVER_MS));
                if part.in_flight.under_way() == 0 {
                    part.leave_for_another(now_ms, false);
                }
            }
        }
    }

    fn bind(&mut self, now_ms: u64, open: &mut Vec<(u64, Arc<str>)>) {
        for part in &mut self.parts {
            let Some(endpoint) = part.wants(now_ms) else {
                continue;
            };
            // Where it was refused, its lanes stay broken until that way is gone.
            let left = part.left.filter(|it| self.ways.contains_key(it));
            if left.is_some_and(|it| {
                self.ways
                    .get(&it)
                    .is_some_and(|way| way.leads_to(&endpoint))
            }) {
                continue;
            }
            let usable = |way: &Way| !way.is_retired() && way.leads_to(&endpoint);
            let known = self.ways.iter().find(|(_, way)| usable(way));
            let number = known.map_or_else(
                || {
                    self.last_way += 1;
                    open.push((self.last_way, Arc::clone(&endpoint)));
                    self.last_way
                },
                |(number, _)| *number,
            );
            self.ways
                .entry(number)
                .or_insert_with(|| Way::to(Arc::clone(&endpoint)));
            part.bind(number, endpoint);
        }
    }

    /// When [`expire`](Self::expire) or [`sweep`](Self::sweep) has something to do that nobody else brings about.
    pub fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let of_part = |it: &Part<T>| {
            let deadline_ms = it.in_flight.next_deadline_ms();
            deadline_ms.into_iter().chain(it.next_ms(now_ms)).min()
        };
        self.parts.iter().filter_map(of_part).min()
    }

    /// Whether something is to go to the endpoint, or does.
    pub fn names(&self, endpoint: &str) -> bool {
        self.parts.iter().any(|it| it.names(endpoint))
            || self.ways.values().any(|it| it.leads_to(endpoint))
    }
}

fn split(correlation: u64) -> (usize, u64) {
    let at = usize::try_from(correlation >> PARTITION_SHIFT).unwrap_or(usize::MAX);
    (at, correlation & ((1 << PARTITION_SHIFT) - 1))
}

fn partition_of(place: u64, count: usize) -> usize {
    match count as u64 {
        0 | 1 => 0,
        count => usize::try_from(place % count).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
