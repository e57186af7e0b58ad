//! Commands in hand, in a line for each sender and conversation: they are decided in the order of their arrival.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, minted_ms};

use super::{
    command::{Action, ActorKind, Command, Membership},
    decide::Outcome,
    memory::{IdDigest, IdsSeen, Memory, Named, OwnerHead},
    rules,
};

/// How far ahead of the server's clock a client id may be minted, and so how far an id's time lies before its event's at most.
const MINTED_AHEAD_MS: i64 = 30_000;

/// Whether something that only the store knows was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Not asked for.
    No,
    /// Asked for.
    Asked,
    /// The store does not have it.
    Absent,
}

/// How far the PreSend hooks of a command are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hooked {
    No,
    Asked,
    Passed,
}

/// A command in hand.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Rises with every command of the owner.
    pub(crate) arrival: u64,
    pub(crate) command: Command,
    pub(crate) id: IdDigest,
    /// The id is not in what the memory had then.
    pub(crate) ids_seen: IdsSeen,
    /// When the client id was minted, if it says so. Unix milliseconds.
    minted_ms: Option<i64>,
    pub(crate) id_read: Read,
    pub(crate) target_read: Read,
    pub(crate) hooked: Hooked,
    /// What counts against the bounds.
    pub(crate) bytes: usize,
}

impl Pending {
    pub(crate) fn new(arrival: u64, command: Command) -> Self {
        Self {
            arrival,
            id: command.id_key().digest().into(),
            ids_seen: IdsSeen::default(),
            minted_ms: minted_ms(&command.client_id),
            id_read: Read::No,
            target_read: Read::No,
            hooked: Hooked::No,
            bytes: command.size_bytes(),
            command,
        }
    }

    /// Whether only the store can tell if the id, which the memory does not have, was used. It cannot have been, if it was minted so
    /// late that its event would be in memory.
    pub(crate) fn lacks_id(&self, memory: &Memory) -> bool {
        self.id_read != Read::Absent
            && self
                .minted_ms
                .is_none_or(|it| it.saturating_sub(MINTED_AHEAD_MS) <= memory.horizon_ms())
    }

    /// Answers to what was asked for it may have come while it stood in no line: they are asked for again.
    pub(crate) fn ask_again(&mut self) {
        if self.id_read == Read::Asked {
            self.id_read = Read::No;
        }
        if self.target_read == Read::Asked {
            self.target_read = Read::No;
        }
        if self.hooked == Hooked::Asked {
            self.hooked = Hooked::No;
        }
    }

    /// Refuses an id that was minted too far ahead of an event of `now_ms`: what [`Self::lacks_id`] concludes rests on it.
    pub(crate) fn check_minted(&self, now_ms: i64) -> Result<(), Refusal> {
        check_minted(&self.command, self.minted_ms, now_ms)
    }

    /// Whether the message to take back must be read. Above the head there is none.
    pub(crate) fn lacks_target(&self, memory: &Memory, head: Option<&OwnerHead>, seq: u64) -> bool {
        let beyond = seq == 0 || head.is_some_and(|it| seq > it.seq);
        !beyond
            && self.target_read != Read::Absent
            && memory
                .message(&(self.command.conversation.clone(), seq))
                .is_none()
    }
}

/// Refuses a client id that was minted more than 30 s ahead of `now_ms`.
pub(crate) fn check_minted(
    command: &Command,
    minted_ms: Option<i64>,
    now_ms: i64,
) -> Result<(), Refusal> {
    let Some(minted) = minted_ms.filter(|it| *it > now_ms.saturating_add(MINTED_AHEAD_MS)) else {
        return Ok(());
    };
    let id = &command.client_id;
    let message =
        format!("client id {id:?} was minted at {minted} ms, the server's time is {now_ms} ms");
    Err(Refusal::new(ErrorCode::ClientIdInFuture, message)
        .with_field("client_id")
        .with_server_time(now_ms))
}

/// Whose line. A service's changes have a line of their own: they never wait for a user's hooks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LineKey {
    pub(crate) conversation: ConversationKey,
    pub(crate) sender: Arc<str>,
    pub(crate) service: bool,
}

impl LineKey {
    pub(crate) fn of(command: &Command) -> Self {
        Self {
            conversation: command.conversation.clone(),
            sender: Arc::clone(&command.actor.user),
            service: command.actor.kind == ActorKind::Service,
        }
    }
}

/// One sender's commands to one conversation.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) key: LineKey,
    pub(crate) queue: VecDeque<Pending>,
    /// Decided and not yet answered.
    pub(crate) in_flight: usize,
    /// Waits for its turn in the next group.
    pub(crate) scheduled: bool,
    /// The session's last answer.
    pub(crate) membership: Option<Membership>,
    /// How often the session was asked for an answer that is fresh enough; 0: it is not being asked.
    pub(crate) asked: u32,
    /// The store is asked for the head.
    pub(crate) awaits_head: bool,
}

impl Line {
    /// Where in the queue the command stands.
    pub(crate) fn position(&self, arrival: u64) -> Option<usize> {
        self.queue
            .binary_search_by_key(&arrival, |it| it.arrival)
            .ok()
    }
}

/// All lines of an owner.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: BTreeMap<u64, Line>,
    index: HashMap<LineKey, u64>,
    next_line: u64,
    next_arrival: u64,
    commands: usize,
    bytes: usize,
}

/// A command decided in the group in flight.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) line: u64,
    pub(crate) pending: Pending,
    pub(crate) outcome: Outcome,
}

impl Lines {
    /// Commands in hand, those in flight among them.
    pub(crate) fn commands(&self) -> usize {
        self.commands
    }

    /// Bytes of the commands in hand.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, line: u64) -> Option<&Line> {
        self.lines.get(&line)
    }

    /// What the session said of the line's sender, while the line lasts.
    pub(crate) fn membership(&self, key: &LineKey) -> Option<Membership> {
        self.lines.get(self.index.get(key)?)?.membership
    }

    pub(crate) fn get_mut(&mut self, line: u64) -> Option<&mut Line> {
        self.lines.get_mut(&line)
    }

    /// Puts a command at the end of its line; gives the line.
    pub(crate) fn push(
        &mut self,
        command: Command,
        known: impl FnOnce(&LineKey) -> Option<Membership>,
    ) -> u64 {
        let key = LineKey::of(&command);
        self.next_arrival += 1;
        let needs_membership = rules::needs_membership(&command);
        let pending = Pending::new(self.next_arrival, command);
        self.commands += 1;
        self.bytes += pending.bytes;
        let number = match self.index.get(&key) {
            Some(number) => *number,
            None => {
                self.next_line += 1;
                self.index.insert(key.clone(), self.next_line);
                self.lines.insert(
                    self.next_line,
                    Line {
                        membership: needs_membership.then(|| known(&key)).flatten(),
                        key,
                        queue: VecDeque::new(),
                        in_flight: 0,
                        scheduled: false,
                        asked: 0,
                        awaits_head: false,
                    },
                );
                self.next_line
            }
        };
        if let Some(line) = self.lines.get_mut(&number) {
            line.queue.push_back(pending);
        }
        number
    }

    /// Takes the first command of the line into a group.
    pub(crate) fn take_first(&mut self, line: u64) -> Option<Pending> {
        let line = self.lines.get_mut(&line)?;
        let first = line.queue.pop_front()?;
        line.in_flight += 1;
        Some(first)
    }

    /// Puts a command back that was taken, to be decided again.
    pub(crate) fn put_back(&mut self, line: u64, mut pending: Pending) {
        pending.ask_again();
        if let Some(line) = self.lines.get_mut(&line) {
            line.in_flight -= 1;
            line.queue.push_front(pending);
        }
    }

    /// A command that was taken is answered.
    pub(crate) fn answered(&mut self, line: u64, bytes: usize) {
        self.commands -= 1;
        self.bytes -= bytes;
        if let Some(line) = self.lines.get_mut(&line) {
            line.in_flight -= 1;
        }
    }

    /// Takes a command out that will not be decided.
    pub(crate) fn remove(&mut self, line: u64, position: usize) -> Option<Pending> {
        let gone = self.lines.get_mut(&line)?.queue.remove(position)?;
        self.commands -= 1;
        self.bytes -= gone.bytes;
        Some(gone)
    }

    /// Ends the line if nothing is left in it; gives what is worth remembering of it.
    pub(crate) fn close_if_empty(&mut self, number: u64) -> Option<(LineKey, Membership)> {
        let line = self.lines.get(&number)?;
        if !line.queue.is_empty() || line.in_flight > 0 {
            return None;
        }
        let line = self.lines.remove(&number)?;
        self.index.remove(&line.key);
        let membership = line.membership?;
        Some((line.key, membership))
    }

    /// The numbers of all lines, in the order in which they began.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.lines.keys().copied().collect()
    }

    /// The keys that commands in hand need.
    pub(crate) fn named(&self) -> Named {
        let mut named = Named::default();
        for line in self.lines.values() {
            named.heads.push(line.key.conversation.clone());
            for pending in &line.queue {
                named.ids.push(pending.id);
                if let Action::Recall { seq } = pending.command.action {
                    named.messages.push((line.key.conversation.clone(), seq));
                }
            }
        }
        named
    }
}
