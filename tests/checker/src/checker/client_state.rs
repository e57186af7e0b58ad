//! What one client has of each conversation.

use hashbrown::HashMap;

use super::send_order::SendOrder;
use crate::record::{Client, SyncAnswer, Via};
use crate::seq_ranges::SeqRanges;

/// Messages of a sync whose head is not named: more are forgotten, no answer is as large.
const UNSETTLED: usize = 1_000;

/// [`View::hints`] after a hint.
const HINTED: u8 = 2;

/// One client's history, folded.
#[derive(Debug)]
pub(super) struct ClientState {
    pub(super) client: Client,
    pub(super) last_index: Option<u64>,
    pub(super) sends: SendOrder,
    /// By conversation.
    pub(super) views: HashMap<u32, View>,
    /// It declared that it stays online, and did.
    pub(super) online: bool,
    /// It claims that all its user's conversations are synced.
    pub(super) quiesced: bool,
    connections: u32,
    hinted_of_all: bool,
}

/// One client's view of one conversation.
#[derive(Debug, Default)]
pub(super) struct View {
    /// All that it got.
    pub(super) seen: SeqRanges,
    /// What it was told of, of its own accord by the server, since it declared to stay online. A hint also tells of what it has found by itself before.
    pub(super) pushed: SeqRanges,
    /// The highest floor that it was told, or 0.
    pub(super) floor: u64,
    /// What it needs nothing of: events up to here.
    pub(super) as_of: u64,
    /// The head when it declared to stay online.
    pub(super) online_from: u64,
    /// The claim at its end.
    pub(super) read_to: Option<u64>,
    /// Messages that came with their content by a sync whose end is not written yet.
    unsettled: Vec<u64>,
    /// How many more syncs a hint may have caused: the next to end may have been on its way when the hint came.
    hints: u8,
    connections: u32,
    /// The highest seq that it got from the store.
    stored: u64,
    /// The same, when the present connection began.
    stored_before_connection: u64,
}

impl View {
    fn hinted(&mut self) {
        self.hints = HINTED;
        self.pushed.clone_from(&self.seen);
    }
}

/// How the answer to a sync contradicts itself or what the client has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SyncFault {
    /// `to` lies below `from`.
    Backwards,
    /// This seq is missing.
    Skipped { seq: u64 },
    /// It holds this many events instead of its whole range.
    Count { expected: u64, got: u64 },
    /// The head lies below this seq, which the client had from the store before it connected or got by this answer.
    HeadBelow { seq: u64 },
}

impl ClientState {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            last_index: None,
            sends: SendOrder::default(),
            views: HashMap::new(),
            online: false,
            quiesced: false,
            connections: 0,
            hinted_of_all: false,
        }
    }

    pub(super) fn connection_changed(&mut self) {
        self.connections += 1;
        self.online = false;
        self.hinted_of_all = false;
        self.sends.connection_changed();
    }

    /// It is told of all that follows. What a hint before this makes it ask for, it was told of, too.
    pub(super) fn stays_online(&mut self) {
        self.online = true;
        for view in self.views.values_mut() {
            view.online_from = view.seen.max().unwrap_or(0).max(view.as_of);
            view.pushed = SeqRanges::default();
        }
    }

    /// A hint to sync everything.
    pub(super) fn hinted_of_all(&mut self) {
        self.hinted_of_all = true;
        for view in self.views.values_mut() {
            view.hinted();
        }
    }

    pub(super) fn view(&mut self, conversation: u32) -> &mut View {
        let hints = if self.hinted_of_all { HINTED } else { 0 };
        let view = self.views.entry(conversation).or_insert_with(|| View {
            hints,
            connections: self.connections,
            ..View::default()
        });
        if view.connections != self.connections {
            view.connections = self.connections;
            view.stored_before_connection = view.stored;
            view.hints = hints;
        }
        view
    }

    /// False if the client had the event already.
    pub(super) fn got(&mut self, conversation: u32, seq: u64, via: Via) -> bool {
        let online = self.online;
        let view = self.view(conversation);
        let pushed = match via {
            Via::Deliver | Via::OwnAck => true,
            Via::Sync | Via::History => view.hints > 0,
        };
        if online && pushed {
            view.pushed.insert(seq);
        }
        // A receipt may precede the store.
        if via != Via::OwnAck {
            view.stored = view.stored.max(seq);
        }
        view.seen.insert(seq)
    }

    /// A message came with its content by a sync.
    pub(super) fn shown(&mut self, conversation: u32, seq: u64) {
        let unsettled = &mut self.view(conversation).unsettled;
        if unsettled.len() < UNSETTLED {
            unsettled.push(seq);
        }
    }

    /// What came with its content by the sync that ends.
    pub(super) fn settle(&mut self, conversation: u32) -> Vec<u64> {
        std::mem::take(&mut self.view(conversation).unsettled)
    }

    pub(super) fn hinted(&mut self, conversation: u32) {
        self.view(conversation).hinted();
    }

    pub(super) fn synced(&mut self, conversation: u32, answer: &SyncAnswer) -> Option<SyncFault> {
        let view = self.view(conversation);
        // Below the head, more pages follow.
        if answer.to >= answer.head {
            view.hints = view.hints.saturating_sub(1);
        }
        if answer.to < answer.from {
            return Some(SyncFault::Backwards);
        }
        let start = answer.from.saturating_add(1).max(view.floor).max(1);
        if let Some(&(seq, _)) = view.seen.missing(start, answer.to).first() {
            return Some(SyncFault::Skipped { seq });
        }
        let expected = answer.to.saturating_add(1).saturating_sub(start);
        if let Some(got) = answer.events.filter(|&got| got != expected) {
            return Some(SyncFault::Count { expected, got });
        }
        let known = view.stored_before_connection.max(answer.to);
        // An empty answer says nothing of `from`, which may be the client's own receipt.
        let known = if answer.to == answer.from {
            view.stored_before_connection
        } else {
            known
        };
        (answer.head < known).then_some(SyncFault::HeadBelow { seq: known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> ClientState {
        ClientState::new(Client::new("t", "alice", "phone"))
    }

    fn answer(from: u64, to: u64, head: u64, events: Option<u64>) -> SyncAnswer {
        SyncAnswer {
            conversation: "c".into(),
            from,
            to,
            head,
            events,
        }
    }

    #[test]
    fn a_sync_must_hold_its_whole_range_above_the_floor() {
        let mut state = state();
        for seq in [5, 6, 8] {
            state.got(0, seq, Via::Sync);
        }
        assert_eq!(
            state.synced(0, &answer(0, 6, 8, None)),
            Some(SyncFault::Skipped { seq: 1 })
        );
        state.view(0).floor = 5;
        assert_eq!(state.synced(0, &answer(0, 6, 8, Some(2))), None);
        assert_eq!(
            state.synced(0, &answer(0, 6, 8, Some(1))),
            Some(SyncFault::Count {
                expected: 2,
                got: 1
            })
        );
        assert_eq!(
            state.synced(0, &answer(6, 8, 8, None)),
            Some(SyncFault::Skipped { seq: 7 })
        );
        assert_eq!(
            state.synced(0, &answer(6, 5, 8, None)),
            Some(SyncFault::Backwards)
        );
        assert_eq!(state.synced(0, &answer(8, 8, 8, Some(0))), None);
    }

    #[test]
    fn a_head_may_lag_behind_a_receipt_and_a_push_of_this_connection_only() {
        let mut state = state();
        state.got(0, 1, Via::Deliver);
        state.got(0, 2, Via::OwnAck);
        assert_eq!(state.synced(0, &answer(2, 2, 0, None)), None);
        state.connection_changed();
        assert_eq!(state.synced(0, &answer(2, 2, 1, None)), None);
        assert_eq!(
            state.synced(0, &answer(2, 2, 0, None)),
            Some(SyncFault::HeadBelow { seq: 1 })
        );
    }

    #[test]
    fn a_sync_counts_as_pushed_only_after_a_hint() {
        let mut state = state();
        state.stays_online();
        state.got(0, 1, Via::Sync);
        assert_eq!(state.view(0).pushed.ranges(), []);
        state.hinted(0);
        state.got(0, 2, Via::Sync);
        // On its way when the hint came.
        state.synced(0, &answer(1, 2, 2, None));
        state.got(0, 3, Via::Sync);
        state.synced(0, &answer(2, 3, 4, None));
        state.got(0, 4, Via::Sync);
        state.synced(0, &answer(3, 4, 4, None));
        state.got(0, 5, Via::Sync);
        assert_eq!(state.view(0).pushed.ranges(), [(1, 4)]);
    }

    #[test]
    fn a_hint_holds_beyond_the_moment_in_which_the_client_is_in_step() {
        let mut state = state();
        state.got(0, 1, Via::Sync);
        state.hinted(0);
        // On its way when the hint came.
        state.synced(0, &answer(1, 1, 1, Some(0)));
        state.stays_online();
        state.got(0, 2, Via::Sync);
        state.synced(0, &answer(1, 2, 2, Some(1)));
        state.got(0, 3, Via::Sync);
        assert_eq!(state.view(0).pushed.ranges(), [(2, 2)]);
    }

    #[test]
    fn a_hint_tells_of_what_was_found_before_it_and_not_of_what_is_found_later() {
        let mut state = state();
        state.stays_online();
        for seq in [1, 2] {
            state.got(0, seq, Via::Sync);
        }
        state.hinted_of_all();
        for seq in [2, 3] {
            state.synced(0, &answer(seq, seq, seq, Some(0)));
        }
        state.got(0, 3, Via::Sync);
        assert_eq!(state.view(0).pushed.ranges(), [(1, 2)]);
    }

    #[test]
    fn a_hint_for_all_covers_conversations_not_heard_of() {
        let mut state = state();
        state.stays_online();
        state.hinted_of_all();
        state.got(7, 1, Via::Sync);
        assert_eq!(state.view(7).pushed.ranges(), [(1, 1)]);
    }
}
