//! The log as a stream brings it: in lanes, of which each conversation has its own.

use async_trait::async_trait;
use flare_server_core::{
    error::Refusal,
    event_bus::{BusRecord, Frontier},
};
use flare_session::application::ports::StreamProgress;

use super::fake_log::{FakeLog, encode};

/// Lanes of the stream.
pub(crate) const LANES: usize = 2;

/// The lane of a conversation.
pub(crate) fn lane_of(conversation: &str) -> usize {
    usize::from(conversation.bytes().fold(0, u8::wrapping_add)) % LANES
}

/// Before it lie so many events of the log.
pub(crate) fn frontier(log: &FakeLog, at: usize) -> Frontier {
    let mut places = [0; LANES];
    for event in log.events().iter().take(at) {
        places[lane_of(&event.conversation_id)] += 1;
    }
    Frontier::of_lanes(places)
}

pub(crate) fn records(log: &FakeLog, from: usize, to: usize) -> Vec<BusRecord> {
    let mut places = [0; LANES];
    let events = log.events();
    let records = events.iter().take(to).map(|event| {
        let lane = lane_of(&event.conversation_id);
        places[lane] += 1;
        (lane as u64) << 48 | (places[lane] - 1)
    });
    let positions: Vec<u64> = records.collect();
    let record = |index: usize| BusRecord {
        key: Default::default(),
        payload: encode(&events[index]),
        position: positions[index],
    };
    (from..to).map(record).collect()
}

/// Events are handed to the stream by hand: nothing waits in it.
pub(crate) struct AlwaysCaughtUp;

#[async_trait]
impl StreamProgress for AlwaysCaughtUp {
    async fn caught_up(&self) -> Result<(), Refusal> {
        Ok(())
    }
}
