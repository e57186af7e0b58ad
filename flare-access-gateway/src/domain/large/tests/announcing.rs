use super::*;

#[test]
fn an_instance_is_told_everything_and_then_what_changes() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 4)));
    let announcer = bench.directory.announcer();
    let mut told = HashSet::new();
    let (changes, more) = bench.directory.changes(announcer, &told);
    assert_eq!(
        (changes.begun.len(), changes.ended.len(), more),
        (1, 0, false)
    );
    told.extend(changes.begun.clone());
    // Whoever was let in before it was told may have missed something.
    let hints = bench.directory.announced(&changes.begun);
    assert_eq!(hints[0].connections, [1]);
    let before = bench.directory.changed();
    bench.comes("ben", 2, Some((1, 4)));
    assert_eq!(bench.directory.changed(), before);
    assert_eq!(
        bench.directory.changes(announcer, &told),
        (Changes::default(), false)
    );
    bench.directory.disconnect(1);
    bench.directory.disconnect(2);
    bench.comes("ann", 3, Some((1, 4)));
    assert_eq!(
        bench.directory.changes(announcer, &told),
        (Changes::default(), false),
        "it has never ended for who was not told so"
    );
    bench.directory.disconnect(3);
    let (changes, _) = bench.directory.changes(announcer, &told);
    assert_eq!((changes.begun.len(), changes.ended.len()), (0, 1));
    told.clear();
    // What comes although nobody is in it is taken back.
    assert!(bench.event(6, 4, &Change::None, &[]).is_unwanted);
    let (changes, _) = bench.directory.changes(announcer, &told);
    assert_eq!((changes.begun.len(), changes.ended.len()), (0, 1));
    bench.directory.forget_announcer(announcer);
    bench.comes("ann", 4, Some((1, 4)));
    assert_eq!(
        bench.directory.changes(announcer, &told),
        (Changes::default(), false)
    );
}

#[test]
fn a_long_statement_comes_in_parts() {
    let mut bench = Bench::new();
    bench.directory.bounds.places = 10_000;
    bench.directory.connect(UserKey::new("t", "ann"), 1);
    bench.directory.registered(1);
    let question = bench.directory.ask(10).expect("ann");
    let places = (0..=MAX_CHANGES).map(|it| Place {
        user: 0,
        conversation: format!("c{it}").into(),
        joined_seq: 1,
        as_of: 1,
    });
    bench.directory.answer(&question, places.collect(), &[]);
    let announcer = bench.directory.announcer();
    let mut told = HashSet::new();
    let (changes, more) = bench.directory.changes(announcer, &told);
    assert_eq!((changes.begun.len(), more), (MAX_CHANGES, true));
    told.extend(changes.begun);
    let (changes, more) = bench.directory.changes(announcer, &told);
    assert_eq!((changes.begun.len(), more), (1, false));
}
