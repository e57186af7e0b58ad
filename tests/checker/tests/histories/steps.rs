//! What may happen in a random history.

use proptest::prelude::*;

use crate::story::{ALICE, BOB, CAROL, PAD};

/// The direct conversation of alice and bob, and a group that bob and carol leave and join.
pub(crate) const PLACES: [&str; 2] = ["d_1", "g"];
pub(crate) const DEVICES: [&str; 5] = [ALICE, PAD, BOB, CAROL, "carol/tablet"];

/// One thing that happens; `device` and `place` are taken modulo.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send {
        device: usize,
        place: usize,
    },
    SendAgain {
        device: usize,
        place: usize,
    },
    LoseAck {
        device: usize,
        place: usize,
    },
    LoseSend {
        device: usize,
        place: usize,
    },
    LoseConnection {
        device: usize,
        place: usize,
        arrives: bool,
    },
    Refuse {
        device: usize,
        place: usize,
        behind: usize,
    },
    GiveUp {
        device: usize,
        place: usize,
    },
    Pipeline {
        device: usize,
        place: usize,
        sends: usize,
    },
    Recall {
        device: usize,
        place: usize,
    },
    ToggleMember {
        carol: bool,
    },
    GoOffline {
        device: usize,
    },
    Overflow {
        device: usize,
    },
    CatchUp {
        device: usize,
    },
    ReadHistory {
        device: usize,
        place: usize,
    },
    Restart,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || (0..DEVICES.len(), 0..PLACES.len());
    let step = prop_oneof![
        6 => at().prop_map(|(device, place)| Step::Send { device, place }),
        1 => at().prop_map(|(device, place)| Step::SendAgain { device, place }),
        1 => at().prop_map(|(device, place)| Step::LoseAck { device, place }),
        1 => at().prop_map(|(device, place)| Step::LoseSend { device, place }),
        1 => (at(), any::<bool>()).prop_map(|((device, place), arrives)| Step::LoseConnection { device, place, arrives }),
        1 => (at(), 0..4usize).prop_map(|((device, place), behind)| Step::Refuse { device, place, behind }),
        1 => at().prop_map(|(device, place)| Step::GiveUp { device, place }),
        2 => (at(), 2..6usize).prop_map(|((device, place), sends)| Step::Pipeline { device, place, sends }),
        1 => at().prop_map(|(device, place)| Step::Recall { device, place }),
        2 => any::<bool>().prop_map(|carol| Step::ToggleMember { carol }),
        1 => (0..DEVICES.len()).prop_map(|device| Step::GoOffline { device }),
        1 => (0..DEVICES.len()).prop_map(|device| Step::Overflow { device }),
        1 => (0..DEVICES.len()).prop_map(|device| Step::CatchUp { device }),
        1 => at().prop_map(|(device, place)| Step::ReadHistory { device, place }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}
