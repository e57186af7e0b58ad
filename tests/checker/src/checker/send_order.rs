//! The order in which one client sent, against the order in which the server kept.
//!
//! Each send gets the next position. A command may have been sent several times, so its place among the others is an
//! interval of positions; two commands are ordered only where their intervals do not overlap. A server that keeps order
//! gives the later of two such commands the higher seq.

mod lane;

use hashbrown::HashMap;

use self::lane::Lane;
use super::intents::{Meant, TargetId};
use crate::interner::TextId;

/// A command without an answer, or refused with leave to retry.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) meant: Meant,
    /// Two contents are on the way under this client id.
    pub(super) ambiguous: bool,
    /// The first send of all; 0 if the command was answered before and its first send is forgotten.
    first_ever: u64,
    /// The first send since it was last answered for good: its place among the commands that wait.
    began: u64,
    /// The first send after the last refusal; `None` if refused and not sent again.
    first: Option<u64>,
    last: u64,
}

/// A retryable refusal: from its position on, later sends to that conversation are to be refused. What stood before it comes before it again.
#[derive(Debug)]
struct Refusal {
    client_id: TextId,
    target: TargetId,
    began: u64,
    position: u64,
    /// Where the command came again or was given up.
    until: u64,
}

/// How an answer breaks the order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OrderFault {
    /// The seq lies on the wrong side of this seq of the same client.
    Swapped { other_seq: u64 },
    /// Acked, though this command was refused before and had not come again.
    Overtook { refused: TextId },
    /// Refused, though a later send of the same connection had been acked.
    Overtaken,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SendOrder {
    position: u64,
    /// All sends up to here are answered.
    settled: u64,
    pending: HashMap<TextId, Pending>,
    lanes: HashMap<u32, Lane>,
    refusals: Vec<Refusal>,
}

impl SendOrder {
    /// Refusals below this many are not pruned.
    const PRUNE_AT: usize = 256;

    /// The command leaves, for the first time or again. `known` if it was meant before.
    pub(super) fn sent(&mut self, client_id: TextId, meant: Meant, known: bool) {
        self.position += 1;
        let position = self.position;
        self.release(client_id);
        match self.pending.get_mut(&client_id) {
            Some(pending) => {
                pending.ambiguous |= pending.meant.body != meant.body;
                pending.meant = meant;
                pending.first.get_or_insert(position);
                pending.last = position;
            }
            None => {
                let first_ever = if known { 0 } else { position };
                let pending = Pending {
                    meant,
                    ambiguous: false,
                    first_ever,
                    began: position,
                    first: Some(position),
                    last: position,
                };
                self.pending.insert(client_id, pending);
            }
        }
    }

    /// The command is given up: later sends no longer wait for it.
    pub(super) fn abandoned(&mut self, client_id: TextId) {
        self.position += 1;
        self.release(client_id);
        self.pending.remove(&client_id);
        self.settle();
    }

    fn release(&mut self, client_id: TextId) {
        for refusal in &mut self.refusals {
            if refusal.client_id == client_id && refusal.until == u64::MAX {
                refusal.until = self.position;
            }
        }
    }

    /// Refusals bind the connection that met them.
    pub(super) fn connection_changed(&mut self) {
        self.refusals.clear();
    }

    pub(super) fn pending(&self, client_id: TextId) -> Option<&Pending> {
        self.pending.get(&client_id)
    }

    /// Sends that nobody answered, or that were refused and never came again.
    pub(super) fn unanswered(&self) -> u64 {
        self.pending
            .values()
            .filter(|pending| pending.first.is_some())
            .count() as u64
    }

    /// The command was refused. `blocks`: later sends must wait for it. `lane` is its conversation, if known.
    pub(super) fn refused(
        &mut self,
        client_id: TextId,
        retryable: bool,
        blocks: bool,
        lane: Option<u32>,
    ) -> Option<OrderFault> {
        if !retryable {
            self.pending.remove(&client_id);
            self.settle();
            return None;
        }
        let pending = self.pending.get_mut(&client_id)?;
        let first = pending.first.take();
        if !blocks {
            return None;
        }
        let (target, position) = (pending.meant.target, pending.last);
        let began = pending.began;
        // If several copies are on the way, nobody knows which was refused: only then may others lie between them.
        let overtaken = first == Some(position)
            && lane
                .and_then(|lane| self.lanes.get(&lane))
                .is_some_and(|lane| lane.newest > position);
        self.refusals.push(Refusal {
            client_id,
            target,
            began,
            position,
            until: u64::MAX,
        });
        if self.refusals.len() >= Self::PRUNE_AT {
            let (oldest, _) = oldest_open(&self.pending, self.position);
            self.refusals.retain(|refusal| refusal.until > oldest);
        }
        overtaken.then_some(OrderFault::Overtaken)
    }

    /// The command was acked with `seq` in the conversation `lane`.
    pub(super) fn acked(
        &mut self,
        client_id: TextId,
        lane: u32,
        seq: u64,
        duplicate: bool,
        in_lane: impl Fn(TargetId) -> bool,
    ) -> Option<OrderFault> {
        let pending = self.pending.remove(&client_id)?;
        // A receipt that is not new may stem from any earlier send, even one that was refused for its lack of an answer.
        let first = if duplicate {
            pending.first_ever
        } else {
            pending.first.unwrap_or(pending.last)
        };
        let last = pending.last;
        let settled = self.settled;
        let lane = self.lanes.entry(lane).or_default();
        let overtook = self
            .refusals
            .iter()
            .find(|refusal| {
                !duplicate
                    && refusal.position < first
                    && refusal.began < pending.began
                    && last < refusal.until
                    && refusal.client_id != client_id
                    && in_lane(refusal.target)
            })
            .map(|refusal| OrderFault::Overtook {
                refused: refusal.client_id,
            });
        let swapped = lane
            .place(first, last, seq, settled)
            .map(|other_seq| OrderFault::Swapped { other_seq });
        if !duplicate {
            lane.newest = lane.newest.max(first);
        }
        lane.touched = self.position;
        if lane.is_long() {
            let (first, last) = oldest_open(&self.pending, self.position);
            lane.prune(first, last);
        }
        self.settle();
        overtook.or(swapped)
    }

    fn settle(&mut self) {
        if self.pending.is_empty() {
            self.settled = self.position;
            let position = self.position;
            self.refusals.retain(|refusal| refusal.until > position);
        }
    }
}

/// The lowest first and the lowest last position of the sends that wait for an answer.
fn oldest_open(pending: &HashMap<TextId, Pending>, position: u64) -> (u64, u64) {
    let open = pending
        .values()
        .filter_map(|pending| Some((pending.first?, pending.last)));
    open.fold((position, position), |(first, last), (a, b)| {
        (first.min(a), last.min(b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    const MEANT: Meant = Meant {
        client: 0,
        tenant: 0,
        sender: 0,
        target: TargetId::Conversation(0),
        body: 0,
        kind: Kind::Message,
    };

    fn sends(ids: impl IntoIterator<Item = TextId>) -> SendOrder {
        let mut order = SendOrder::default();
        for id in ids {
            order.sent(id, MEANT, false);
        }
        order
    }

    fn ack(order: &mut SendOrder, id: TextId, seq: u64) -> Option<OrderFault> {
        order.acked(id, 0, seq, false, |_| true)
    }

    #[test]
    fn acks_may_arrive_in_any_order_as_long_as_the_seqs_rise_with_the_sends() {
        let mut order = sends(1..=4);
        for (id, seq) in [(3, 30), (1, 10), (4, 40), (2, 20)] {
            assert_eq!(ack(&mut order, id, seq), None);
        }
    }

    #[test]
    fn a_lower_seq_for_a_later_send_is_found_from_either_side() {
        let mut order = sends(1..=2);
        assert_eq!(ack(&mut order, 1, 20), None);
        assert_eq!(
            ack(&mut order, 2, 10),
            Some(OrderFault::Swapped { other_seq: 20 })
        );
        let mut order = sends(1..=2);
        assert_eq!(ack(&mut order, 2, 10), None);
        assert_eq!(
            ack(&mut order, 1, 20),
            Some(OrderFault::Swapped { other_seq: 10 })
        );
    }

    #[test]
    fn a_lower_seq_is_found_after_everything_was_answered() {
        let mut order = sends(1..=2);
        assert_eq!(ack(&mut order, 1, 10), None);
        assert_eq!(ack(&mut order, 2, 20), None);
        order.sent(3, MEANT, false);
        assert_eq!(
            ack(&mut order, 3, 15),
            Some(OrderFault::Swapped { other_seq: 20 })
        );
    }

    #[test]
    fn what_stood_before_a_refused_command_comes_before_it_again() {
        let mut order = sends(1..=3);
        assert_eq!(order.refused(2, true, true, Some(0)), None);
        assert_eq!(order.refused(1, true, false, Some(0)), None);
        assert_eq!(order.refused(3, true, false, Some(0)), None);
        order.sent(1, MEANT, true);
        assert_eq!(ack(&mut order, 1, 5), None);
        order.sent(3, MEANT, true);
        assert_eq!(
            ack(&mut order, 3, 6),
            Some(OrderFault::Overtook { refused: 2 })
        );
    }

    #[test]
    fn commands_sent_several_times_are_not_ordered_where_they_overlap() {
        let mut order = sends([1, 2, 1]);
        assert_eq!(ack(&mut order, 2, 5), None);
        assert_eq!(ack(&mut order, 1, 6), None);
    }

    #[test]
    fn what_is_answered_is_forgotten_but_for_its_highest_seq() {
        let mut order = sends([1]);
        for id in 2..10_000 {
            order.sent(id, MEANT, false);
            assert_eq!(ack(&mut order, id, u64::from(id)), None);
        }
        order.refused(1, false, false, None);
        order.sent(10_001, MEANT, false);
        order.sent(10_002, MEANT, false);
        assert_eq!(ack(&mut order, 10_001, 10_001), None);
        assert!(order.lanes[&0].len() <= 2);
        assert_eq!(
            ack(&mut order, 10_002, 9_000),
            Some(OrderFault::Swapped { other_seq: 10_001 })
        );
    }

    #[test]
    fn a_pipeline_that_never_empties_keeps_little() {
        let mut order = sends(1..=32);
        for id in 33..20_000 {
            order.sent(id, MEANT, false);
            assert_eq!(ack(&mut order, id - 32, u64::from(id)), None);
        }
        assert!(order.lanes[&0].len() <= 2 * SendOrder::PRUNE_AT);
        assert_eq!(
            ack(&mut order, 19_999, 7),
            Some(OrderFault::Swapped { other_seq: 19_999 })
        );
    }

    #[test]
    fn a_refusal_holds_back_what_was_sent_after_it_until_it_comes_again() {
        let mut order = sends([1, 2]);
        assert_eq!(order.refused(1, true, true, Some(0)), None);
        assert_eq!(
            ack(&mut order, 2, 5),
            Some(OrderFault::Overtook { refused: 1 })
        );

        let mut order = sends([1, 2]);
        order.refused(1, true, true, Some(0));
        order.refused(2, true, false, Some(0));
        order.sent(1, MEANT, true);
        order.sent(2, MEANT, true);
        assert_eq!(ack(&mut order, 1, 5), None);
        assert_eq!(ack(&mut order, 2, 6), None);
    }

    #[test]
    fn a_refusal_after_the_ack_of_a_later_send_is_found() {
        let mut order = sends([1, 2]);
        assert_eq!(ack(&mut order, 2, 5), None);
        assert_eq!(
            order.refused(1, true, true, Some(0)),
            Some(OrderFault::Overtaken)
        );
    }

    #[test]
    fn giving_up_or_a_new_connection_lifts_a_refusal() {
        let mut order = sends([1]);
        order.refused(1, true, true, Some(0));
        order.abandoned(1);
        order.sent(2, MEANT, false);
        assert_eq!(ack(&mut order, 2, 5), None);

        let mut order = sends([1]);
        order.refused(1, true, true, Some(0));
        order.connection_changed();
        order.sent(2, MEANT, false);
        assert_eq!(ack(&mut order, 2, 5), None);
    }

    #[test]
    fn a_duplicate_may_stem_from_a_send_that_was_refused() {
        let mut order = sends([1]);
        order.refused(1, true, true, None);
        order.connection_changed();
        order.sent(2, MEANT, false);
        assert_eq!(ack(&mut order, 2, 5), None);
        order.sent(1, MEANT, true);
        assert_eq!(order.acked(1, 0, 4, true, |_| true), None);
    }
}
