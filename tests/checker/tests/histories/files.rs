//! Histories on disk.

use std::fs::{self, OpenOptions};
use std::io::Write;

use flare_checker::{
    Acked, Client, ClientEvent, Delivered, Durability, HistoryError, HistoryWriter, Intent, Kind,
    MemberChange, Record, Refused, SyncAnswer, Target, Via, read_histories,
};

fn alice() -> Client {
    Client::new("default", "alice", "phone")
}

fn one_of_each() -> Vec<ClientEvent> {
    let conversation = || "d_1".to_owned();
    let mut delivered = Delivered::message("d_1", 2, "m2", "bob", "h2", Via::OwnAck);
    delivered.kind = Some(Kind::Recall);
    delivered.ordinal = Some(1);
    delivered.server_time_ms = Some(-5);
    vec![
        ClientEvent::Connected,
        ClientEvent::OnlineThroughout,
        ClientEvent::Intent(Intent {
            client_id: "a\"\n1".into(),
            target: Target::User("björn".into()),
            sender: "alice".into(),
            body_hash: "h1".into(),
            kind: Kind::Message,
        }),
        ClientEvent::Resent {
            client_id: "a1".into(),
        },
        ClientEvent::Abandoned {
            client_id: "a1".into(),
        },
        ClientEvent::Acked(Acked {
            client_id: "a1".into(),
            conversation: conversation(),
            seq: 1,
            message_id: "m1".into(),
            duplicate: true,
            body_hash: None,
        }),
        ClientEvent::Refused(Refused {
            client_id: "a1".into(),
            code: "UNAVAILABLE".into(),
            retryable: true,
        }),
        ClientEvent::Delivered(delivered),
        ClientEvent::Snapshot {
            conversation: conversation(),
            as_of: u64::MAX,
        },
        ClientEvent::SyncHint { conversation: None },
        ClientEvent::Floor {
            conversation: conversation(),
            floor: 3,
        },
        ClientEvent::Sync(SyncAnswer {
            conversation: conversation(),
            from: 0,
            to: 2,
            head: 2,
            events: Some(2),
        }),
        ClientEvent::Kicked {
            reason: "revoked".into(),
        },
        ClientEvent::Member {
            conversation: conversation(),
            at_seq: 4,
            change: MemberChange::Joined {
                user: "carol".into(),
                history_from: Some(1),
            },
        },
        ClientEvent::Member {
            conversation: conversation(),
            at_seq: 5,
            change: MemberChange::Removed {
                user: "carol".into(),
            },
        },
        ClientEvent::Restart,
        ClientEvent::Takeover { epoch: 9 },
        ClientEvent::End {
            conversation: conversation(),
            read_to: 2,
        },
        ClientEvent::Quiesced,
        ClientEvent::Disconnected,
    ]
}

#[test]
fn every_record_is_read_as_it_was_written_and_numbered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alice.jsonl");
    let mut writer = HistoryWriter::open(&path, alice(), Durability::Machine).unwrap();
    for (time_ms, event) in (100..).zip(one_of_each()) {
        writer.append(time_ms, event).unwrap();
    }
    let read: Vec<_> = read_histories([&path]).map(Result::unwrap).collect();
    let expected: Vec<_> = (1..)
        .zip(100..)
        .zip(one_of_each())
        .map(|((index, time_ms), event)| Record {
            client: alice(),
            index,
            time_ms,
            event,
        })
        .collect();
    assert_eq!(read, expected);
}

#[test]
fn a_record_is_in_the_file_when_append_returns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alice.jsonl");
    let mut writer = HistoryWriter::open(&path, alice(), Durability::Process).unwrap();
    for lines in 1..=3 {
        writer.append(0, ClientEvent::Connected).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), lines);
    }
}

#[test]
fn a_line_cut_off_by_a_crash_is_left_out_and_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alice.jsonl");
    let mut writer = HistoryWriter::open(&path, alice(), Durability::Process).unwrap();
    writer.append(1, ClientEvent::Connected).unwrap();
    writer.append(2, ClientEvent::Disconnected).unwrap();
    drop(writer);
    let torn = vec![b'x'; 200_000];
    OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(&torn)
        .unwrap();
    assert_eq!(read_histories([&path]).filter(Result::is_ok).count(), 2);

    let mut writer = HistoryWriter::open(&path, alice(), Durability::Process).unwrap();
    writer.append(3, ClientEvent::Restart).unwrap();
    let indexes: Vec<_> = read_histories([&path])
        .map(|record| record.unwrap().index)
        .collect();
    assert_eq!(indexes, [1, 2, 3]);
}

#[test]
fn a_file_that_holds_only_a_torn_line_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alice.jsonl");
    fs::write(&path, b"{\"client\":").unwrap();
    assert_eq!(read_histories([&path]).count(), 0);
    let mut writer = HistoryWriter::open(&path, alice(), Durability::Process).unwrap();
    writer.append(1, ClientEvent::Connected).unwrap();
    assert_eq!(
        read_histories([&path])
            .map(|record| record.unwrap().index)
            .collect::<Vec<_>>(),
        [1]
    );
}

#[test]
fn a_line_that_is_no_record_is_named_and_ends_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.jsonl");
    let mut writer = HistoryWriter::open(&path, alice(), Durability::Process).unwrap();
    writer.append(1, ClientEvent::Connected).unwrap();
    OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"{\"client\":1}\n{}\n")
        .unwrap();
    let read: Vec<_> = read_histories([&path]).collect();
    assert_eq!(read.len(), 2);
    let Err(error @ HistoryError::Syntax { line: 2, .. }) = &read[1] else {
        panic!("{read:?}")
    };
    assert!(error.to_string().contains("bad.jsonl, line 2"), "{error}");
}

#[test]
fn a_missing_file_is_an_error_and_the_next_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alice.jsonl");
    HistoryWriter::open(&path, alice(), Durability::Process)
        .unwrap()
        .append(1, ClientEvent::Connected)
        .unwrap();
    let read: Vec<_> = read_histories([folder.path().join("missing"), path]).collect();
    assert!(
        matches!(read[..], [Err(HistoryError::Io { .. }), Ok(_)]),
        "{read:?}"
    );
}

#[test]
fn a_history_is_not_continued_by_another_client() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alice.jsonl");
    HistoryWriter::open(&path, alice(), Durability::Process)
        .unwrap()
        .append(1, ClientEvent::Connected)
        .unwrap();
    let bob = Client::new("default", "bob", "phone");
    assert!(matches!(
        HistoryWriter::open(&path, bob, Durability::Process),
        Err(HistoryError::OtherClient { .. })
    ));
}
