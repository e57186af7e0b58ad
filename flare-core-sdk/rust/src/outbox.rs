//! Commands that wait for their receipts: in order per conversation, bounded, sent again until they have one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::sync::oneshot;

use self::lane::Lane;
use crate::{
    draft::{Sent, Target},
    error::{Refusal, SendError},
    observer::Action,
    permits::Permit,
};

mod lane;

/// Where a command's outcome is told.
pub(crate) type Outcome = oneshot::Sender<Result<Sent, SendError>>;

/// A message or operation on its way.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) target: Target,
    pub(crate) action: Action,
    /// Given by the caller, or made when it is first sent.
    pub(crate) client_id: Option<String>,
    pub(crate) trace_id: String,
    pub(crate) deadline_ms: u64,
    /// `None` once its caller has been told that it was given up.
    pub(crate) outcome: Option<Outcome>,
    /// Its share of the outbox's bound.
    pub(crate) _permit: Permit,
}

/// A command in the outbox.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) command: Command,
    /// The conversation, as far as it is known: the order that is kept.
    lane: Target,
    in_flight: bool,
    /// It has left, on this connection or an earlier one.
    pub(crate) was_sent: bool,
    /// A connection ended while it was in flight, or nobody knew what became of it: it may be stored.
    is_uncertain: bool,
    /// The answer to its last leaving; `None` while there is none.
    refused: Option<Refusal>,
    /// This connection's server lets none pass it until it comes again or is given up.
    is_awaited: bool,
    /// The client made its id.
    pub(crate) is_id_ours: bool,
    /// How often that id was replaced.
    pub(crate) reminted: u8,
}

impl Entry {
    /// Its client id; empty before it was first sent.
    pub(crate) fn client_id(&self) -> &str {
        self.command.client_id.as_deref().unwrap_or_default()
    }

    /// What is told to a caller who waits no longer.
    pub(crate) fn failure(&self, why: &str) -> SendError {
        let client_id = self.client_id().to_owned();
        match &self.refused {
            Some(refusal) if !self.is_uncertain => SendError::Refused {
                client_id,
                refusal: refusal.clone(),
            },
            _ if self.was_sent => SendError::Unknown {
                client_id,
                why: why.to_owned(),
            },
            _ => SendError::NotSent {
                why: why.to_owned(),
            },
        }
    }

    /// Tells the caller, if he waits.
    pub(crate) fn tell(&mut self, outcome: Result<Sent, SendError>) {
        if let Some(waiting) = self.command.outcome.take() {
            // He may have dropped his end: it is sent all the same.
            let _ = waiting.send(outcome);
        }
    }
}

/// What a refusal leads to.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It is tried again.
    Again,
    /// It is out of the outbox.
    Final(Box<Entry>),
    /// Its caller had given it up; it is out of the outbox, and the server is told so by a later command.
    Abandoned(String),
}

/// All commands without a receipt.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// By their order.
    entries: BTreeMap<u64, Entry>,
    next_key: u64,
    deadlines: BTreeSet<(u64, u64)>,
    lanes: HashMap<Target, Lane>,
    /// The direct conversations of users, as receipts have told.
    direct: HashMap<String, String>,
    in_flight: usize,
    pub(crate) max_in_flight: usize,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            next_key: 0,
            deadlines: BTreeSet::new(),
            lanes: HashMap::new(),
            direct: HashMap::new(),
            in_flight: 0,
            max_in_flight: flare_core::pending::DEFAULT_MAX_UNACKED,
        }
    }

    pub(crate) fn push(&mut self, command: Command) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        let lane = match &command.target {
            Target::User(user) => self.direct.get(user).map_or_else(
                || command.target.clone(),
                |id| Target::Conversation(id.clone()),
            ),
            Target::Conversation(_) => command.target.clone(),
        };
        self.lanes.entry(lane.clone()).or_default().entries += 1;
        self.deadlines.insert((command.deadline_ms, key));
        let entry = Entry {
            is_id_ours: command.client_id.is_none(),
            command,
            lane,
            in_flight: false,
            was_sent: false,
            is_uncertain: false,
            refused: None,
            is_awaited: false,
            reminted: 0,
        };
        self.entries.insert(key, entry);
        key
    }

    /// The next command that may leave.
    pub(crate) fn next(&self, now_ms: u64) -> Option<u64> {
        if self.in_flight >= self.max_in_flight.max(1) {
            return None;
        }
        let mut held: Vec<&Target> = Vec::new();
        for (key, entry) in &self.entries {
            if entry.in_flight || held.contains(&&entry.lane) {
                continue;
            }
            if self
                .lanes
                .get(&entry.lane)
                .is_some_and(|it| it.lets_pass(now_ms))
            {
                return Some(*key);
            }
            // Few lanes are held at a time; beyond that, looking at the lane again is as cheap.
            if held.len() < 8 {
                held.push(&entry.lane);
            }
        }
        None
    }

    pub(crate) fn entry(&mut self, key: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&key)
    }

    /// A command leaves. Gives the client id that it has to declare as given up, if any.
    pub(crate) fn leave(&mut self, key: u64) -> Option<String> {
        let entry = self.entries.get_mut(&key)?;
        entry.in_flight = true;
        entry.was_sent = true;
        entry.refused = None;
        entry.is_awaited = false;
        self.in_flight += 1;
        let lane = self.lanes.entry(entry.lane.clone()).or_default();
        lane.in_flight += 1;
        if lane.stalled {
            lane.stalled = false;
            lane.probing = true;
        }
        lane.abandoned.pop_front()
    }

    /// A receipt came.
    pub(crate) fn placed(&mut self, key: u64, conversation_id: &str) -> Option<Entry> {
        let entry = self.remove(key)?;
        if let Some(lane) = self.lanes.get_mut(&entry.lane) {
            lane.placed();
        }
        self.tidy(&entry.lane);
        if let Target::User(user) = &entry.command.target {
            self.learn(user, conversation_id);
        }
        Some(entry)
    }

    /// A refusal came. `chance`, between 0 and 1, spreads the pause where the server names none.
    pub(crate) fn refused(
        &mut self,
        key: u64,
        refusal: &Refusal,
        now_ms: u64,
        chance: f64,
    ) -> Option<Refused> {
        let entry = self.entries.get(&key)?;
        if !refusal.is_retryable() {
            let entry = self.remove(key)?;
            if let Some(lane) = self.lanes.get_mut(&entry.lane) {
                lane.probing = false;
            }
            self.tidy(&entry.lane);
            return Some(Refused::Final(Box::new(entry)));
        }
        let is_given_up = entry.command.outcome.is_none();
        let lane_name = entry.lane.clone();
        if let Some(lane) = self.lanes.get_mut(&lane_name) {
            lane.stall(refusal, now_ms, chance);
        }
        if is_given_up {
            let entry = self.remove(key)?;
            let client_id = entry.client_id().to_owned();
            if let Some(lane) = self.lanes.get_mut(&lane_name) {
                lane.abandoned.push_back(client_id.clone());
            }
            return Some(Refused::Abandoned(client_id));
        }
        self.come_back(key, Some(refusal.clone()));
        Some(Refused::Again)
    }

    /// Its id, which the client made, was refused, so nothing is stored under it: it leaves again under another one.
    pub(crate) fn rename(&mut self, key: u64) {
        self.come_back(key, None);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.command.client_id = None;
            entry.was_sent = false;
            entry.is_uncertain = false;
            entry.reminted += 1;
        }
    }

    fn come_back(&mut self, key: u64, refusal: Option<Refusal>) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        entry.is_awaited = refusal.is_some();
        entry.is_uncertain |= refusal.as_ref().is_some_and(Refusal::leaves_open);
        entry.refused = refusal;
        if std::mem::take(&mut entry.in_flight) {
            self.in_flight -= 1;
            if let Some(lane) = self.lanes.get_mut(&entry.lane) {
                lane.in_flight -= 1;
            }
        }
    }

    /// The connection is gone: what was in flight leaves again on the next one, in the same order.
    pub(crate) fn disconnected(&mut self) {
        let given_up: Vec<u64> = self
            .entries
            .iter()
            .filter(|(_, it)| it.command.outcome.is_none())
            .map(|(key, _)| *key)
            .collect();
        for key in given_up {
            self.remove(key);
        }
        for entry in self.entries.values_mut() {
            entry.is_uncertain |= std::mem::take(&mut entry.in_flight);
            entry.is_awaited = false;
        }
        self.in_flight = 0;
        self.lanes.values_mut().for_each(Lane::disconnected);
        self.lanes.retain(|_, lane| lane.entries > 0);
    }

    /// Gives up the commands whose deadline has passed; `trouble` is what keeps the client from its server. Gives the client ids that the server waits for.
    pub(crate) fn expire(&mut self, now_ms: u64, trouble: Option<&str>) -> Vec<String> {
        let mut abandoned = Vec::new();
        let why = trouble.map_or_else(
            || "no receipt before its deadline".to_owned(),
            |it| format!("no connection before its deadline: {it}"),
        );
        while let Some(&(deadline, key)) = self.deadlines.first() {
            if deadline > now_ms {
                break;
            }
            abandoned.extend(self.give_up(key, &why));
        }
        abandoned
    }

    /// Stops trying. What is in flight stays until it is answered, so that its place in the order is known. Gives the client id if the server waits for it.
    pub(crate) fn give_up(&mut self, key: u64, why: &str) -> Option<String> {
        let entry = self.entries.get_mut(&key)?;
        let failure = entry.failure(why);
        entry.tell(Err(failure));
        self.deadlines.remove(&(entry.command.deadline_ms, key));
        if entry.in_flight {
            return None;
        }
        let entry = self.remove(key)?;
        let lane = self.lanes.get_mut(&entry.lane)?;
        if !entry.is_awaited {
            self.tidy(&entry.lane);
            return None;
        }
        lane.abandoned.push_back(entry.client_id().to_owned());
        Some(entry.client_id().to_owned())
    }

    /// The key of a command that its caller names by client id.
    pub(crate) fn find(&self, client_id: &str) -> Option<u64> {
        self.entries
            .iter()
            .find(|(_, it)| it.command.client_id.as_deref() == Some(client_id))
            .map(|(key, _)| *key)
    }

    /// When something is due at the latest, by a deadline or a lane's pause.
    pub(crate) fn wake_at(&self, now_ms: u64) -> Option<u64> {
        let deadline = self.deadlines.first().map(|it| it.0);
        let pause = self
            .lanes
            .values()
            .filter(|it| it.entries > it.in_flight && it.not_before_ms > now_ms)
            .map(|it| it.not_before_ms)
            .min();
        deadline.into_iter().chain(pause).min()
    }

    /// The client ends: nobody waits any longer.
    pub(crate) fn end(&mut self, why: &str) {
        for entry in self.entries.values_mut() {
            let failure = entry.failure(why);
            entry.tell(Err(failure));
        }
        *self = Self::new();
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.deadlines.remove(&(entry.command.deadline_ms, key));
        if entry.in_flight {
            self.in_flight -= 1;
        }
        if let Some(lane) = self.lanes.get_mut(&entry.lane) {
            lane.entries -= 1;
            lane.in_flight -= usize::from(entry.in_flight);
        }
        Some(entry)
    }

    /// A lane with nothing in it is kept only while the server waits for something.
    fn tidy(&mut self, lane: &Target) {
        if self
            .lanes
            .get(lane)
            .is_some_and(|it| it.entries == 0 && it.abandoned.is_empty())
        {
            self.lanes.remove(lane);
        }
    }

    /// A user's direct conversation is known: both ways to name it are one order.
    fn learn(&mut self, user: &str, conversation_id: &str) {
        let (from, to) = (Target::user(user), Target::conversation(conversation_id));
        if self.direct.get(user).map(String::as_str) != Some(conversation_id) {
            self.direct
                .insert(user.to_owned(), conversation_id.to_owned());
        }
        let Some(old) = self.lanes.remove(&from) else {
            return;
        };
        for entry in self.entries.values_mut().filter(|it| it.lane == from) {
            entry.lane = to.clone();
        }
        self.lanes.entry(to.clone()).or_default().merge(old);
        self.tidy(&to);
    }
}

#[cfg(test)]
mod tests;
