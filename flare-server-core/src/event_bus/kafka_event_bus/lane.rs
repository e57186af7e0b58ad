//! Which lane of a topic a record goes through.

use xxhash_rust::xxh3::xxh3_64;

use crate::event_bus::frontier;

/// A topic of Kafka. Its partitions are called lanes: what goes through one keeps its order.
pub(super) struct Topic {
    /// As the bus knows it.
    pub(super) name: String,
    /// As Kafka knows it.
    pub(super) kafka_name: String,
    /// How many lanes it has, fixed for its life.
    pub(super) lanes: u32,
}

impl Topic {
    /// The lane of a key: xxh3 modulo the number of lanes, as the message log has it of `tenant/conversation`. Computed here, so that the order per key does not depend on what a
    /// client library thinks best.
    pub(super) fn lane_of(&self, key: &[u8]) -> i32 {
        (xxh3_64(key) % u64::from(self.lanes.max(1))) as i32
    }

    /// All its lanes.
    pub(super) fn all_lanes(&self) -> impl Iterator<Item = i32> {
        0..self.lanes as i32
    }
}

/// Where a record is, in one number: it ascends in a lane, and so for a key.
pub(super) fn position(lane: i32, offset: u64) -> u64 {
    frontier::position(lane.unsigned_abs() as u16, offset)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn topic(lanes: u32) -> Topic {
        Topic {
            name: "t".to_owned(),
            kafka_name: "t".to_owned(),
            lanes,
        }
    }

    #[test]
    fn the_lane_of_a_key_is_the_same_for_all_time() {
        let lanes = ["", "a", "b", "conversation"].map(|key| topic(64).lane_of(key.as_bytes()));
        assert_eq!(
            lanes,
            [
                xxh3_64(b"") % 64,
                xxh3_64(b"a") % 64,
                xxh3_64(b"b") % 64,
                xxh3_64(b"conversation") % 64
            ]
            .map(|it| it as i32)
        );
        // The published value of xxh3 for no bytes and seed 0.
        assert_eq!(lanes[0], (0x2d06_8005_38d3_94c2_u64 % 64) as i32);
    }

    #[test]
    fn keys_go_through_all_lanes_and_no_other() {
        let topic = topic(7);
        let used: BTreeSet<_> = (0..500u32)
            .map(|key| topic.lane_of(&key.to_le_bytes()))
            .collect();
        assert_eq!(used, topic.all_lanes().collect());
    }

    #[test]
    fn positions_ascend_in_a_lane_and_differ_between_lanes() {
        let first = [position(0, 0), position(0, 1), position(0, 1 << 40)];
        assert!(first.is_sorted_by(|a, b| a < b));
        assert!(position(1, 0) > position(0, (1 << 48) - 1));
    }
}
