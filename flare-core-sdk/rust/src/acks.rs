//! What the consumer is done with, on its way to the server: cumulative, gathered for a moment.

use std::collections::BTreeMap;

use flare_core::check::MAX_ACK_POSITIONS;
use flare_proto::client::{Ack, Position};

/// Positions that the server has not been told, or may not have heard.
#[derive(Debug)]
pub(crate) struct Acks {
    delay_ms: u64,
    unsent: BTreeMap<String, u64>,
    due_ms: Option<u64>,
    /// Told on this connection. No answer says that they arrived, so the next connection tells them again.
    told: BTreeMap<String, u64>,
}

impl Acks {
    pub(crate) fn new(delay_ms: u64) -> Self {
        Self {
            delay_ms,
            unsent: BTreeMap::new(),
            due_ms: None,
            told: BTreeMap::new(),
        }
    }

    pub(crate) fn consumed(&mut self, positions: BTreeMap<String, u64>, now_ms: u64) {
        for (conversation_id, seq) in positions {
            let unsent = self.unsent.entry(conversation_id).or_default();
            *unsent = seq.max(*unsent);
        }
        if !self.unsent.is_empty() && self.due_ms.is_none() {
            self.due_ms = Some(now_ms + self.delay_ms);
        }
    }

    pub(crate) fn disconnected(&mut self) {
        for (conversation_id, seq) in std::mem::take(&mut self.told) {
            let unsent = self.unsent.entry(conversation_id).or_default();
            *unsent = seq.max(*unsent);
        }
        self.due_ms = (!self.unsent.is_empty()).then_some(0);
    }

    /// The next frame, if it is due.
    pub(crate) fn next(&mut self, now_ms: u64) -> Option<Ack> {
        if self.due_ms? > now_ms {
            return None;
        }
        let mut positions = Vec::new();
        while positions.len() < MAX_ACK_POSITIONS
            && let Some((conversation_id, seq)) = self.unsent.pop_first()
        {
            self.told.insert(conversation_id.clone(), seq);
            positions.push(Position {
                conversation_id,
                seq,
            });
        }
        if self.unsent.is_empty() {
            self.due_ms = None;
        }
        (!positions.is_empty()).then_some(Ack { positions })
    }

    /// All that is unsent is due.
    pub(crate) fn hurry(&mut self) {
        self.due_ms = (!self.unsent.is_empty()).then_some(0);
    }

    pub(crate) fn wake_at(&self, now_ms: u64) -> Option<u64> {
        self.due_ms.filter(|it| *it > now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs
            .iter()
            .map(|(id, seq)| ((*id).to_owned(), *seq))
            .collect()
    }

    #[test]
    fn positions_are_gathered_and_the_highest_counts() {
        let mut acks = Acks::new(200);
        acks.consumed(positions(&[("a", 3)]), 1_000);
        acks.consumed(positions(&[("a", 7), ("b", 1)]), 1_100);
        assert_eq!(acks.next(1_199), None);
        assert_eq!(acks.wake_at(1_199), Some(1_200));
        let told = acks.next(1_200).unwrap().positions;
        let told: Vec<_> = told
            .iter()
            .map(|it| (it.conversation_id.as_str(), it.seq))
            .collect();
        assert_eq!(told, [("a", 7), ("b", 1)]);
        assert_eq!(acks.next(5_000), None);
    }

    #[test]
    fn the_next_connection_is_told_again() {
        let mut acks = Acks::new(200);
        acks.consumed(positions(&[("a", 7)]), 0);
        acks.next(200).unwrap();
        acks.disconnected();
        assert_eq!(acks.next(201).unwrap().positions[0].seq, 7);
    }

    #[test]
    fn a_frame_has_no_more_positions_than_the_server_takes() {
        let mut acks = Acks::new(0);
        let many: Vec<String> = (0..1_500).map(|it| format!("c{it}")).collect();
        acks.consumed(many.iter().map(|it| (it.clone(), 1)).collect(), 0);
        assert_eq!(acks.next(0).unwrap().positions.len(), 1_000);
        assert_eq!(acks.next(0).unwrap().positions.len(), 500);
        assert_eq!(acks.next(0), None);
    }
}
