//! Random true histories pass, whatever the order in which they are told; one lie in them is found.

use flare_checker::{Checker, ClientEvent, Delivered, Kind, Record, Verdict, Via};
use proptest::prelude::*;

use crate::model::Model;
use crate::steps::{Step, steps};
use crate::story::{ALICE, BOB, CAROL, PAD, Story, as_delivered};

/// Changes one thing at a place chosen by `pick`; false if the history has nothing to change.
type Lie = fn(&mut Story, usize) -> bool;

const LIES: &[(&str, Lie)] = &[
    ("a stored event is gone", |story, pick| {
        let at = pick % story.store.len();
        story.store.remove(at);
        true
    }),
    ("a stored event comes again at the head", |story, pick| {
        let mut event = story.store[pick % story.store.len()].clone();
        event.seq = 1 + head(story, &event.conversation);
        event.message_id.push_str("-again");
        story.store.push(event);
        true
    }),
    ("two stored events are swapped", |story, pick| {
        let at = pick % story.store.len();
        let (conversation, seq) = (story.store[at].conversation.clone(), story.store[at].seq);
        let next = story
            .store
            .iter()
            .position(|event| event.conversation == conversation && event.seq == seq + 1);
        let Some(next) = next else { return false };
        story.store[at].seq += 1;
        story.store[next].seq -= 1;
        true
    }),
    ("a stored sender is another", |story, pick| {
        let at = pick % story.store.len();
        story.store[at].sender = "mallory".into();
        true
    }),
    ("a stored time is another", |story, pick| {
        let at = pick % story.store.len();
        story.store[at].time_ms -= 1_000;
        true
    }),
    ("a stored ordinal is another", |story, pick| {
        let at = pick % story.store.len();
        story.store[at].ordinal += 2;
        true
    }),
    ("a receipt names the next seq", |story, pick| {
        change(
            story,
            pick,
            |event| match event {
                ClientEvent::Acked(acked) => Some(&mut acked.seq),
                _ => None,
            },
            |seq| *seq += 1,
        )
    }),
    ("a receipt names another message", |story, pick| {
        change(
            story,
            pick,
            |event| match event {
                ClientEvent::Acked(acked) => Some(&mut acked.message_id),
                _ => None,
            },
            |id| id.push_str("-forged"),
        )
    }),
    ("a retry is not marked", |story, pick| {
        let mut new = std::collections::HashSet::new();
        let mut again = Vec::new();
        for (at, record) in story.records.iter().enumerate() {
            if let ClientEvent::Acked(acked) = &record.event
                && !new.insert(acked.client_id.clone())
            {
                again.push(at);
            }
        }
        let Some(&at) = again.get(pick % again.len().max(1)) else {
            return false;
        };
        match &mut story.records[at].event {
            ClientEvent::Acked(acked) => acked.duplicate = false,
            other => panic!("{other:?}"),
        }
        true
    }),
    ("a delivery is gone", |story, pick| {
        let Some(at) = only_deliveries(story).pick(pick) else {
            return false;
        };
        story.records.remove(at);
        true
    }),
    ("a push is turned into a page of history", |story, pick| {
        // A hint leaves the checker lenient, and only the last connection is held to its declaration.
        let held = |at: usize| {
            let mut own = story
                .records
                .iter()
                .enumerate()
                .filter(|(_, record)| record.client == story.records[at].client);
            own.all(|(other, record)| match record.event {
                ClientEvent::Connected => other < at,
                ClientEvent::SyncHint { .. } => false,
                _ => true,
            })
        };
        let mut pushed = only_deliveries(story);
        pushed.retain(|&at| {
            held(at) && matches!(&story.records[at].event, ClientEvent::Delivered(event) if event.via == Via::Deliver)
        });
        let Some(at) = pushed.pick(pick) else {
            return false;
        };
        match &mut story.records[at].event {
            ClientEvent::Delivered(event) => event.via = Via::History,
            other => panic!("{other:?}"),
        }
        true
    }),
    ("a delivery has another message", |story, pick| {
        delivered(story, pick, |event| event.message_id.push_str("-forged"))
    }),
    ("a delivery has another sender", |story, pick| {
        delivered(story, pick, |event| event.sender = "mallory".into())
    }),
    ("a delivery has another content", |story, pick| {
        delivered(story, pick, |event| event.body_hash = Some("forged".into()))
    }),
    ("a delivery has another tenant", |story, pick| {
        delivered(story, pick, |event| event.tenant = Some("other".into()))
    }),
    ("a delivery withholds its content", |story, pick| {
        let recalled: Vec<_> = story
            .store
            .iter()
            .filter_map(|event| Some((event.conversation.clone(), event.recalled_seq?)))
            .collect();
        change(
            story,
            pick,
            |event| match event {
                ClientEvent::Delivered(event)
                    if event.kind == Some(Kind::Message)
                        && !recalled.contains(&(event.conversation.clone(), event.seq)) =>
                {
                    Some(event)
                }
                _ => None,
            },
            |event| event.body_hash = None,
        )
    }),
    ("a stranger gets an event", |story, pick| {
        let event = as_delivered(&story.store[pick % story.store.len()], Via::Sync);
        story.push("dave/phone", ClientEvent::Delivered(event));
        true
    }),
    ("carol gets a direct message of others", |story, pick| {
        let direct: Vec<_> = story
            .store
            .iter()
            .filter(|event| event.conversation == "d_1")
            .cloned()
            .collect();
        let Some(event) = direct.get(pick % direct.len().max(1)) else {
            return false;
        };
        story.push(
            CAROL,
            ClientEvent::Delivered(as_delivered(event, Via::Deliver)),
        );
        true
    }),
    ("an intent has another content", |story, pick| {
        let stored: std::collections::HashSet<_> = story
            .store
            .iter()
            .filter(|event| event.kind == Kind::Message)
            .map(|event| event.client_id.clone())
            .collect();
        change(
            story,
            pick,
            |event| match event {
                ClientEvent::Intent(intent) if stored.contains(&intent.client_id) => {
                    Some(&mut intent.body_hash)
                }
                _ => None,
            },
            |body| *body = "forged".into(),
        )
    }),
    ("an intent is gone", |story, pick| {
        let intents: Vec<_> = (0..story.records.len())
            .filter(|&at| matches!(&story.records[at].event, ClientEvent::Intent(intent) if answered(story, &intent.client_id)))
            .collect();
        let Some(at) = intents.pick(pick) else {
            return false;
        };
        story.records.remove(at);
        true
    }),
    ("a sync names a head below its answer", |story, pick| {
        change(
            story,
            pick,
            |event| match event {
                ClientEvent::Sync(answer) if answer.to > answer.from => Some(answer),
                _ => None,
            },
            |answer| answer.head = answer.to - 1,
        )
    }),
    ("a sync holds one event less", |story, pick| {
        change(
            story,
            pick,
            |event| match event {
                ClientEvent::Sync(answer) => answer.events.as_mut(),
                _ => None,
            },
            |events| *events -= 1,
        )
    }),
    ("a floor is named where there is none", |story, _| {
        if head(story, "d_1") == 0 {
            return false;
        }
        story.push(
            BOB,
            ClientEvent::Floor {
                conversation: "d_1".into(),
                floor: 2,
            },
        );
        true
    }),
];

trait Pick {
    fn pick(&self, pick: usize) -> Option<usize>;
}

impl Pick for Vec<usize> {
    fn pick(&self, pick: usize) -> Option<usize> {
        self.get(pick % self.len().max(1)).copied()
    }
}

fn head(story: &Story, conversation: &str) -> u64 {
    story
        .store
        .iter()
        .filter(|event| event.conversation == conversation)
        .map(|event| event.seq)
        .max()
        .unwrap_or(0)
}

fn answered(story: &Story, id: &str) -> bool {
    story.records.iter().any(|record| match &record.event {
        ClientEvent::Acked(acked) => acked.client_id == id,
        ClientEvent::Refused(refused) => refused.client_id == id,
        _ => false,
    })
}

/// Changes one of the parts that `find` finds.
fn change<T>(
    story: &mut Story,
    pick: usize,
    find: impl Fn(&mut ClientEvent) -> Option<&mut T>,
    lie: impl Fn(&mut T),
) -> bool {
    let mut parts: Vec<_> = story
        .records
        .iter_mut()
        .filter_map(|record| find(&mut record.event))
        .collect();
    let count = parts.len().max(1);
    parts.get_mut(pick % count).map(|part| lie(part)).is_some()
}

fn delivered(story: &mut Story, pick: usize, lie: fn(&mut Delivered)) -> bool {
    change(
        story,
        pick,
        |event| match event {
            ClientEvent::Delivered(event) => Some(event),
            _ => None,
        },
        lie,
    )
}

/// Deliveries without which their client, which is a member all the time, lacks the event.
fn only_deliveries(story: &Story) -> Vec<usize> {
    let got = |record: &Record| match &record.event {
        ClientEvent::Delivered(event) => Some((event.conversation.clone(), event.seq)),
        ClientEvent::Acked(acked) => Some((acked.conversation.clone(), acked.seq)),
        _ => None,
    };
    let always = |record: &Record| match &record.event {
        ClientEvent::Delivered(event) => {
            record.client.user == "alice" || event.conversation == "d_1"
        }
        _ => false,
    };
    (0..story.records.len())
        .filter(|&at| {
            let record = &story.records[at];
            let same = |other: &&Record| other.client == record.client && got(other) == got(record);
            always(record) && story.records.iter().filter(same).count() == 1
        })
        .collect()
}

/// The verdict when the server's events come first, and each client's history as a whole: the way files are read.
fn told_by_file(story: &Story) -> Verdict {
    let mut checker = Checker::new();
    checker.declare_all_senders_recorded();
    checker.declare_store_known();
    story
        .store
        .iter()
        .for_each(|event| checker.add_server_event(event));
    let mut records: Vec<_> = story.records.iter().collect();
    records.sort_by_key(|record| (&record.client.device, &record.client.user, record.index));
    records.into_iter().for_each(|record| checker.add(record));
    checker.verdict()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_true_history_passes(steps in steps()) {
        let story = Model::tell(&steps);
        let verdict = story.verdict();
        prop_assert!(verdict.is_kept(), "{verdict}");
        let by_file = told_by_file(&story);
        prop_assert!(by_file.is_kept(), "{by_file}");
        prop_assert_eq!(by_file.counts, verdict.counts);
    }

    #[test]
    fn a_true_history_passes_without_the_store(steps in steps()) {
        let mut story = Model::tell(&steps);
        story.store.clear();
        story.store_known = false;
        let verdict = story.verdict();
        prop_assert!(verdict.is_kept(), "{verdict}");
    }

    #[test]
    fn one_lie_is_found(steps in steps(), lie in 0..LIES.len(), pick in any::<prop::sample::Index>()) {
        let mut story = Model::tell(&steps);
        let pick = pick.index(1 << 20);
        let told = LIES.iter().cycle().skip(lie).take(LIES.len()).find(|(_, lie)| lie(&mut story, pick));
        let (name, _) = told.expect("a stored event can always be taken away");
        prop_assert!(!story.verdict().is_kept(), "not found: {name}");
        prop_assert!(!told_by_file(&story).is_kept(), "not found file by file: {name}");
    }
}

#[test]
fn every_lie_can_be_told() {
    let mut steps: Vec<_> = [ALICE, PAD, BOB, CAROL]
        .iter()
        .enumerate()
        .map(|(device, _)| Step::Send { device, place: 1 })
        .collect();
    for device in [0, 2, 1] {
        steps.push(Step::SendAgain { device, place: 0 });
    }
    for (name, lie) in LIES {
        let mut story = Model::tell(&steps);
        assert!(lie(&mut story, 1), "{name}");
    }
}
