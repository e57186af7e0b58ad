//! What metrics show of a member.

use metrics::{Counter, Gauge};

use super::positions::Positions;

/// The part of this member in what its process shows of the group: several may be in one process.
pub(super) struct Shown {
    lag: Part,
    lanes: Part,
    passed_over: Counter,
    reassignments: Counter,
    topic: String,
    group: String,
}

struct Part {
    gauge: Gauge,
    value: f64,
}

impl Shown {
    pub(super) fn new(topic: &str, group: &str) -> Self {
        let part = |gauge| Part { gauge, value: 0.0 };
        let (topic, group) = (topic.to_owned(), group.to_owned());
        Self {
            lag: part(
                metrics::gauge!("flare_event_bus_lag", "topic" => topic.clone(), "group" => group.clone()),
            ),
            lanes: part(
                metrics::gauge!("flare_event_bus_lanes", "topic" => topic.clone(), "group" => group.clone()),
            ),
            passed_over: metrics::counter!("flare_event_bus_passed_over_total", "topic" => topic.clone(), "group" => group.clone()),
            reassignments: metrics::counter!("flare_event_bus_reassignments_total", "topic" => topic.clone(), "group" => group.clone()),
            topic,
            group,
        }
    }

    pub(super) fn lag(&mut self, positions: &Positions) {
        self.lag.set(positions.lag() as f64);
    }

    /// So many lanes come to it from here on.
    pub(super) fn lanes(&mut self, count: usize) {
        self.lanes.set(count as f64);
        self.reassignments.increment(1);
    }

    pub(super) fn passed_over(&self, records: u64) {
        let Self { topic, group, .. } = self;
        tracing::error!(
            topic,
            group,
            records,
            "records were removed by retention before the group had handled them"
        );
        self.passed_over.increment(records);
    }
}

impl Part {
    fn set(&mut self, value: f64) {
        self.gauge.increment(value - self.value);
        self.value = value;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.gauge.decrement(self.value);
    }
}
