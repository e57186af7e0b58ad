use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

fn lanes() -> Lanes {
    Lanes::new(Arc::new(LaneIds::default()), 8)
}

fn admitted(lane: u64, generation: u32) -> Admit {
    Admit::Admitted { lane, generation }
}

fn after(client_id: &str) -> Admit {
    Admit::RetryInOrder {
        refused_client_id: client_id.to_owned(),
    }
}

#[test]
fn commands_pass_while_nothing_is_refused() {
    let mut lanes = lanes();
    assert_eq!(lanes.admit("team", "a", ""), admitted(1, 1));
    assert_eq!(lanes.admit("team", "b", ""), admitted(1, 1));
    assert_eq!(lanes.admit("club", "a", ""), admitted(2, 1));
    lanes.on_placed("team", "a");
    lanes.on_refused("team", "b", false);
    assert_eq!(lanes.admit("team", "c", ""), admitted(1, 1));
}

#[test]
fn after_a_retryable_refusal_the_refused_comes_first() {
    let mut lanes = lanes();
    assert_eq!(lanes.admit("team", "a", ""), admitted(1, 1));
    lanes.on_refused("team", "a", true);
    assert_eq!(lanes.admit("team", "b", ""), after("a"));
    assert_eq!(lanes.admit("club", "b", ""), admitted(2, 1));
    assert_eq!(lanes.admit("team", "a", ""), admitted(1, 2));
    assert_eq!(lanes.admit("team", "b", ""), admitted(1, 2));
    assert_eq!(lanes.admit("team", "c", ""), admitted(1, 2));
}

#[test]
fn of_several_refused_the_earliest_comes_first() {
    let mut lanes = lanes();
    for id in ["a", "b", "c"] {
        assert_eq!(lanes.admit("team", id, ""), admitted(1, 1));
    }
    for id in ["a", "b", "c"] {
        lanes.on_refused("team", id, true);
    }
    assert_eq!(lanes.admit("team", "d", ""), after("a"));
    assert_eq!(lanes.admit("team", "c", ""), after("a"));
    assert_eq!(lanes.admit("team", "a", ""), admitted(1, 2));
    assert_eq!(lanes.admit("team", "c", ""), after("b"));
    // Refused again, it is the earliest again.
    lanes.on_refused("team", "a", true);
    assert_eq!(lanes.admit("team", "b", ""), after("a"));
    for id in ["a", "b", "c", "d", "e"] {
        assert_eq!(lanes.admit("team", id, ""), admitted(1, 3), "{id}");
    }
}

#[test]
fn what_is_given_up_holds_nothing_back() {
    let mut lanes = lanes();
    assert_eq!(lanes.admit("team", "a", ""), admitted(1, 1));
    lanes.on_refused("team", "a", true);
    assert_eq!(lanes.admit("team", "b", "x"), after("a"));
    assert_eq!(lanes.admit("team", "b", "a"), admitted(1, 2));
    assert_eq!(lanes.admit("team", "c", ""), admitted(1, 2));
}

#[test]
fn a_refusal_of_an_earlier_generation_does_not_stop_the_lane_again() {
    let mut lanes = lanes();
    for id in ["a", "b"] {
        assert_eq!(lanes.admit("team", id, ""), admitted(1, 1));
    }
    lanes.on_refused("team", "a", true);
    assert_eq!(lanes.admit("team", "a", ""), admitted(1, 2));
    // Of generation 1, refused behind the first "a". Were it let in under 3, it could pass a second refusal of "a".
    lanes.on_refused("team", "b", true);
    assert_eq!(lanes.admit("team", "b", ""), admitted(1, 2));
}

#[test]
fn what_stands_behind_a_refused_command_comes_again_before_anything_new() {
    let mut lanes = lanes();
    for id in ["a", "b"] {
        assert_eq!(lanes.admit("team", id, ""), admitted(1, 1));
    }
    lanes.on_refused("team", "a", true);
    assert_eq!(lanes.admit("team", "a", ""), admitted(1, 2));
    // The receipt of "b" is on its way, and can only be a refusal.
    assert_eq!(lanes.admit("team", "c", ""), after("b"));
    lanes.on_refused("team", "b", true);
    assert_eq!(lanes.admit("team", "b", ""), admitted(1, 2));
    assert_eq!(lanes.admit("team", "c", ""), admitted(1, 2));
}

#[test]
fn after_a_broken_stream_only_what_stands_behind_nothing_is_submitted_again() {
    let mut lanes = lanes();
    for id in ["a", "b"] {
        assert_eq!(lanes.admit("team", id, ""), admitted(1, 1));
    }
    assert_eq!(lanes.resubmit("team", "a"), admitted(1, 1));
    assert_eq!(lanes.resubmit("team", "b"), admitted(1, 1));
    lanes.on_refused("team", "a", true);
    assert_eq!(lanes.admit("team", "a", ""), admitted(1, 2));
    assert_eq!(lanes.resubmit("team", "b"), after("b"));
    assert_eq!(lanes.resubmit("team", "a"), admitted(1, 2));
    assert_eq!(lanes.admit("team", "b", ""), admitted(1, 2));
}

#[test]
fn lanes_are_bounded_and_idle_ones_make_room() {
    let mut lanes = lanes();
    for index in 0..8 {
        assert!(matches!(
            lanes.admit(&format!("c{index}"), "a", ""),
            Admit::Admitted { .. }
        ));
    }
    assert_eq!(lanes.admit("c8", "a", ""), Admit::Exhausted);
    lanes.on_placed("c3", "a");
    assert!(matches!(lanes.admit("c8", "a", ""), Admit::Admitted { .. }));
    for index in 0..9 {
        lanes.on_placed(&format!("c{index}"), "a");
    }
    assert!(lanes.lanes.len() <= KEPT_IDLE);
}

#[test]
fn the_refused_of_a_lane_are_bounded() {
    let mut lanes = lanes();
    assert_eq!(lanes.admit("team", "first", ""), admitted(1, 1));
    lanes.on_refused("team", "first", true);
    for index in 1..MAX_REFUSED {
        assert_eq!(lanes.admit("team", &index.to_string(), ""), after("first"));
    }
    assert_eq!(lanes.admit("team", "more", ""), Admit::Exhausted);
    assert_eq!(lanes.admit("team", "1", ""), after("first"));
}

/// An orchestrator as its contract says: receipts in the order of decisions, and a lane refused up to a generation.
#[derive(Default)]
struct Orchestrator {
    arriving: VecDeque<(usize, u32)>,
    receipts: VecDeque<(usize, bool)>,
    refused_up_to: u32,
    placed: Vec<usize>,
}

impl Orchestrator {
    fn decide(&mut self, refuse: bool) {
        let Some((id, generation)) = self.arriving.pop_front() else {
            return;
        };
        let taken = generation > self.refused_up_to && (!refuse || self.placed.contains(&id));
        if !taken {
            self.refused_up_to = self.refused_up_to.max(generation);
        } else if !self.placed.contains(&id) {
            self.placed.push(id);
        }
        self.receipts.push_back((id, taken));
    }
}

/// A client as careless as can be: it sends new commands, and refused ones in any order, whenever it likes.
#[derive(Default)]
struct Client {
    next: usize,
    refused: BTreeSet<usize>,
    given_up: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
enum Step {
    SendNew,
    SendRefused(prop::sample::Index),
    SendNewGivingUp(prop::sample::Index),
    Decide { refuse: bool },
    Receipt,
    StreamEnds,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::SendNew),
        3 => any::<prop::sample::Index>().prop_map(Step::SendRefused),
        1 => any::<prop::sample::Index>().prop_map(Step::SendNewGivingUp),
        4 => proptest::bool::weighted(0.3).prop_map(|refuse| Step::Decide { refuse }),
        4 => Just(Step::Receipt),
        1 => Just(Step::StreamEnds),
    ]
}

struct World {
    lanes: Lanes,
    orchestrator: Orchestrator,
    client: Client,
    /// In the order of submission.
    unacked: Vec<usize>,
}

impl World {
    fn send(&mut self, id: usize, abandons: &str) {
        match self.lanes.admit("team", &id.to_string(), abandons) {
            Admit::Admitted { generation, .. } => {
                self.client.refused.remove(&id);
                self.submit(id, generation);
            }
            Admit::RetryInOrder { .. } | Admit::Exhausted => {
                self.client.refused.insert(id);
            }
        }
    }

    fn submit(&mut self, id: usize, generation: u32) {
        self.unacked.push(id);
        self.orchestrator.arriving.push_back((id, generation));
    }

    /// What was on its way in either direction is lost, and the orchestrator forgets the lane but not what it placed.
    fn stream_ends(&mut self) {
        self.orchestrator.arriving.clear();
        self.orchestrator.receipts.clear();
        self.orchestrator.refused_up_to = 0;
        for id in std::mem::take(&mut self.unacked) {
            match self.lanes.resubmit("team", &id.to_string()) {
                Admit::Admitted { generation, .. } => self.submit(id, generation),
                Admit::RetryInOrder { .. } | Admit::Exhausted => {
                    self.client.refused.insert(id);
                }
            }
        }
    }

    fn new_id(&mut self) -> usize {
        self.client.next += 1;
        self.client.next
    }

    fn pick(&self, index: prop::sample::Index) -> Option<usize> {
        let refused: Vec<_> = self.client.refused.iter().copied().collect();
        (!refused.is_empty()).then(|| refused[index.index(refused.len())])
    }

    fn receipt(&mut self) {
        let Some((id, taken)) = self.orchestrator.receipts.pop_front() else {
            return;
        };
        let at = self
            .unacked
            .iter()
            .position(|it| *it == id)
            .expect("submitted");
        self.unacked.remove(at);
        if taken {
            self.lanes.on_placed("team", &id.to_string());
        } else {
            self.lanes.on_refused("team", &id.to_string(), true);
            self.client.refused.insert(id);
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::SendNew => {
                let id = self.new_id();
                self.send(id, "");
            }
            Step::SendRefused(index) => {
                if let Some(id) = self.pick(*index) {
                    self.send(id, "");
                }
            }
            Step::SendNewGivingUp(index) => {
                if let Some(given_up) = self.pick(*index) {
                    self.client.refused.remove(&given_up);
                    self.client.given_up.insert(given_up);
                    let id = self.new_id();
                    self.send(id, &given_up.to_string());
                }
            }
            Step::Decide { refuse } => self.orchestrator.decide(*refuse),
            Step::Receipt => self.receipt(),
            Step::StreamEnds => self.stream_ends(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_refused_the_order_of_sending_stands(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World {
            lanes: lanes(),
            orchestrator: Orchestrator::default(),
            client: Client::default(),
            unacked: Vec::new(),
        };
        for step in &steps {
            world.take(step);
        }
        // Nothing is refused any more, and the client sends what is left in order: all of it is placed.
        for _ in 0..=2 * world.client.next {
            while !world.orchestrator.arriving.is_empty() {
                world.orchestrator.decide(false);
            }
            while !world.orchestrator.receipts.is_empty() {
                world.receipt();
            }
            let Some(id) = world.client.refused.first().copied() else { break };
            world.send(id, "");
        }
        let expected: Vec<_> = (1..=world.client.next)
            .filter(|id| !world.client.given_up.contains(id))
            .collect();
        prop_assert_eq!(&world.orchestrator.placed, &expected);
        prop_assert!(world.lanes.lanes.values().all(Lane::is_idle));
    }
}
