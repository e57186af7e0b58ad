//! A log in ordinary life and with failing disks.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flare_server_core::clock::ManualClock;
use flare_server_core::log_file::faults::{Fault, FaultyLayer, Operation};
use flare_server_core::log_file::{
    DiskLayer, LogError, LogFile, LogOptions, MAX_RECORD_BYTES, Retention, RoomState,
};

fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 4096,
        prepare_ahead: false,
        ..LogOptions::default()
    }
}

fn open(disk: &FaultyLayer, options: LogOptions) -> Result<LogFile, LogError> {
    LogFile::open(Arc::new(disk.clone()), Path::new("log"), options)
}

fn record(index: u64) -> Bytes {
    Bytes::from(format!("{index:0>1000}"))
}

fn fill(log: &mut LogFile, count: u64) {
    for _ in 0..count {
        let next = log.end();
        assert_eq!(log.append(&[record(next)]).unwrap(), next);
    }
}

fn assert_holds(log: &LogFile, offsets: std::ops::Range<u64>) {
    assert_eq!((log.floor(), log.end()), (offsets.start, offsets.end));
    let slice = log.reader().read(offsets.start, usize::MAX).unwrap();
    assert_eq!(
        slice.records,
        offsets
            .map(|offset| (offset, record(offset)))
            .collect::<Vec<_>>()
    );
}

#[test]
fn records_come_back_over_many_segments_and_restarts_on_a_real_disk() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("some/log");
    let options = || LogOptions {
        segment_bytes: 16 << 10,
        ..LogOptions::default()
    };
    for restart in 0..4 {
        let mut log = LogFile::open(Arc::new(DiskLayer), &folder, options()).unwrap();
        assert_holds(&log, 0..restart * 40);
        fill(&mut log, 40);
        assert_holds(&log, 0..(restart + 1) * 40);
    }
    assert!(std::fs::read_dir(&folder).unwrap().count() > 8);
}

#[test]
fn reads_of_any_size_from_anywhere_are_contiguous_and_bounded() {
    let mut log = open(&FaultyLayer::new(), small()).unwrap();
    fill(&mut log, 20);
    let reader = log.reader();
    for from in 0..20 {
        for max_bytes in [0, 1, 999, 1_000, 1_001, 1_999, 2_000, 3_500, 7_000, 50_000] {
            let records = reader.read(from, max_bytes).unwrap().records;
            let count = (max_bytes as u64 / 1_000).clamp(1, 20 - from);
            let expected: Vec<_> = (from..from + count)
                .map(|offset| (offset, record(offset)))
                .collect();
            assert_eq!(records, expected, "{max_bytes} bytes from {from}");
        }
    }
}

#[test]
fn the_largest_record_is_taken_and_one_byte_more_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 8 << 20,
        ..LogOptions::default()
    };
    let mut log = LogFile::open(Arc::new(DiskLayer), folder.path(), options).unwrap();
    let largest = Bytes::from(vec![3; MAX_RECORD_BYTES]);
    assert_eq!(log.append(&vec![largest.clone(); 9]).unwrap(), 0);
    let error = log
        .append(&[Bytes::from(vec![3; MAX_RECORD_BYTES + 1])])
        .unwrap_err();
    assert!(matches!(
        error,
        LogError::TooLarge {
            bytes: 1_048_577,
            limit: 1_048_576
        }
    ));
    assert_eq!(log.end(), 9);
    for offset in 0..9 {
        assert_eq!(
            log.reader().read(offset, 0).unwrap().records,
            [(offset, largest.clone())]
        );
    }
}

#[test]
fn a_second_process_is_refused_with_the_folder_and_the_first_ones_id() {
    let folder = tempfile::tempdir().unwrap();
    let open = || LogFile::open(Arc::new(DiskLayer), folder.path(), small());
    let first = open().unwrap();
    match open().err() {
        Some(LogError::Locked {
            folder: locked,
            pid,
        }) => {
            assert_eq!(locked, folder.path());
            assert_eq!(pid, Some(std::process::id()));
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    open().unwrap();
}

#[test]
fn one_append_is_one_write_and_one_sync() {
    let disk = FaultyLayer::new();
    let mut log = open(&disk, small()).unwrap();
    let operations = Arc::new(Mutex::new(Vec::new()));
    let noted = operations.clone();
    disk.inject(move |operation| {
        noted.lock().unwrap().push(operation.clone());
        Fault::None
    });
    log.append(&[record(0), record(1), record(2)]).unwrap();
    let operations = operations.lock().unwrap();
    assert!(
        matches!(
            operations[..],
            [Operation::Write(_, 512, 3072 | 3584), Operation::Sync(_)]
        ),
        "{operations:?}"
    );
}

#[test]
fn short_writes_are_completed() {
    let disk = FaultyLayer::new();
    disk.inject(|_| Fault::Short(100));
    let mut log = open(&disk, small()).unwrap();
    fill(&mut log, 9);
    drop(log);
    assert_holds(&open(&disk.total_power_loss(), small()).unwrap(), 0..9);
}

/// What happens when this operation fails during an append.
fn fails(matching: fn(&Operation) -> bool) {
    let disk = FaultyLayer::new();
    let fatal = Arc::new(AtomicUsize::new(0));
    let counted = fatal.clone();
    let on_fatal = Arc::new(move |error: &LogError| {
        assert!(matches!(error, LogError::Fatal { .. }));
        counted.fetch_add(1, SeqCst);
    });
    let mut log = open(
        &disk,
        LogOptions {
            on_fatal: Some(on_fatal),
            ..small()
        },
    )
    .unwrap();
    fill(&mut log, 2);
    disk.inject(move |operation| {
        if matching(operation) {
            Fault::Fail(ErrorKind::StorageFull)
        } else {
            Fault::None
        }
    });
    let mut tried = 2;
    let error = loop {
        match log.append(&[record(tried)]) {
            Ok(_) => tried += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::Fatal { .. }), "{error}");
    assert_eq!(fatal.load(SeqCst), 1);
    disk.leave_alone();
    assert!(matches!(
        log.append(&[record(tried)]),
        Err(LogError::Poisoned { .. })
    ));
    assert_eq!(fatal.load(SeqCst), 1, "reported once");
    assert_holds(&log, 0..tried);
    let survived = open(&disk.total_power_loss(), small()).unwrap();
    assert_holds(&survived, 0..tried);
}

#[test]
fn a_write_that_fails_poisons_the_log_and_reads_go_on() {
    fails(|operation| matches!(operation, Operation::Write(..)));
}

#[test]
fn a_sync_that_fails_poisons_the_log_and_what_it_covered_is_not_seen() {
    fails(|operation| matches!(operation, Operation::Sync(_)));
}

#[test]
fn a_segment_that_cannot_be_made_poisons_the_log() {
    fails(|operation| matches!(operation, Operation::Create(_)));
    fails(|operation| matches!(operation, Operation::Rename(..)));
    fails(|operation| matches!(operation, Operation::SyncFolder(_)));
}

#[test]
fn trimming_removes_whole_segments_below_the_offset() {
    let disk = FaultyLayer::new();
    let mut log = open(&disk, small()).unwrap();
    fill(&mut log, 10);
    let segments = disk.paths().len();
    assert_eq!(
        log.trim(1, 1).unwrap(),
        0,
        "the first segment has more than one record"
    );
    assert_eq!(disk.paths().len(), segments);
    let floor = log.trim(7, 7).unwrap();
    assert!(floor > 0 && floor <= 7);
    assert!(disk.paths().len() < segments);
    assert_holds(&log, floor..10);
    assert!(matches!(
        log.reader().read(floor - 1, 1),
        Err(LogError::Trimmed { offset, floor: named }) if offset == floor - 1 && named == floor
    ));
    for (released, stored) in [(11, 0), (0, 11)] {
        assert!(matches!(
            log.trim(released, stored),
            Err(LogError::BeyondEnd {
                offset: 11,
                end: 10
            })
        ));
    }
    drop(log);
    assert_holds(&open(&disk.total_power_loss(), small()).unwrap(), floor..10);
}

#[test]
fn the_segment_in_use_stays_when_all_is_trimmed() {
    let disk = FaultyLayer::new();
    let mut log = open(&disk, small()).unwrap();
    fill(&mut log, 10);
    log.trim(10, 10).unwrap();
    drop(log);
    let mut log = open(&disk, small()).unwrap();
    assert_eq!(log.end(), 10);
    fill(&mut log, 1);
}

#[test]
fn retention_by_size_removes_the_oldest_segments() {
    let disk = FaultyLayer::new();
    let retention = Retention {
        max_bytes: Some(3 * 4096),
        ..Retention::default()
    };
    let mut log = open(
        &disk,
        LogOptions {
            retention,
            ..small()
        },
    )
    .unwrap();
    fill(&mut log, 30);
    assert_eq!(disk.paths().len(), 3);
    assert!(log.floor() > 0);
    assert_holds(&log, log.floor()..30);
}

#[test]
fn what_is_nowhere_else_is_kept_by_a_retention_of_what_is_stored() {
    let disk = FaultyLayer::new();
    let retention = Retention {
        max_bytes: Some(3 * 4096),
        max_age: None,
        only_stored: true,
    };
    let options = || LogOptions {
        retention,
        ..small()
    };
    let mut log = open(&disk, options()).unwrap();
    fill(&mut log, 30);
    assert_holds(&log, 0..30);
    let floor = log.trim(0, 5).unwrap();
    assert!(
        (1..=5).contains(&floor),
        "only what is stored goes: {floor}"
    );
    assert_holds(&log, floor..30);
    log.trim(0, 30).unwrap();
    assert_eq!(disk.paths().len(), 3);
    assert_holds(&log, log.floor()..30);
    drop(log);
    // What it was told is forgotten: it is told again, or keeps everything.
    let mut log = open(&disk, options()).unwrap();
    let floor = log.floor();
    fill(&mut log, 30);
    assert_holds(&log, floor..60);
}

#[test]
fn retention_by_age_removes_segments_whose_newest_record_is_older() {
    let disk = FaultyLayer::new();
    let clock = Arc::new(ManualClock::at(1_000_000));
    let retention = Retention {
        max_age: Some(Duration::from_secs(60)),
        ..Retention::default()
    };
    let options = || LogOptions {
        retention,
        clock: clock.clone(),
        ..small()
    };
    let mut log = open(&disk, options()).unwrap();
    fill(&mut log, 6);
    clock.advance(Duration::from_secs(60));
    log.trim(0, 6).unwrap();
    assert_holds(&log, 0..6);
    clock.advance(Duration::from_millis(1));
    log.trim(0, 6).unwrap();
    assert!(log.floor() > 0);
    assert_holds(&log, log.floor()..6);
}

#[test]
fn what_grew_old_while_nobody_was_there_can_be_read_before_it_goes() {
    let disk = FaultyLayer::new();
    let clock = Arc::new(ManualClock::at(1_000_000));
    let options = || LogOptions {
        retention: Retention {
            max_age: Some(Duration::from_secs(60)),
            ..Retention::default()
        },
        clock: clock.clone(),
        ..small()
    };
    let mut log = open(&disk, options()).unwrap();
    fill(&mut log, 6);
    drop(log);
    clock.advance(Duration::from_secs(3_600));
    // Whoever follows it was away, too: only now can it catch up.
    let mut log = open(&disk, options()).unwrap();
    assert_holds(&log, 0..6);
    fill(&mut log, 6);
    assert!(log.floor() > 0);
    assert_holds(&log, log.floor()..12);
}

#[test]
fn appends_stop_before_the_disk_is_full_and_go_on_at_twice_the_minimum() {
    let disk = FaultyLayer::new();
    disk.set_free_bytes(1_000);
    let mut log = open(
        &disk,
        LogOptions {
            min_free_bytes: 500,
            ..small()
        },
    )
    .unwrap();
    fill(&mut log, 2);
    disk.set_free_bytes(499);
    assert_eq!(
        log.check_room(),
        RoomState::Low {
            free_bytes: 499,
            needed_bytes: 1_000
        }
    );
    assert!(matches!(
        log.append(&[record(2)]),
        Err(LogError::NoRoom {
            free_bytes: 499,
            needed_bytes: 1_000,
            ..
        })
    ));
    assert_holds(&log, 0..2);
    disk.set_free_bytes(999);
    log.check_room();
    assert!(matches!(
        log.append(&[record(2)]),
        Err(LogError::NoRoom { .. })
    ));
    disk.set_free_bytes(1_000);
    log.check_room();
    fill(&mut log, 1);
}

#[test]
fn segment_sizes_that_cannot_work_are_refused() {
    for segment_bytes in [0, 512, 1_000, 1_025] {
        let outcome = open(
            &FaultyLayer::new(),
            LogOptions {
                segment_bytes,
                ..small()
            },
        );
        assert!(
            matches!(outcome.err(), Some(LogError::BadOptions { .. })),
            "{segment_bytes}"
        );
    }
}

#[test]
fn the_size_of_segments_may_change_between_starts() {
    let disk = FaultyLayer::new();
    for segment_bytes in [4096, 2048, 8192] {
        let mut log = open(
            &disk,
            LogOptions {
                segment_bytes,
                ..small()
            },
        )
        .unwrap();
        fill(&mut log, 7);
    }
    assert_holds(&open(&disk, small()).unwrap(), 0..21);
}
