//! Records of the message log, what storage-writer folds of them, and the payloads of dead letters.

use bytes::Bytes;
use flare_server_core::event_bus::DeadLetter;
use flare_storage_model::{
    Applied, Cursor, Epoch, Fingerprint, LogRecord, LogState, LoggedEvent, apply, record,
};
use flare_storage_writer::domain::fold::{Input, Output, WriterFold};
use prost::Message;

use crate::corpus;

/// The longest reason that a dead letter keeps.
const MOST_REASON_BYTES: usize = 1_024;
/// Records of a fold are told apart by their length, two bytes, before each.
const LENGTH_BYTES: usize = 2;

/// Judges a record: what decodes is written again, and is the same.
pub fn records(bytes: &[u8]) {
    let Ok(record) = record::decode(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let written = record::encode(&record).expect("a record that was read is written");
    assert!(written.len() <= record::MAX_RECORD_BYTES);
    assert_eq!(record::decode(written).as_ref(), Ok(&record));
    let mut state = LogState::default();
    let applied = apply(&mut state, 0, &record);
    match (&record, applied) {
        (LogRecord::Takeover { epoch, .. }, Applied::Takeover) => assert_eq!(state.epoch, *epoch),
        // Nobody owns the log yet.
        (LogRecord::Group { .. }, Applied::Skipped(_)) => assert_eq!(state.epoch.number, 0),
        (record, applied) => panic!("{record:?} did {applied:?}"),
    }
    assert_eq!(state.next_offset, 1);
}

/// Judges a log: storage-writer folds it to its end or stops with a reason, and never goes back.
pub fn folds(bytes: &[u8]) {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (record, after) = after.split_at(length);
        records.push((records.len() as u64, Bytes::copy_from_slice(record)));
        rest = after;
    }
    let count = records.len() as u64;
    let mut fold = WriterFold::new(0, Cursor::default());
    let mut input = Input::Records(records);
    let mut last_position = None;
    loop {
        let before = fold.cursor().next_offset;
        match fold.step(input) {
            Err(_) => return,
            Ok(Output::Idle) => break,
            Ok(Output::ReadHeads(keys)) => {
                input = Input::Heads {
                    heads: vec![None; keys.len()],
                    stored: fold.cursor(),
                }
            }
            Ok(Output::Stored(step)) => panic!("nothing was stored before: {step:?}"),
            Ok(Output::Commit(step)) => {
                for position in step.positions {
                    assert!(last_position < Some(position), "{position}");
                    last_position = Some(position);
                }
                input = Input::Committed;
            }
        }
        assert!(fold.cursor().next_offset >= before);
    }
    assert!(count == 0 || fold.cursor().next_offset == count);
}

/// Judges a dead letter.
pub fn dead_letters(bytes: &[u8]) {
    let Ok(letter) = DeadLetter::decode(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let cut = letter.reason.floor_char_boundary(MOST_REASON_BYTES);
    let kept = DeadLetter {
        reason: letter.reason[..cut].to_owned(),
        ..letter.clone()
    };
    assert_eq!(DeadLetter::decode(letter.encode()), Ok(kept));
}

const EPOCH: Epoch = Epoch {
    number: 3,
    nonce: 99,
};

fn takeover() -> LogRecord {
    LogRecord::Takeover {
        epoch: EPOCH,
        owner: "node-1".to_owned(),
    }
}

fn group(n: u64, seqs: &[u64]) -> LogRecord {
    let event = |seq| {
        let event = corpus::event(seq, corpus::text("hello")).encode_to_vec();
        LoggedEvent::parse(event.into(), Fingerprint([5; 16])).expect("a good event")
    };
    LogRecord::Group {
        epoch: EPOCH,
        n,
        events: seqs.iter().copied().map(event).collect(),
    }
}

fn encoded(record: &LogRecord) -> Vec<u8> {
    record::encode(record).expect("a good record").to_vec()
}

/// A takeover, a group without and one with events.
pub fn corpus() -> Vec<Vec<u8>> {
    [takeover(), group(0, &[]), group(1, &[1, 2])]
        .iter()
        .map(encoded)
        .collect()
}

/// Logs of a few records, one with a group that does not count.
pub fn folds_corpus() -> Vec<Vec<u8>> {
    let log = |records: &[LogRecord]| {
        let mut log = Vec::new();
        for record in records {
            let record = encoded(record);
            let length = u16::try_from(record.len()).expect("a short record");
            log.extend(length.to_be_bytes());
            log.extend(record);
        }
        log
    };
    vec![
        log(&[takeover(), group(0, &[1, 2]), group(1, &[3])]),
        log(&[takeover(), group(0, &[1]), group(0, &[1]), takeover()]),
        log(&[takeover(), group(0, &[])]),
    ]
}

/// Letters with and without a payload.
pub fn dead_letters_corpus() -> Vec<Vec<u8>> {
    let letter = |reason: &str, payload: &'static [u8]| DeadLetter {
        group: "push".to_owned(),
        position: 9,
        reason: reason.to_owned(),
        payload: Bytes::from_static(payload),
    };
    vec![
        letter("no such conversation", b"payload").encode().to_vec(),
        letter("é", b"").encode().to_vec(),
    ]
}
