use std::{collections::VecDeque, time::Duration};

use flare_proto::common::ErrorCode;
use proptest::prelude::*;

use super::*;
use crate::permits::Permits;

const SOON: u64 = 100_000;

type Answer = oneshot::Receiver<Result<Sent, SendError>>;

fn command(target: &Target, client_id: &str, deadline_ms: u64) -> (Command, Answer) {
    let (outcome, answer) = oneshot::channel();
    let command = Command {
        target: target.clone(),
        action: Action::Send(bytes::Bytes::new()),
        client_id: Some(client_id.to_owned()),
        trace_id: String::new(),
        deadline_ms,
        outcome: Some(outcome),
        _permit: Permits::new(1, 1).take(0).unwrap(),
    };
    (command, answer)
}

fn refusal(code: ErrorCode, retry_after_ms: Option<u64>) -> Refusal {
    Refusal {
        code,
        message: String::new(),
        field: String::new(),
        retry_after: retry_after_ms.map(Duration::from_millis),
        server_time_ms: None,
    }
}

fn limited() -> Refusal {
    refusal(ErrorCode::RateLimited, Some(1_000))
}

fn in_order() -> Refusal {
    refusal(ErrorCode::RetryInOrder, None)
}

/// Queues commands to one conversation.
fn queued(outbox: &mut Outbox, target: &Target, ids: &[&str]) -> (Vec<u64>, Vec<Answer>) {
    ids.iter()
        .map(|id| {
            let (command, answer) = command(target, id, SOON);
            (outbox.push(command), answer)
        })
        .unzip()
}

/// Everything that may leave leaves.
fn leave_all(outbox: &mut Outbox, now_ms: u64) -> Vec<u64> {
    let mut left = Vec::new();
    while let Some(key) = outbox.next(now_ms) {
        outbox.leave(key);
        left.push(key);
    }
    left
}

#[test]
fn no_more_is_in_flight_than_the_server_takes() {
    let mut outbox = Outbox::new();
    outbox.max_in_flight = 2;
    let here = Target::conversation("c");
    let (keys, _answers) = queued(&mut outbox, &here, &["1", "2", "3"]);
    assert_eq!(leave_all(&mut outbox, 0), keys[..2]);
    outbox.placed(keys[0], "c").unwrap();
    assert_eq!(leave_all(&mut outbox, 0), keys[2..]);
}

#[test]
fn after_a_connection_everything_leaves_again_in_order() {
    let mut outbox = Outbox::new();
    let (a, b) = (Target::conversation("a"), Target::conversation("b"));
    let (first, _x) = queued(&mut outbox, &a, &["1"]);
    let (second, _y) = queued(&mut outbox, &b, &["2"]);
    let (third, _z) = queued(&mut outbox, &a, &["3"]);
    let all = [first[0], second[0], third[0]];
    assert_eq!(leave_all(&mut outbox, 0), all);
    outbox.disconnected();
    assert!(outbox.entry(all[0]).unwrap().was_sent);
    assert_eq!(leave_all(&mut outbox, 0), all);
}

#[test]
fn a_refused_command_comes_first_and_alone_and_other_conversations_go_on() {
    let mut outbox = Outbox::new();
    let (here, there) = (Target::conversation("here"), Target::conversation("there"));
    let (keys, _answers) = queued(&mut outbox, &here, &["1", "2", "3"]);
    leave_all(&mut outbox, 0);
    outbox.refused(keys[0], &limited(), 10, 0.0).unwrap();
    // Those behind have not come back: nothing of this conversation leaves.
    let (later, _more) = queued(&mut outbox, &here, &["4"]);
    let (elsewhere, _other) = queued(&mut outbox, &there, &["5"]);
    assert_eq!(leave_all(&mut outbox, 5_000), elsewhere);
    outbox.refused(keys[1], &in_order(), 20, 0.0).unwrap();
    outbox.refused(keys[2], &in_order(), 20, 0.0).unwrap();
    assert_eq!(outbox.next(1_009), None, "the server asked for a second");
    assert_eq!(outbox.wake_at(500), Some(1_010));
    assert_eq!(
        leave_all(&mut outbox, 1_010),
        keys[..1],
        "one tries the way"
    );
    outbox.placed(keys[0], "here").unwrap();
    assert_eq!(leave_all(&mut outbox, 1_020), [keys[1]]);
    outbox.placed(keys[1], "here").unwrap();
    assert_eq!(leave_all(&mut outbox, 1_030), [keys[2], later[0]]);
}

#[test]
fn who_is_kept_to_a_rate_is_hardly_refused_more_often_than_taken() {
    const ROUND_TRIP_MS: u64 = 5;
    const A_FRAME_MS: u64 = 10;
    let mut outbox = Outbox::new();
    let here = Target::conversation("here");
    let mut waiting = Vec::new();
    let (mut placed, mut refused, mut next_frame_ms) = (0_u64, 0_u64, 0);
    for now_ms in (0..10_000).step_by(usize::try_from(ROUND_TRIP_MS).unwrap()) {
        while outbox.entries.len() < 64 {
            let (command, answer) = command(&here, &format!("{now_ms}-{}", waiting.len()), SOON);
            outbox.push(command);
            waiting.push(answer);
        }
        let mut is_in_order = true;
        for key in leave_all(&mut outbox, now_ms) {
            if is_in_order && next_frame_ms <= now_ms {
                next_frame_ms = now_ms + A_FRAME_MS;
                outbox.placed(key, "here").unwrap();
                placed += 1;
                continue;
            }
            let refusal = if is_in_order {
                refusal(ErrorCode::RateLimited, Some(next_frame_ms - now_ms))
            } else {
                in_order()
            };
            is_in_order = false;
            outbox.refused(key, &refusal, now_ms, 0.0).unwrap();
            refused += 1;
        }
    }
    assert!(placed >= 900, "{placed} were taken, of 1000");
    // All that left before anything was refused; then one for each that is taken.
    assert!(refused <= placed + 64, "{refused} refused, {placed} taken");
}

#[test]
fn what_may_have_been_kept_is_not_called_refused() {
    for (code, is_open) in [
        (ErrorCode::RateLimited, false),
        (ErrorCode::Unavailable, true),
        (ErrorCode::DeadlineExceeded, true),
    ] {
        let mut outbox = Outbox::new();
        let (keys, mut answers) = queued(&mut outbox, &Target::conversation("c"), &["1"]);
        leave_all(&mut outbox, 0);
        outbox
            .refused(keys[0], &refusal(code, None), 0, 0.0)
            .unwrap();
        // A later refusal says nothing of an earlier leaving.
        leave_all(&mut outbox, SOON - 1);
        outbox.refused(keys[0], &limited(), SOON, 0.0).unwrap();
        outbox.give_up(keys[0], "not wanted any more");
        let told = answers[0].try_recv().expect("it is told");
        let is_unknown = matches!(told, Err(SendError::Unknown { .. }));
        assert_eq!(is_unknown, is_open, "{code:?}: {told:?}");
    }
}

#[test]
fn a_final_refusal_is_told_and_holds_up_nobody() {
    let mut outbox = Outbox::new();
    let (keys, _answers) = queued(&mut outbox, &Target::conversation("c"), &["1", "2"]);
    leave_all(&mut outbox, 0);
    let final_one = refusal(ErrorCode::NotAMember, None);
    let refused = outbox.refused(keys[0], &final_one, 0, 0.0).unwrap();
    assert!(matches!(refused, Refused::Final(entry) if entry.client_id() == "1"));
    assert!(outbox.placed(keys[1], "c").is_some());
}

#[test]
fn a_refused_command_that_is_given_up_is_named_by_the_next_one() {
    let mut outbox = Outbox::new();
    let here = Target::conversation("c");
    let (keys, mut answers) = queued(&mut outbox, &here, &["1", "2", "3"]);
    leave_all(&mut outbox, 0);
    for key in &keys {
        outbox.refused(*key, &limited(), 0, 0.0).unwrap();
    }
    assert_eq!(outbox.give_up(keys[0], "enough"), Some("1".to_owned()));
    let told = answers[0].try_recv().unwrap().unwrap_err();
    assert!(matches!(told, SendError::Refused { client_id, .. } if client_id == "1"));
    assert_eq!(outbox.next(1_000), Some(keys[1]));
    assert_eq!(outbox.leave(keys[1]), Some("1".to_owned()));
    outbox.placed(keys[1], "c").unwrap();
    assert_eq!(outbox.leave(keys[2]), None);
}

#[test]
fn what_was_in_flight_when_given_up_is_unknown_and_keeps_its_place_until_it_is_answered() {
    let mut outbox = Outbox::new();
    let (keys, mut answers) = queued(&mut outbox, &Target::conversation("c"), &["1", "2"]);
    leave_all(&mut outbox, 0);
    assert_eq!(outbox.give_up(keys[0], "enough"), None);
    let told = answers[0].try_recv().unwrap().unwrap_err();
    assert!(matches!(told, SendError::Unknown { client_id, .. } if client_id == "1"));
    let refused = outbox.refused(keys[0], &limited(), 0, 0.0).unwrap();
    assert!(matches!(refused, Refused::Abandoned(id) if id == "1"));
    outbox.refused(keys[1], &in_order(), 0, 0.0).unwrap();
    assert_eq!(outbox.next(1_000), Some(keys[1]));
    assert_eq!(outbox.leave(keys[1]), Some("1".to_owned()));
}

#[test]
fn a_deadline_tells_what_is_known() {
    let mut outbox = Outbox::new();
    let here = Target::conversation("c");
    outbox.max_in_flight = 1;
    let (first, mut left) = command(&here, "1", 500);
    let (second, mut stayed) = command(&here, "2", 600);
    outbox.push(first);
    outbox.push(second);
    leave_all(&mut outbox, 0);
    outbox.disconnected();
    assert_eq!(outbox.wake_at(0), Some(500));
    assert!(outbox.expire(600, Some("nobody there")).is_empty());
    assert!(matches!(
        left.try_recv().unwrap(),
        Err(SendError::Unknown { .. })
    ));
    match stayed.try_recv().unwrap() {
        Err(SendError::NotSent { why }) => assert!(why.contains("nobody there"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(outbox.next(600), None);
}

#[test]
fn a_refusal_after_a_lost_answer_does_not_prove_that_it_is_not_stored() {
    let mut outbox = Outbox::new();
    let (keys, mut answers) = queued(&mut outbox, &Target::conversation("c"), &["1"]);
    leave_all(&mut outbox, 0);
    outbox.disconnected();
    leave_all(&mut outbox, 0);
    outbox.refused(keys[0], &limited(), 0, 0.0).unwrap();
    outbox.give_up(keys[0], "enough");
    let told = answers[0].try_recv().unwrap().unwrap_err();
    assert!(matches!(told, SendError::Unknown { .. }), "{told}");
}

#[test]
fn a_user_and_his_direct_conversation_are_one_order_once_a_receipt_has_told() {
    let mut outbox = Outbox::new();
    let (bob, direct) = (Target::user("bob"), Target::conversation("d_1"));
    let (first, _a) = queued(&mut outbox, &bob, &["1", "2"]);
    leave_all(&mut outbox, 0);
    outbox.placed(first[0], "d_1").unwrap();
    let (second, _b) = queued(&mut outbox, &direct, &["3"]);
    let (third, _c) = queued(&mut outbox, &bob, &["4"]);
    outbox.refused(first[1], &limited(), 0, 0.0).unwrap();
    assert!(leave_all(&mut outbox, 10).is_empty(), "both ways wait");
    assert_eq!(leave_all(&mut outbox, 1_000), [first[1]]);
    outbox.placed(first[1], "d_1").unwrap();
    assert_eq!(leave_all(&mut outbox, 1_000), [second[0]]);
    outbox.placed(second[0], "d_1").unwrap();
    assert_eq!(leave_all(&mut outbox, 1_000), [third[0]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The server's rule, as the gateway keeps it: after a refusal for now, nothing of the conversation is placed before the refused one has come again.
    #[test]
    fn what_is_placed_keeps_its_order_through_refusals_and_lost_connections(
        moves in proptest::collection::vec((0_u8..10, 0_usize..64), 1..400),
    ) {
        let mut outbox = Outbox::new();
        outbox.max_in_flight = 8;
        let targets = [Target::conversation("a"), Target::conversation("b")];
        let mut answers = Vec::new();
        let mut server: VecDeque<(u64, Target)> = VecDeque::new();
        let mut broken: Vec<Target> = Vec::new();
        let mut placed: HashMap<Target, Vec<u64>> = HashMap::new();
        let (mut now_ms, mut pushed) = (0, 0);
        let finish = std::iter::repeat_n((9, 1), 4_000);
        for (what, which) in moves.into_iter().chain(finish) {
            now_ms += 20;
            match what {
                0..=3 => {
                    let target = &targets[which % 2];
                    let (command, answer) = command(target, &pushed.to_string(), u64::MAX);
                    answers.push(answer);
                    outbox.push(command);
                    pushed += 1;
                }
                4 => {
                    server.clear();
                    broken.clear();
                    outbox.disconnected();
                }
                _ => {
                    while let Some(key) = outbox.next(now_ms) {
                        outbox.leave(key);
                        let target = outbox.entry(key).unwrap().command.target.clone();
                        // Whoever comes after the refused one has come again finds the way open: the outbox sends that one first.
                        server.push_back((key, target));
                    }
                    let Some((key, target)) = server.pop_front() else { continue };
                    if broken.contains(&target) {
                        // Behind a refused one, on its way when that was refused.
                        outbox.refused(key, &in_order(), now_ms, 0.5).unwrap();
                    } else if what == 5 {
                        broken.push(target.clone());
                        outbox.refused(key, &limited(), now_ms, 0.5).unwrap();
                    } else {
                        outbox.placed(key, "x").unwrap();
                        placed.entry(target.clone()).or_default().push(key);
                    }
                    if !server.iter().any(|(_, it)| *it == target) {
                        broken.retain(|it| *it != target);
                    }
                }
            }
        }
        let count: usize = placed.values().map(Vec::len).sum();
        prop_assert_eq!(count, pushed);
        for keys in placed.values() {
            prop_assert!(keys.is_sorted(), "{:?}", keys);
        }
    }
}
