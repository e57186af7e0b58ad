//! The gateway's part of the way: lanes of connections, ordered streams to the owners that it is told of, and what is sent again when one breaks or is none
//! any more. The types that decide are access-gateway's own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use flare_access_gateway::domain::{
    broken_lanes::BrokenLanes,
    dispatch::{Answer, Dispatch, Item, Told},
};
use flare_core::pending::{Admit, LaneIds, Lanes};
use flare_message_orchestrator::owner::{Command, Origin};
use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;

/// Conversations of a connection with something outstanding.
const MAX_LANES: usize = 10;
/// After this much time a command without a receipt is given up.
const PATIENCE_MS: u64 = 3_000;

/// A connection, as the server has it.
pub(crate) struct Link {
    /// Which of its user's.
    pub(crate) number: u64,
    lanes: Lanes,
    broken: BrokenLanes,
    outstanding: usize,
}

/// A command that the gateway has taken.
pub(crate) struct Taken {
    pub(crate) user: usize,
    connection: u64,
    command: Command,
    lane: u64,
    generation: u32,
}

impl Item for Taken {
    fn lane(&self) -> u64 {
        self.lane
    }

    /// There is one partition.
    fn place(&self) -> u64 {
        0
    }
}

/// A stream of commands to an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) seat: usize,
    pub(crate) life: u32,
    pub(crate) id: u64,
}

/// What the server makes of a frame.
pub(crate) enum Received {
    Taken,
    Refused(Refusal),
    /// And the connection ends.
    Closed(Refusal),
}

pub(crate) struct Gateway {
    links: Vec<Link>,
    lane_ids: Arc<LaneIds>,
    dispatch: Dispatch<Taken>,
    /// By way.
    streams: BTreeMap<u64, Stream>,
    /// The owner that it was told of.
    told: Option<Told>,
}

/// What came of the time and of the owners that were told.
#[derive(Default)]
pub(crate) struct Moved {
    /// Streams that are over, for their owners to forget.
    pub(crate) over: Vec<Stream>,
    /// Commands whose outcome nobody will know.
    pub(crate) open: Vec<Taken>,
    /// Streams to be begun: the ways, and the seats that they lead to.
    pub(crate) begin: Vec<(u64, usize)>,
}

impl Gateway {
    pub(crate) fn new(users: usize) -> Self {
        let lane_ids = Arc::<LaneIds>::default();
        let mut dispatch = Dispatch::new(PATIENCE_MS);
        dispatch.partition(1);
        Self {
            links: (0..users).map(|_| Link::new(&lane_ids, 1)).collect(),
            lane_ids,
            dispatch,
            streams: BTreeMap::new(),
            told: None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.dispatch.is_empty()
    }

    /// It is told that a seat owns the partition, or that nobody does.
    pub(crate) fn tell(&mut self, seat: Option<usize>, now_ms: u64) {
        let known = self.told.as_ref();
        let endpoint = seat.map(|it| it.to_string());
        if known.map(|it| &*it.endpoint) == endpoint.as_deref() {
            return;
        }
        self.told = endpoint.map(|it| Told {
            epoch: known.map_or(0, |it| it.epoch) + 1,
            endpoint: it.into(),
        });
        self.dispatch.owner(0, self.told.clone(), now_ms);
    }

    /// Whoever refused says which seat is the owner.
    pub(crate) fn hint(&mut self, correlation: u64, seat: usize) {
        self.dispatch.hint(correlation, &seat.to_string());
    }

    /// A frame came over the user's connection.
    pub(crate) fn receive(
        &mut self,
        user: usize,
        command: Command,
        abandons: &str,
        now_ms: u64,
    ) -> Received {
        let link = &mut self.links[user];
        let conversation = &command.conversation.conversation;
        match link.lanes.admit(conversation, &command.client_id, abandons) {
            Admit::Admitted { lane, generation } => {
                link.outstanding += 1;
                let taken = Taken {
                    user,
                    connection: link.number,
                    command,
                    lane,
                    generation,
                };
                self.dispatch.push(taken, now_ms);
                Received::Taken
            }
            Admit::RetryInOrder { .. } => Received::Refused(in_order()),
            Admit::Exhausted => {
                let why = "too many commands were refused and did not come again";
                Received::Closed(Refusal::new(ErrorCode::ResourceExhausted, why))
            }
        }
    }

    /// Moves on to the owner that was told.
    pub(crate) fn move_on(&mut self, now_ms: u64) -> Moved {
        let todo = self.dispatch.sweep(now_ms);
        let seat = |endpoint: Arc<str>| endpoint.parse().unwrap_or(usize::MAX);
        Moved {
            over: todo
                .close
                .iter()
                .filter_map(|it| self.streams.remove(it))
                .collect(),
            open: todo.unknown,
            begin: todo
                .open
                .into_iter()
                .map(|(way, it)| (way, seat(it)))
                .collect(),
        }
    }

    /// The stream of a way has begun.
    pub(crate) fn begin(&mut self, way: u64, stream: Stream) {
        self.streams.insert(way, stream);
        self.dispatch.opened(way);
    }

    /// The stream of a way did not begin, or is over. Gives it, for its owner to forget, and the commands whose outcome nobody will know.
    pub(crate) fn end(&mut self, way: u64, now_ms: u64) -> (Option<Stream>, Vec<Taken>) {
        (self.streams.remove(&way), self.dispatch.ended(way, now_ms))
    }

    /// The ways that stand, with their streams.
    pub(crate) fn ways(&self) -> Vec<(u64, Stream)> {
        self.streams.iter().map(|(way, it)| (*way, *it)).collect()
    }

    /// The way of a stream.
    pub(crate) fn way_of(&self, stream: u64) -> Option<u64> {
        let mut streams = self.streams.iter();
        streams.find(|(_, it)| it.id == stream).map(|(way, _)| *way)
    }

    /// Up to `count` commands for the way, and what is refused here because its lane is held.
    pub(crate) fn batch(
        &mut self,
        way: u64,
        count: usize,
    ) -> (Vec<Command>, Vec<(Taken, Refusal)>) {
        let (mut commands, mut held) = (Vec::new(), Vec::new());
        let Some(stream) = self.streams.get(&way) else {
            return (commands, Vec::new());
        };
        while commands.len() < count {
            let Some(sending) = self.dispatch.send_next(way) else {
                break;
            };
            let (correlation, taken) = (sending.correlation, sending.item);
            let link = &self.links[taken.user];
            if link.number == taken.connection && link.broken.holds(taken.lane, taken.generation) {
                held.push((correlation, sending.again));
                continue;
            }
            let mut command = taken.command.clone();
            command.origin = Origin {
                stream: stream.id,
                correlation,
                lane: taken.lane,
                lane_generation: taken.generation,
            };
            commands.push(command);
        }
        let held = held.into_iter().filter_map(|(correlation, again)| {
            let refusal = if again { no_receipt() } else { in_order() };
            Some((self.dispatch.withdraw(correlation)?, refusal))
        });
        (commands, held.collect())
    }

    /// The command of a receipt, if it is to be told.
    pub(crate) fn answered(
        &mut self,
        way: u64,
        correlation: u64,
        answer: Answer,
        now_ms: u64,
    ) -> Option<Taken> {
        self.dispatch.answered(way, correlation, answer, now_ms)
    }

    /// The first command whose time is over.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Option<Taken> {
        self.dispatch.expire(now_ms)
    }

    /// A taken command has its answer. The client id to tell it by, if its connection still stands.
    pub(crate) fn answer(&mut self, taken: &Taken, refusal: Option<&Refusal>) -> Option<Arc<str>> {
        let link = &mut self.links[taken.user];
        if link.number != taken.connection {
            return None;
        }
        let (id, target) = (&taken.command.client_id, &taken.command.conversation);
        match refusal {
            Some(refusal) => {
                if refusal.is_retryable() {
                    link.broken.break_up_to(taken.lane, taken.generation);
                }
                let retryable = refusal.is_retryable();
                link.lanes.on_refused(&target.conversation, id, retryable);
            }
            None => link.lanes.on_placed(&target.conversation, id),
        }
        link.outstanding -= 1;
        if link.outstanding == 0 {
            // Everything was answered: what comes from here on has a higher generation.
            link.broken.forget();
        }
        Some(Arc::clone(id))
    }

    /// The user's connection is gone; he has another.
    pub(crate) fn disconnected(&mut self, user: usize) {
        self.links[user] = Link::new(&self.lane_ids, self.links[user].number + 1);
    }
}

impl Link {
    fn new(lane_ids: &Arc<LaneIds>, number: u64) -> Self {
        Self {
            number,
            lanes: Lanes::new(Arc::clone(lane_ids), MAX_LANES),
            broken: BrokenLanes::default(),
            outstanding: 0,
        }
    }
}

/// The refusal of what stands behind a refused command.
fn in_order() -> Refusal {
    Refusal::new(
        ErrorCode::RetryInOrder,
        "an earlier command was refused: send that one again first",
    )
}

/// The refusal of what got no receipt in time.
pub(crate) fn no_receipt() -> Refusal {
    Refusal::new(ErrorCode::DeadlineExceeded, "no receipt in time")
        .with_retry_after(Duration::from_millis(500))
}
