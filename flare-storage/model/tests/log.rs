//! The log's records and their fold, against anything that a log can bring.

#![expect(clippy::expect_used, reason = "tests")]

use bytes::Bytes;
use flare_storage_model::{
    Applied, Epoch, Fingerprint, LogRecord, LogState, LoggedEvent, MAX_RECORD_BYTES, RecordError,
    SkipReason, apply,
    contract::Script,
    record::{decode, encode},
};
use proptest::prelude::*;

fn epoch(number: u64, nonce: u64) -> Epoch {
    Epoch { number, nonce }
}

fn takeover(number: u64, nonce: u64) -> LogRecord {
    LogRecord::Takeover {
        epoch: epoch(number, nonce),
        owner: format!("owner-{nonce}"),
    }
}

fn event(text: &str) -> LoggedEvent {
    Script::new()
        .message("general", text)
        .expect("a good event")
}

fn group(number: u64, nonce: u64, n: u64) -> LogRecord {
    let events = vec![event(&format!("{number}.{nonce}.{n}"))];
    LogRecord::Group {
        epoch: epoch(number, nonce),
        n,
        events,
    }
}

/// The events that a log's records bring, and where the fold ends.
fn fold(records: &[LogRecord]) -> (LogState, Vec<Bytes>) {
    let mut state = LogState::default();
    let mut events = Vec::new();
    for (offset, record) in records.iter().enumerate() {
        if let Applied::Group(group) = apply(&mut state, offset as u64, record) {
            events.extend(group.iter().map(|it| it.event().clone()));
        }
    }
    (state, events)
}

#[test]
fn a_takeover_counts_iff_its_number_is_above_the_current_one() {
    let mut state = LogState::default();
    assert_eq!(apply(&mut state, 0, &takeover(3, 1)), Applied::Takeover);
    assert_eq!(
        apply(&mut state, 1, &takeover(3, 2)),
        Applied::Skipped(SkipReason::StaleTakeover {
            number: 3,
            current: 3
        })
    );
    assert!(matches!(
        apply(&mut state, 2, &takeover(2, 3)),
        Applied::Skipped(_)
    ));
    assert!(matches!(
        apply(&mut state, 3, &group(3, 1, 0)),
        Applied::Group(_)
    ));
    assert_eq!(apply(&mut state, 4, &takeover(9, 4)), Applied::Takeover);
    assert_eq!(
        (state.epoch, state.n, state.next_offset),
        (epoch(9, 4), 0, 5)
    );
}

#[test]
fn a_group_counts_iff_it_is_the_current_epochs_next_one() {
    let mut state = LogState::default();
    let skips =
        |state: &mut LogState, offset, record: &LogRecord| match apply(state, offset, record) {
            Applied::Skipped(reason) => reason,
            counted => panic!("{counted:?}"),
        };
    let other = SkipReason::OtherEpoch {
        number: 1,
        current: 0,
    };
    assert_eq!(skips(&mut state, 0, &group(1, 1, 0)), other);
    apply(&mut state, 1, &takeover(1, 1));
    let second = group(1, 1, 1);
    assert_eq!(
        skips(&mut state, 2, &second),
        SkipReason::OtherIndex { n: 1, expected: 0 }
    );
    let first = group(1, 1, 0);
    assert!(matches!(apply(&mut state, 3, &first), Applied::Group(events) if events.len() == 1));
    assert_eq!(
        skips(&mut state, 4, &first),
        SkipReason::OtherIndex { n: 0, expected: 1 }
    );
    let foreign = group(1, 2, 1);
    assert_eq!(
        skips(&mut state, 5, &foreign),
        SkipReason::OtherEpoch {
            number: 1,
            current: 1
        }
    );
    assert!(matches!(apply(&mut state, 6, &second), Applied::Group(_)));
    assert_eq!((state.n, state.next_offset), (2, 7));
}

#[test]
fn nobodys_log_takes_no_group() {
    let mut state = LogState::default();
    let nobodys = LogRecord::Group {
        epoch: Epoch::default(),
        n: 0,
        events: vec![event("hi")],
    };
    assert!(matches!(
        apply(&mut state, 0, &nobodys),
        Applied::Skipped(_)
    ));
}

#[test]
fn an_offset_that_is_folded_is_skipped() {
    let mut state = LogState::default();
    apply(&mut state, 7, &takeover(1, 1));
    let before = state;
    assert_eq!(
        apply(&mut state, 7, &takeover(2, 1)),
        Applied::Skipped(SkipReason::Repeated { next_offset: 8 })
    );
    assert_eq!(state, before);
}

#[test]
fn time_is_that_of_the_last_event_that_counted() {
    let mut state = LogState::default();
    apply(&mut state, 0, &takeover(1, 1));
    let counted = group(1, 1, 0);
    apply(&mut state, 1, &counted);
    let LogRecord::Group { events, .. } = &counted else {
        panic!("a group")
    };
    assert_eq!(state.time_ms, events[0].header().time_ms);
}

#[test]
fn records_come_back_as_they_were_written() {
    for record in [takeover(1, u64::MAX), group(1, 2, 3)] {
        let bytes = encode(&record).expect("encodes");
        assert_eq!(bytes[0], 1);
        assert_eq!(decode(bytes), Ok(record));
    }
}

#[test]
fn what_is_no_record_is_a_typed_error() {
    let good = encode(&group(1, 2, 3)).expect("encodes");
    assert_eq!(decode(Bytes::new()), Err(RecordError::Empty));
    let mut other = good.to_vec();
    other[0] = 2;
    assert_eq!(decode(Bytes::from(other)), Err(RecordError::Version(2)));
    assert_eq!(decode(Bytes::from_static(&[1])), Err(RecordError::Kind));
    let cut = decode(good.slice(..good.len() - 1));
    assert!(matches!(cut, Err(RecordError::Undecodable(_))));
    assert_eq!(encode(&takeover(0, 1)), Err(RecordError::NoEpoch));
    // A group whose event is three letters.
    let bytes = [
        1, 0x12, 11, 0x0a, 2, 0x08, 1, 0x1a, 5, 0x0a, 3, b'a', b'b', b'c',
    ];
    let error = decode(Bytes::copy_from_slice(&bytes));
    assert!(
        matches!(error, Err(RecordError::Event { index: 0, .. })),
        "{error:?}"
    );
}

#[test]
fn a_record_above_the_limit_is_refused_both_ways() {
    let text = "x".repeat(64 * 1024);
    let mut events: Vec<_> = (0..7).map(|_| event(&text)).collect();
    let mut record = LogRecord::Group {
        epoch: epoch(1, 1),
        n: 0,
        events: events.clone(),
    };
    let bytes = encode(&record).expect("seven fit");
    let claimed: usize = events.iter().map(LoggedEvent::record_bytes).sum();
    assert!(bytes.len() <= claimed + flare_storage_model::record::GROUP_OVERHEAD_BYTES);
    events.push(event(&text));
    record = LogRecord::Group {
        epoch: epoch(1, 1),
        n: 0,
        events,
    };
    assert!(matches!(encode(&record), Err(RecordError::TooLarge(_))));
    let large = Bytes::from(vec![1; MAX_RECORD_BYTES + 1]);
    assert_eq!(
        decode(large),
        Err(RecordError::TooLarge(MAX_RECORD_BYTES + 1))
    );
}

proptest! {
    #[test]
    fn any_bytes_give_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut versioned = vec![1];
        versioned.extend_from_slice(&bytes);
        for bytes in [bytes, versioned] {
            if let Ok(record) = decode(Bytes::from(bytes)) {
                prop_assert!(encode(&record).is_ok());
            }
        }
    }

    #[test]
    fn any_cut_or_flip_of_a_record_gives_a_record_or_an_error(
        place in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let good = encode(&group(1, 2, 3)).expect("encodes");
        let place = place.index(good.len());
        let mut flipped = good.to_vec();
        flipped[place] ^= 1 << bit;
        for bytes in [Bytes::from(flipped), good.slice(..place)] {
            // Total: it returns. Two records that read the same are written the same.
            if let Ok(record) = decode(bytes) {
                let again = encode(&record).expect("what was read can be written");
                prop_assert_eq!(decode(again), Ok(record));
            }
        }
    }

    /// Owners take over one after another; between their records lie doubled ones, ones that come late, and ones of owners that lost.
    #[test]
    fn stale_doubled_and_late_records_do_not_change_the_fold(
        lengths in proptest::collection::vec(0..5_u64, 1..5),
        noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..40),
    ) {
        let mut valid = Vec::new();
        for (owner, length) in lengths.iter().enumerate() {
            let number = owner as u64 + 1;
            valid.push(takeover(number, 1));
            valid.extend((0..*length).map(|n| group(number, 1, n)));
        }
        let (ought, events) = fold(&valid);
        // Each valid record with what has no effect when it comes after it.
        let mut log: Vec<(usize, LogRecord)> = valid.iter().cloned().enumerate().collect();
        for (what, delay, forged) in noise {
            let index = what.index(valid.len());
            let record = match (&valid[index], forged) {
                (record, false) => record.clone(),
                (LogRecord::Takeover { epoch, .. }, true) => takeover(epoch.number, 2),
                (LogRecord::Group { epoch, n, .. }, true) => group(epoch.number, 2, *n),
            };
            // Behind the original: a repetition that overtook it would be the original.
            let original = log.iter().position(|(it, _)| *it == index).expect("it is there");
            let place = original + 1 + delay.index(log.len() - original);
            log.insert(place, (usize::MAX, record));
        }
        let log: Vec<_> = log.into_iter().map(|(_, record)| record).collect();
        let (state, found) = fold(&log);
        prop_assert_eq!(found, events);
        prop_assert_eq!((state.epoch, state.n, state.time_ms), (ought.epoch, ought.n, ought.time_ms));
        prop_assert_eq!(state.next_offset, log.len() as u64);
    }

    /// In any order and number, the events that count are, epoch by epoch, a gap-free prefix of what that owner decided.
    #[test]
    fn whatever_the_log_holds_each_epoch_gives_a_prefix(
        picks in proptest::collection::vec((0..4_u64, 0..5_u64), 0..60),
    ) {
        let records: Vec<_> = picks
            .iter()
            .map(|(number, n)| match n {
                0 => takeover(number + 1, 1),
                n => group(number + 1, 1, n - 1),
            })
            .collect();
        let mut state = LogState::default();
        let mut next = std::collections::BTreeMap::new();
        for (offset, record) in records.iter().enumerate() {
            if let Applied::Group(_) = apply(&mut state, offset as u64, record) {
                let LogRecord::Group { epoch, n, .. } = record else { panic!("a group") };
                prop_assert!(next.keys().all(|it| *it <= epoch.number));
                let next = next.entry(epoch.number).or_insert(0);
                prop_assert_eq!(*n, *next);
                *next += 1;
            }
        }
    }
}

#[test]
fn the_fingerprint_goes_with_its_event() {
    let plain = event("hello");
    let marked = LoggedEvent::parse(plain.event().clone(), Fingerprint([9; 16])).expect("parses");
    let record = LogRecord::Group {
        epoch: epoch(1, 1),
        n: 0,
        events: vec![marked],
    };
    let back = decode(encode(&record).expect("encodes")).expect("decodes");
    let LogRecord::Group { events, .. } = back else {
        panic!("a group")
    };
    assert_eq!(events[0].fingerprint(), Fingerprint([9; 16]));
}
