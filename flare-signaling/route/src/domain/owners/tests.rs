use super::*;

fn owns(partition: u32, epoch: u64) -> Ownership {
    Ownership {
        partition,
        epoch,
        ended: false,
    }
}

fn ended(partition: u32, epoch: u64) -> Ownership {
    Ownership {
        ended: true,
        ..owns(partition, epoch)
    }
}

/// (epoch, endpoint) of a partition; an empty endpoint: vacant.
fn known(directory: &OwnerDirectory, partition: usize) -> Option<(u64, String)> {
    let known = directory.view().partitions.get(partition).cloned()??;
    Some((
        known.epoch,
        known.endpoint.as_deref().unwrap_or_default().to_owned(),
    ))
}

fn directory() -> OwnerDirectory {
    OwnerDirectory::new(10)
}

#[test]
fn a_higher_epoch_wins_whoever_came_last() {
    let mut all = directory();
    all.begin("a", "A", 4, &[owns(1, 7)]).expect("taken");
    let b = all.begin("b", "B", 4, &[owns(1, 6)]).expect("taken");
    assert_eq!(known(&all, 1), Some((7, "A".to_owned())));
    all.tell("b", b, &[owns(1, 8)]).expect("taken");
    assert_eq!(known(&all, 1), Some((8, "B".to_owned())));
    assert_eq!(known(&all, 0), None, "nobody told anything of it");
}

#[test]
fn who_was_deposed_does_not_own_when_the_later_owner_goes() {
    let mut all = directory();
    all.begin("a", "A", 4, &[owns(1, 7)]).expect("taken");
    let b = all.begin("b", "B", 4, &[owns(1, 8)]).expect("taken");
    all.leave("b", b);
    assert_eq!(known(&all, 1), Some((8, String::new())));
}

#[test]
fn an_end_that_comes_late_does_not_end_a_later_epoch() {
    let mut all = directory();
    let a = all.begin("a", "A", 4, &[owns(1, 7)]).expect("taken");
    all.tell("a", a, &[owns(1, 9), ended(1, 7)]).expect("taken");
    assert_eq!(known(&all, 1), Some((9, "A".to_owned())));
    all.tell("a", a, &[ended(1, 9)]).expect("taken");
    assert_eq!(known(&all, 1), Some((9, String::new())));
}

#[test]
fn a_full_statement_replaces_what_was_told_before() {
    let mut all = directory();
    let first = all
        .begin("a", "A", 4, &[owns(1, 7), owns(2, 3)])
        .expect("taken");
    all.begin("a", "A2", 4, &[owns(2, 3)]).expect("taken");
    assert_eq!(known(&all, 1), Some((7, String::new())));
    assert_eq!(known(&all, 2), Some((3, "A2".to_owned())));
    all.break_off("a", first, 0);
    all.expire(1_000, 1);
    assert_eq!(
        known(&all, 2),
        Some((3, "A2".to_owned())),
        "its later stream stands"
    );
    assert!(all.tell("a", first, &[owns(3, 1)]).is_err());
}

#[test]
fn what_broke_off_owns_for_the_grace_and_no_longer() {
    let mut all = directory();
    let a = all.begin("a", "A", 4, &[owns(1, 7)]).expect("taken");
    all.begin("b", "B", 4, &[]).expect("taken");
    all.break_off("a", a, 1_000);
    all.expire(3_999, 3_000);
    assert_eq!(known(&all, 1), Some((7, "A".to_owned())));
    all.expire(4_000, 3_000);
    assert_eq!(known(&all, 1), Some((7, String::new())));
}

#[test]
fn all_must_agree_on_the_log_until_nobody_is_left() {
    let mut all = directory();
    let a = all.begin("a", "A", 4, &[owns(1, 7)]).expect("taken");
    let other = all.begin("b", "B", 8, &[]).expect_err("refused");
    assert!(matches!(
        other,
        Refused::OtherPartitions {
            given: 8,
            known: 4,
            ..
        }
    ));
    let beyond = all.tell("a", a, &[owns(4, 1)]).expect_err("refused");
    assert!(matches!(
        beyond,
        Refused::NoPartition {
            given: 4,
            partitions: 4
        }
    ));
    all.leave("a", a);
    all.begin("b", "B", 8, &[owns(1, 1)]).expect("another log");
    assert_eq!(known(&all, 1), Some((1, "B".to_owned())));
}

#[test]
fn changes_name_what_is_new_and_what_is_gone() {
    let mut all = directory();
    let empty = all.view();
    let a = all
        .begin("a", "A", 3, &[owns(0, 1), owns(1, 1)])
        .expect("taken");
    let first = all.view();
    assert_eq!(first.changes_since(&empty).len(), 2);
    all.tell("a", a, &[ended(1, 1)]).expect("taken");
    let second = all.view();
    let vacant = Known {
        epoch: 1,
        endpoint: None,
    };
    assert_eq!(second.changes_since(&first), [(1, vacant.clone())]);
    assert!(second.changes_since(&second).is_empty());
    all.leave("a", a);
    assert_eq!(
        all.view().changes_since(&second),
        [(0, vacant.clone()), (1, vacant)]
    );
}

#[test]
fn told_in_any_order_the_directory_is_the_same() {
    let told = [
        ("a", "A", owns(0, 3)),
        ("b", "B", owns(0, 5)),
        ("c", "C", owns(0, 4)),
    ];
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut all = directory();
        for at in order {
            let (incarnation, endpoint, owned) = told[at];
            all.begin(incarnation, endpoint, 1, &[owned])
                .expect("taken");
        }
        assert_eq!(known(&all, 0), Some((5, "B".to_owned())), "{order:?}");
    }
}
