//! Order through refusals: what a connection sends to a conversation is placed in the order in which it was sent, or not at all.
//!
//! A connection's commands to one conversation form a lane. Commands are submitted without waiting for each other, so when one is refused for
//! now, those behind it are already on their way: the orchestrator refuses them too, as the lane's generation says. The lane then stands still
//! until the earliest refused command comes again or is given up; each refused one in turn, then anything new. Once what stopped the lane has
//! come again the generation rises, so that the orchestrator lets it pass.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Most commands of a lane that are remembered as refused.
const MAX_REFUSED: usize = 256;
/// Lanes that are kept although nothing is outstanding in them, to spare their making anew.
const KEPT_IDLE: usize = 4;

/// Numbers lanes: unique among all connections that submit through the same gateway. Never 0, which is "no lane".
#[derive(Debug, Default)]
pub struct LaneIds(AtomicU64);

impl LaneIds {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What is done with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Admit {
    /// Submit it so.
    Admitted {
        /// `SubmitItem.lane`.
        lane: u64,
        /// `SubmitItem.lane_generation`.
        generation: u32,
    },
    /// Refuse it RETRY_IN_ORDER: this one comes first.
    RetryInOrder {
        /// The client id that has to come again, or be given up.
        refused_client_id: String,
    },
    /// Refuse it RESOURCE_EXHAUSTED and close the connection: there are too many lanes, or too many refused in this one, so this refusal is not
    /// remembered, and what was sent behind it would overtake it.
    Exhausted,
}

/// The lanes of one connection, each by its target: the conversation's id, also where a Send named the other user.
#[derive(Debug)]
pub struct Lanes {
    ids: Arc<LaneIds>,
    max_lanes: usize,
    lanes: HashMap<Box<str>, Lane>,
}

#[derive(Debug)]
struct Lane {
    id: u64,
    generation: u32,
    /// A command of this generation was refused for now, so the orchestrator refuses all of it.
    stopped: bool,
    /// Of the next command that comes for the first time.
    next_place: u64,
    in_flight: Vec<InFlight>,
    /// To come again, by the place in which they were first sent.
    refused: BTreeMap<u64, Box<str>>,
}

#[derive(Debug)]
struct InFlight {
    client_id: Box<str>,
    place: u64,
    generation: u32,
}

impl Lanes {
    /// Lanes for at most `max_lanes` conversations with something outstanding. Allocates nothing until the first command.
    pub fn new(ids: Arc<LaneIds>, max_lanes: usize) -> Self {
        Self {
            ids,
            max_lanes,
            lanes: HashMap::new(),
        }
    }

    /// Decides on a command that the client sends. `abandons` is the client id that it gives up, or empty.
    pub fn admit(&mut self, target: &str, client_id: &str, abandons: &str) -> Admit {
        if let Some(lane) = self.lanes.get_mut(target) {
            return lane.admit(client_id, abandons);
        }
        if self.lanes.len() >= self.max_lanes {
            self.lanes.retain(|_, lane| !lane.is_idle());
            if self.lanes.len() >= self.max_lanes {
                return Admit::Exhausted;
            }
        }
        let lane = Lane {
            id: self.ids.next(),
            generation: 1,
            stopped: false,
            next_place: 0,
            in_flight: Vec::new(),
            refused: BTreeMap::new(),
        };
        self.lanes
            .entry(target.into())
            .or_insert(lane)
            .admit(client_id, abandons)
    }

    /// A submitted command was refused. `retryable`: for now, RETRY_IN_ORDER included; else for good.
    pub fn on_refused(&mut self, target: &str, client_id: &str, retryable: bool) {
        if let Some(lane) = self.lanes.get_mut(target) {
            lane.settle(client_id, retryable);
        }
        self.tidy(target);
    }

    /// A submitted command has its place.
    pub fn on_placed(&mut self, target: &str, client_id: &str) {
        if let Some(lane) = self.lanes.get_mut(target) {
            lane.settle(client_id, false);
        }
        self.tidy(target);
    }

    /// Decides on a command that was submitted and whose receipt will not come, because the stream to the orchestrator ended. Ask in the order of
    /// submission, and submit again what is admitted: what stands behind a refused command is not, as the orchestrator may have forgotten that.
    pub fn resubmit(&mut self, target: &str, client_id: &str) -> Admit {
        match self.lanes.get_mut(target) {
            Some(lane) => lane.resubmit(client_id),
            None => self.admit(target, client_id, ""),
        }
    }

    /// An idle lane holds nothing back, so its next command may as well begin another.
    fn tidy(&mut self, target: &str) {
        if self.lanes.len() > KEPT_IDLE && self.lanes.get(target).is_some_and(Lane::is_idle) {
            self.lanes.remove(target);
        }
    }
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.refused.is_empty()
    }

    fn admit(&mut self, client_id: &str, abandons: &str) -> Admit {
        if !abandons.is_empty() {
            self.refused.retain(|_, refused| **refused != *abandons);
        }
        let Some((&first, earliest)) = self.refused.first_key_value() else {
            return self.submit(client_id, None);
        };
        if **earliest == *client_id {
            self.refused.pop_first();
            return self.submit(client_id, Some(first));
        }
        let refused_client_id = earliest.to_string();
        let known = self.refused.values().any(|it| **it == *client_id)
            || self.in_flight.iter().any(|it| *it.client_id == *client_id);
        if !known {
            if self.refused.len() >= MAX_REFUSED {
                return Admit::Exhausted;
            }
            let place = self.take_place();
            self.refused.insert(place, client_id.into());
        }
        Admit::RetryInOrder { refused_client_id }
    }

    fn submit(&mut self, client_id: &str, place: Option<u64>) -> Admit {
        if self.stopped {
            self.stopped = false;
            self.generation += 1;
        }
        let place = place.unwrap_or_else(|| self.take_place());
        self.in_flight.push(InFlight {
            client_id: client_id.into(),
            place,
            generation: self.generation,
        });
        Admit::Admitted {
            lane: self.id,
            generation: self.generation,
        }
    }

    /// Of a client id that is in flight twice, the earlier gets the receipt.
    fn settle(&mut self, client_id: &str, again: bool) {
        let Some(at) = self
            .in_flight
            .iter()
            .position(|it| *it.client_id == *client_id)
        else {
            return;
        };
        let settled = self.in_flight.remove(at);
        if !again {
            self.refused.retain(|_, refused| **refused != *client_id);
            return;
        }
        let stops = settled.generation == self.generation && !self.stopped;
        self.refuse(settled.place, &settled.client_id);
        if stops {
            self.stopped = true;
            // Receipts come in the order of decisions: what is still in flight stands behind the refused one, and will be refused for it.
            for behind in std::mem::take(&mut self.in_flight) {
                self.refuse(behind.place, &behind.client_id);
                self.in_flight.push(behind);
            }
        }
    }

    fn refuse(&mut self, place: u64, client_id: &str) {
        if !self.refused.values().any(|it| **it == *client_id) {
            self.refused.insert(place, client_id.into());
        }
    }

    fn resubmit(&mut self, client_id: &str) -> Admit {
        let at = self
            .in_flight
            .iter()
            .position(|it| *it.client_id == *client_id);
        let doomed = self.refused.values().any(|it| **it == *client_id);
        match (at, self.refused.values().next()) {
            (Some(at), Some(earliest)) if doomed => {
                self.in_flight.remove(at);
                Admit::RetryInOrder {
                    refused_client_id: earliest.to_string(),
                }
            }
            (Some(at), _) => {
                let generation = self
                    .in_flight
                    .get(at)
                    .map_or(self.generation, |it| it.generation);
                Admit::Admitted {
                    lane: self.id,
                    generation,
                }
            }
            (None, _) => self.admit(client_id, ""),
        }
    }

    fn take_place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }
}

#[cfg(test)]
mod tests;
