use super::*;

/// (lane, number): a lane is a conversation too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent(u64, u64);

impl Item for Sent {
    fn lane(&self) -> u64 {
        self.0
    }

    fn place(&self) -> u64 {
        self.0
    }
}

fn told(epoch: u64, endpoint: &str) -> Option<Told> {
    Some(Told {
        epoch,
        endpoint: endpoint.into(),
    })
}

/// Of a log of so many partitions.
fn dispatch(partitions: u32) -> Dispatch<Sent> {
    let mut all = Dispatch::new(10_000);
    all.partition(partitions);
    all
}

/// Sweeps, and opens what is to be opened. Gives the endpoints of the ways that began.
fn sweep(all: &mut Dispatch<Sent>, now_ms: u64) -> (Vec<String>, Vec<Sent>) {
    let todo = all.sweep(now_ms);
    let endpoints = todo.open.iter().map(|(way, endpoint)| {
        all.opened(*way);
        endpoint.to_string()
    });
    (endpoints.collect(), todo.unknown)
}

fn send_all(all: &mut Dispatch<Sent>, way: u64) -> Vec<(u64, Sent)> {
    std::iter::from_fn(|| all.send_next(way).map(|it| (it.correlation, *it.item))).collect()
}

fn items(sent: &[(u64, Sent)]) -> Vec<Sent> {
    sent.iter().map(|(_, it)| *it).collect()
}

#[test]
fn commands_wait_until_it_is_known_where_they_go_and_keep_their_order() {
    let mut all = Dispatch::new(10_000);
    for number in 1..=3 {
        all.push(Sent(1, number), number);
        all.push(Sent(2, number), number);
    }
    assert_eq!(sweep(&mut all, 5), (vec![], vec![]));
    all.partition(2);
    assert!(sweep(&mut all, 5).0.is_empty(), "nobody is known to own");
    all.owner(0, told(1, "a"), 5);
    all.owner(1, told(1, "b"), 5);
    assert_eq!(sweep(&mut all, 5).0, ["a", "b"]);
    assert_eq!(
        items(&send_all(&mut all, 1)),
        [1, 2, 3].map(|it| Sent(2, it))
    );
    assert_eq!(
        items(&send_all(&mut all, 2)),
        [1, 2, 3].map(|it| Sent(1, it))
    );
    assert_eq!(all.next_ms(5), Some(10_001));
    assert_eq!(all.expire(10_001), Some(Sent(2, 1)));
}

#[test]
fn one_way_serves_all_partitions_of_an_owner() {
    let mut all = dispatch(4);
    for partition in 0..4 {
        all.owner(partition, told(1, "a"), 0);
        all.push(Sent(partition.into(), 1), 0);
    }
    assert_eq!(sweep(&mut all, 0).0, ["a"]);
    let sent = send_all(&mut all, 1);
    assert_eq!(sent.len(), 4);
    for (correlation, item) in sent {
        assert_eq!(all.answered(1, correlation, Answer::Final, 0), Some(item));
    }
    assert!(all.is_empty());
}

#[test]
fn what_is_refused_as_not_owned_goes_to_the_next_owner_in_its_order_and_nobody_is_told() {
    let mut all = dispatch(1);
    all.owner(0, told(1, "a"), 0);
    for number in 1..=3 {
        all.push(Sent(7, number), 0);
    }
    sweep(&mut all, 0);
    let sent = send_all(&mut all, 1);
    assert_eq!(
        all.answered(1, sent[0].0, Answer::Final, 0),
        Some(Sent(7, 1))
    );
    assert_eq!(all.answered(1, sent[1].0, Answer::NotOwner, 0), None);
    all.push(Sent(7, 4), 0);
    assert!(!all.has_next(1), "nothing more goes there");
    all.owner(0, told(2, "b"), 1);
    assert_eq!(
        sweep(&mut all, 1).0,
        Vec::<String>::new(),
        "the third is under way"
    );
    assert_eq!(all.answered(1, sent[2].0, Answer::Refused, 1), None);
    let (opened, unknown) = sweep(&mut all, 1);
    assert_eq!((opened, unknown.len()), (vec!["b".to_owned()], 0));
    assert_eq!(
        items(&send_all(&mut all, 2)),
        [2, 3, 4].map(|it| Sent(7, it))
    );
    assert_eq!(
        all.answered(1, sent[1].0, Answer::Final, 1),
        None,
        "that way is left"
    );
}

#[test]
fn who_refused_is_asked_again_by_another_way_and_not_at_once() {
    let mut all = dispatch(1);
    all.owner(0, told(1, "a"), 0);
    all.push(Sent(7, 1), 0);
    let mut now_ms = 0;
    let mut ways = 0;
    let mut pauses = Vec::new();
    while now_ms < 2_000 {
        let opened = sweep(&mut all, now_ms).0;
        if opened.is_empty() {
            now_ms = all.next_ms(now_ms).expect("it waits");
            continue;
        }
        pauses.push(now_ms);
        ways += 1;
        let sent = send_all(&mut all, ways);
        all.answered(ways, sent[0].0, Answer::NotOwner, now_ms);
    }
    assert_eq!(pauses, [0, 25, 75, 175, 375, 775, 1_575]);
    all.owner(0, told(2, "a"), now_ms);
    assert_eq!(
        sweep(&mut all, now_ms).0,
        ["a"],
        "it has the partition again"
    );
}

#[test]
fn a_hint_is_followed_once() {
    let mut all = dispatch(1);
    all.owner(0, told(1, "a"), 0);
    all.push(Sent(7, 1), 0);
    sweep(&mut all, 0);
    let sent = send_all(&mut all, 1);
    all.answered(1, sent[0].0, Answer::NotOwner, 0);
    all.hint(sent[0].0, "b");
    assert_eq!(sweep(&mut all, 0).0, ["b"]);
    let sent = send_all(&mut all, 2);
    all.answered(2, sent[0].0, Answer::NotOwner, 0);
    all.hint(sent[0].0, "a");
    assert_eq!(sweep(&mut all, 0).0, ["a"], "as the directory says");
    let sent = send_all(&mut all, 3);
    all.answered(3, sent[0].0, Answer::NotOwner, 0);
    all.hint(sent[0].0, "b");
    assert!(
        sweep(&mut all, 0).0.is_empty(),
        "they take each other for the owner"
    );
}

#[test]
fn a_later_command_does_not_overtake_one_that_waits_for_another_owner() {
    let mut all = dispatch(1);
    all.owner(0, told(1, "a"), 0);
    all.push(Sent(7, 1), 0);
    sweep(&mut all, 0);
    let first = send_all(&mut all, 1);
    // The first is under way to an owner that does not answer; the directory names another.
    all.owner(0, told(2, "b"), 100);
    all.push(Sent(7, 2), 100);
    assert!(sweep(&mut all, 100).0.is_empty());
    assert!(!all.has_next(1));
    assert_eq!(all.next_ms(100), Some(1_100));
    // It was alone: nothing of its lane can have been lost.
    let (opened, unknown) = sweep(&mut all, 1_100);
    assert_eq!((opened, unknown), (vec!["b".to_owned()], vec![]));
    assert_eq!(items(&send_all(&mut all, 2)), [Sent(7, 1), Sent(7, 2)]);
    assert_eq!(all.answered(1, first[0].0, Answer::Final, 1_200), None);
}

#[test]
fn what_an_owner_that_does_not_answer_may_have_decided_in_part_is_left_to_its_client() {
    let mut all = dispatch(1);
    all.owner(0, told(1, "a"), 0);
    all.push(Sent(7, 1), 0);
    all.push(Sent(7, 2), 0);
    all.push(Sent(8, 1), 0);
    sweep(&mut all, 0);
    send_all(&mut all, 1);
    all.owner(0, told(2, "b"), 0);
    let (_, unknown) = sweep(&mut all, 1_000);
    assert_eq!(unknown, [Sent(7, 1), Sent(7, 2)]);
    let again = all.send_next(2).expect("the other lane");
    assert_eq!((*again.item, again.again), (Sent(8, 1), true));
}

#[test]
fn an_owner_that_answers_loses_a_partition_without_a_word_to_anybody() {
    let mut all = dispatch(2);
    for partition in 0..2 {
        all.owner(partition, told(1, "a"), 0);
        all.push(Sent(partition.into(), 1), 0);
    }
    sweep(&mut all, 0);
    let sent = send_all(&mut all, 1);
    all.owner(1, told(2, "b"), 0);
    assert!(sweep(&mut all, 0).0.is_empty(), "its answer is awaited");
    assert_eq!(
        all.answered(1, sent[1].0, Answer::Final, 10),
        Some(Sent(1, 1))
    );
    all.push(Sent(1, 2), 10);
    all.push(Sent(0, 2), 10);
    assert_eq!(sweep(&mut all, 10).0, ["b"]);
    assert_eq!(
        items(&send_all(&mut all, 1)),
        [Sent(0, 2)],
        "the other goes on by its way"
    );
    assert_eq!(items(&send_all(&mut all, 2)), [Sent(1, 2)]);
}

#[test]
fn a_partition_that_is_vacant_for_a_moment_stays_with_its_way() {
    let mut all = dispatch(1);
    all.owner(0, told(1, "a"), 0);
    all.push(Sent(7, 1), 0);
    sweep(&mut all, 0);
    send_all(&mut all, 1);
    all.owner(0, None, 0);
    all.push(Sent(7, 2), 0);
    assert!(sweep(&mut all, 5_000).1.is_empty());
    assert_eq!(items(&send_all(&mut all, 1)), [Sent(7, 2)]);
    all.owner(0, told(3, "a"), 5_000);
    assert!(sweep(&mut all, 9_000).0.is_empty(), "it is the same way");
}

#[test]
fn the_other_partitions_of_a_retired_way_go_on_by_another_once_they_are_answered() {
    let mut all = dispatch(2);
    for partition in 0..2 {
        all.owner(partition, told(1, "a"), 0);
        all.push(Sent(partition.into(), 1), 0);
    }
    sweep(&mut all, 0);
    let sent = send_all(&mut all, 1);
    all.answered(1, sent[0].0, Answer::NotOwner, 0);
    all.push(Sent(1, 2), 0);
    assert!(sweep(&mut all, 0).0.is_empty());
    assert_eq!(
        all.answered(1, sent[1].0, Answer::Final, 1),
        Some(Sent(1, 1))
    );
    let todo = all.sweep(1);
    assert_eq!((todo.close, todo.open.len()), (vec![1], 1));
    all.opened(2);
    assert_eq!(
        items(&send_all(&mut all, 2)),
        [Sent(1, 2)],
        "the first waits a moment"
    );
    assert!(sweep(&mut all, 25).0.is_empty(), "it has the same way");
    assert_eq!(items(&send_all(&mut all, 2)), [Sent(0, 1)]);
}

#[test]
fn a_broken_way_s_commands_go_again_but_for_those_that_could_lose_their_order() {
    let mut all = dispatch(2);
    for partition in 0..2 {
        all.owner(partition, told(1, "a"), 0);
    }
    for item in [Sent(0, 1), Sent(1, 1), Sent(1, 2), Sent(2, 1)] {
        all.push(item, 0);
    }
    sweep(&mut all, 0);
    let sent = send_all(&mut all, 1);
    let lane_2 = sent
        .iter()
        .find(|(_, it)| *it == Sent(2, 1))
        .expect("sent")
        .0;
    all.answered(1, lane_2, Answer::Final, 0);
    assert_eq!(all.ended(1, 0), [Sent(1, 1), Sent(1, 2)]);
    assert_eq!(sweep(&mut all, 0).0, ["a"]);
    assert_eq!(items(&send_all(&mut all, 2)), [Sent(0, 1)]);
}

#[test]
fn a_partition_without_an_owner_does_not_take_the_room_of_the_others() {
    let mut all = dispatch(2);
    for number in 0..5 {
        all.push(Sent(0, number), 0);
    }
    assert!(!all.is_crowded(0, 10, 499));
    assert!(all.is_crowded(0, 10, 500));
    assert!(!all.is_crowded(1, 10, 500), "nothing of it waits");
    assert!(!all.is_crowded(0, 12, 500), "there is room");
    assert_eq!(all.room(10), 5);
    let mut alone = dispatch(1);
    (0..9).for_each(|it| alone.push(Sent(0, it), 0));
    assert!(!alone.is_crowded(0, 10, 5_000), "there are no others");
}

#[test]
fn what_waits_for_nobody_is_taken_out_first() {
    let mut all = dispatch(2);
    all.owner(1, told(1, "a"), 0);
    all.push(Sent(0, 1), 0);
    all.push(Sent(1, 1), 0);
    sweep(&mut all, 0);
    assert_eq!(
        (all.pop_unbound(), all.pop_unbound()),
        (Some(Sent(0, 1)), None)
    );
    assert_eq!((all.pop(), all.pop()), (Some(Sent(1, 1)), None));
    assert!(all.is_empty());
}
