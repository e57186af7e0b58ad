//! The gateway's part of the way: lanes of connections, one ordered stream to an owner, and what is sent again when that breaks. The types that
//! decide are access-gateway's own.

use std::{collections::HashSet, sync::Arc, time::Duration};

use flare_access_gateway::domain::{broken_lanes::BrokenLanes, in_flight::InFlight};
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

/// The stream of commands to an owner.
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
    in_flight: InFlight<Taken>,
    pub(crate) stream: Option<Stream>,
    /// Lanes whose first command without a receipt the stream's owner has refused as not its own.
    disowned: HashSet<u64>,
}

impl Gateway {
    pub(crate) fn new(users: usize) -> Self {
        let lane_ids = Arc::<LaneIds>::default();
        Self {
            links: (0..users).map(|_| Link::new(&lane_ids, 1)).collect(),
            lane_ids,
            in_flight: InFlight::default(),
            stream: None,
            disowned: HashSet::new(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(crate) fn has_next(&self) -> bool {
        self.in_flight.has_next()
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
                self.in_flight.push(taken, now_ms + PATIENCE_MS);
                Received::Taken
            }
            Admit::RetryInOrder { .. } => Received::Refused(in_order()),
            Admit::Exhausted => {
                let why = "too many commands were refused and did not come again";
                Received::Closed(Refusal::new(ErrorCode::ResourceExhausted, why))
            }
        }
    }

    /// A new stream: what has no receipt goes by it, in its order.
    pub(crate) fn begin(&mut self, stream: Stream) {
        self.stream = Some(stream);
        self.in_flight.rewind();
    }

    /// The stream is over. Gives it, for its owner to forget, and the commands whose outcome nobody will know.
    pub(crate) fn end(&mut self) -> (Option<Stream>, Vec<Taken>) {
        let Some(stream) = self.stream.take() else {
            return (None, Vec::new());
        };
        let disowned = std::mem::take(&mut self.disowned);
        let mut open = self.in_flight.sent_in_company(|it| it.lane);
        open.retain(|it| {
            let taken = self.in_flight.get(*it);
            taken.is_some_and(|taken| !disowned.contains(&taken.lane))
        });
        let open = open
            .into_iter()
            .filter_map(|it| self.in_flight.settle(it))
            .collect();
        (Some(stream), open)
    }

    /// The owner of the stream has refused this as not its own.
    pub(crate) fn disowned(&mut self, correlation: u64) {
        let lane = self.in_flight.get(correlation).map(|it| it.lane);
        self.disowned.extend(lane);
    }

    /// Up to `count` commands for the stream, and what is refused here because its lane is held.
    pub(crate) fn batch(&mut self, count: usize) -> (Vec<Command>, Vec<(Taken, Refusal)>) {
        let (mut commands, mut held) = (Vec::new(), Vec::new());
        let Some(stream) = self.stream else {
            return (commands, Vec::new());
        };
        while commands.len() < count {
            let Some(sending) = self.in_flight.send_next() else {
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
            Some((self.in_flight.settle(correlation)?, refusal))
        });
        (commands, held.collect())
    }

    /// The command of a receipt, if it still waits for one.
    pub(crate) fn settle(&mut self, correlation: u64) -> Option<Taken> {
        self.in_flight.settle(correlation)
    }

    /// The first command whose time is over.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Option<Taken> {
        self.in_flight.expire(now_ms)
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
