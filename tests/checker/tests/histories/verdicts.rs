//! What a verdict says and demands.

use std::collections::BTreeSet;

use flare_checker::{ClientEvent, Counts, Rejected, Shortfall, Via, ViolationKind};

use crate::story::{ALICE, BOB, Story, client};
use crate::{forged_order, forged_readers, forged_receipts, forged_strangers};

#[test]
fn every_kind_of_violation_has_a_forged_history() {
    let forged: BTreeSet<_> = [
        forged_receipts::FORGERIES,
        forged_order::FORGERIES,
        forged_readers::FORGERIES,
        forged_strangers::FORGERIES,
    ]
    .iter()
    .flat_map(|forgeries| forgeries.iter().map(|(kind, _)| *kind))
    .collect();
    let missing: Vec<_> = ViolationKind::ALL
        .iter()
        .filter(|kind| !forged.contains(kind))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn too_little_is_a_failure_that_names_every_count() {
    let mut story = Story::default();
    story.send(ALICE, "a1", "g", 1);
    let verdict = story.verdict();
    assert_eq!(
        verdict.require(&Counts {
            acks: 1,
            intents: 1,
            ..Counts::default()
        }),
        Ok(())
    );
    let rejected = verdict.require(&Counts {
        acks: 2,
        restarts: 1,
        intents: 1,
        ..Counts::default()
    });
    let expected = vec![
        Shortfall {
            name: "acks",
            seen: 1,
            wanted: 2,
        },
        Shortfall {
            name: "restarts",
            seen: 0,
            wanted: 1,
        },
    ];
    assert_eq!(rejected, Err(Rejected::TooLittle(expected)));
    assert_eq!(
        rejected.unwrap_err().to_string(),
        "too little happened: acks: 1 of at least 2, restarts: 0 of at least 1"
    );
}

#[test]
fn a_violation_fails_whatever_happened() {
    let mut story = Story::default();
    story.stored("g", 2, "alice", "a1");
    let rejected = story.verdict().require(&Counts::default()).unwrap_err();
    let Rejected::Violated(verdict) = rejected else {
        panic!("{rejected}")
    };
    assert_eq!(verdict.total(), 1);
}

#[test]
fn the_first_violation_says_where_it_is() {
    let mut story = Story::default();
    story.send(ALICE, "a1", "g", 1);
    story
        .get(BOB, "g", 1, "alice", "a1", Via::Deliver)
        .message_id = "forged".into();
    let text = story.verdict().to_string();
    for part in [
        "promise 1",
        "AckMismatch",
        "default/g",
        "seq 1",
        "default/bob/laptop",
        "record 3",
        "g#1",
        "forged",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn all_violations_are_counted_and_the_first_are_kept() {
    let mut story = Story::default();
    for seq in 1..=100 {
        story
            .stored("g", 2 * seq, "alice", &format!("a{seq}"))
            .ordinal = seq;
    }
    let verdict = story.verdict();
    assert_eq!(verdict.by_kind.get(&ViolationKind::SeqHole), Some(&100));
    assert_eq!(verdict.violations.len(), 16);
    assert_eq!(verdict.first().and_then(|violation| violation.seq), Some(1));
    assert!(verdict.to_string().lines().count() <= 24, "{verdict}");
}

#[test]
fn everything_that_happens_is_counted() {
    let mut story = Story::default();
    story.push(ALICE, ClientEvent::Connected);
    story.send(ALICE, "a1", "g", 1);
    story.resend(ALICE, "a1");
    story.ack(ALICE, "a1", "g", 1).duplicate = true;
    story.intend(ALICE, "a2", "g");
    story.refuse(ALICE, "a2", "UNAVAILABLE");
    story.push(
        ALICE,
        ClientEvent::Abandoned {
            client_id: "a2".into(),
        },
    );
    story.intend(ALICE, "a3", "g");
    story.get_stored(BOB, "g", 1..=1, Via::Deliver);
    story.get_stored(BOB, "g", 1..=1, Via::Sync);
    story.synced(BOB, "g", 0, 1, 1);
    story.push(
        BOB,
        ClientEvent::SyncHint {
            conversation: Some("g".into()),
        },
    );
    story.push(
        BOB,
        ClientEvent::Kicked {
            reason: "revoked".into(),
        },
    );
    story.push(BOB, ClientEvent::Disconnected);
    story.push("harness/1", ClientEvent::Restart);
    story.push("harness/1", ClientEvent::Takeover { epoch: 2 });
    story.end(BOB, "g", 1);
    let verdict = story.verdict();
    assert!(verdict.is_kept(), "{verdict}");
    let expected = Counts {
        clients: 3,
        conversations: 1,
        intents: 3,
        retries: 1,
        acks: 2,
        duplicates: 1,
        refusals: 1,
        abandons: 1,
        unanswered: 1,
        deliveries: 2,
        repeats: 1,
        syncs: 1,
        sync_hints: 1,
        connections: 1,
        disconnections: 1,
        restarts: 1,
        kicks: 1,
        takeovers: 1,
        ends: 1,
        server_events: 1,
        ..Counts::default()
    };
    assert_eq!(verdict.counts, expected);
}

#[test]
fn a_violation_is_known_as_soon_as_it_is_told() {
    let mut checker = flare_checker::Checker::new();
    let mut story = Story::default();
    story.intend(ALICE, "a1", "g");
    story.ack(ALICE, "a1", "g", 1);
    story.resend(ALICE, "a1");
    story.ack(ALICE, "a1", "g", 2).duplicate = true;
    for record in &story.records[..3] {
        checker.add(record);
    }
    assert_eq!(checker.first_violation(), None);
    checker.add(&story.records[3]);
    let found = checker.first_violation().expect("named");
    assert_eq!(
        (found.kind, found.client.as_ref()),
        (ViolationKind::ReceiptChanged, Some(&client(ALICE)))
    );
}
