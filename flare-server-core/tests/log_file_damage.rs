//! What a log does about files that are not as it wrote them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flare_server_core::log_file::faults::FaultyLayer;
use flare_server_core::log_file::{LogError, LogFile, LogOptions};

const SEGMENT: u64 = 4096;
const SECTOR: usize = 512;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        prepare_ahead: false,
        ..LogOptions::default()
    }
}

fn open(disk: &FaultyLayer) -> Result<LogFile, LogError> {
    LogFile::open(Arc::new(disk.clone()), Path::new("log"), options())
}

fn contents(log: &LogFile) -> Vec<Bytes> {
    let slice = log.reader().read(log.floor(), usize::MAX).unwrap();
    slice
        .records
        .into_iter()
        .map(|(_, record)| record)
        .collect()
}

/// Records that are one byte short of being zeros, and others.
fn records() -> Vec<Bytes> {
    let mut nearly_zero = vec![0; 1_400];
    nearly_zero[700] = 1;
    vec![
        Bytes::from_static(b"first"),
        Bytes::from(vec![0; 1_300]),
        Bytes::from(vec![b'x'; 900]),
        Bytes::from(b"FlareFrm".repeat(150)),
        Bytes::from(nearly_zero),
    ]
}

/// A log of two segments with one record per append, and where each append begins.
fn written() -> (FaultyLayer, Vec<(PathBuf, usize)>) {
    let disk = FaultyLayer::new();
    let starts = Arc::new(Mutex::new(Vec::new()));
    let noted = starts.clone();
    disk.inject(move |operation| {
        use flare_server_core::log_file::faults::{Fault, Operation};
        if let Operation::Write(path, at, _) = operation
            && *at > 0
        {
            noted.lock().unwrap().push((path.clone(), *at as usize));
        }
        Fault::None
    });
    let mut log = open(&disk).unwrap();
    for record in records() {
        log.append(&[record]).unwrap();
    }
    drop(log);
    disk.leave_alone();
    let segments: Vec<_> = disk.paths();
    assert_eq!(segments.len(), 2);
    // A file is written under its first name, before it is renamed.
    let starts = starts.lock().unwrap().iter().cloned().collect::<Vec<_>>();
    (disk, starts)
}

fn with_file(disk: &FaultyLayer, path: &Path, bytes: Vec<u8>) -> FaultyLayer {
    let changed = disk.process_crash();
    changed.put_file(path, bytes);
    changed
}

#[test]
fn any_byte_cut_changed_or_doubled_is_harmless_or_reported_with_its_place() {
    let (disk, _) = written();
    let expected = records();
    let mut reported = 0;
    for path in disk.paths() {
        let bytes = disk.file(&path).unwrap();
        for at in 0..bytes.len() {
            let changed = |change: &dyn Fn(&mut Vec<u8>)| {
                let mut changed = bytes.clone();
                change(&mut changed);
                changed
            };
            let variants = [
                changed(&|bytes| bytes[at] ^= 1 << (at % 8)),
                changed(&|bytes| bytes[at] ^= 0xFF),
                changed(&|bytes| bytes[at] = 0),
                changed(&|bytes| {
                    bytes.remove(at);
                }),
                changed(&|bytes| bytes.truncate(at)),
                changed(&|bytes| bytes.insert(at, bytes[at])),
                // The same, with the length kept.
                changed(&|bytes| {
                    bytes.remove(at);
                    bytes.push(0);
                }),
                changed(&|bytes| {
                    bytes.insert(at, bytes[at]);
                    bytes.pop();
                }),
            ];
            for (variant, changed) in variants.into_iter().enumerate() {
                match open(&with_file(&disk, &path, changed)) {
                    Ok(log) => assert!(
                        contents(&log) == expected,
                        "{} {at} {variant}",
                        path.display()
                    ),
                    Err(LogError::Damaged { file, byte, .. }) => {
                        assert_eq!(file, path, "byte {at}, variant {variant}");
                        assert!(byte <= SEGMENT);
                        reported += 1;
                    }
                    Err(other) => panic!("{} {at} {variant}: {other}", path.display()),
                }
            }
        }
    }
    assert!(reported > 10_000, "{reported}");
}

#[test]
fn a_lost_sector_is_a_torn_tail_in_the_last_append_and_damage_in_every_other() {
    let (disk, starts) = written();
    let expected = records();
    let last = starts.last().unwrap().1;
    let (first_segment, second_segment) = (&disk.paths()[0], &disk.paths()[1]);
    for path in [first_segment, second_segment] {
        let bytes = disk.file(path).unwrap();
        for at in (0..bytes.len()).step_by(SECTOR) {
            if bytes[at..at + SECTOR].iter().all(|byte| *byte == 0) {
                continue;
            }
            let mut changed = bytes.clone();
            changed[at..at + SECTOR].fill(0);
            let outcome = open(&with_file(&disk, path, changed));
            if path == second_segment && at >= last {
                assert_eq!(contents(&outcome.unwrap()), expected[..4], "byte {at}");
            } else {
                let error = outcome
                    .err()
                    .unwrap_or_else(|| panic!("{} {at}", path.display()));
                assert!(error.is_damage());
                // A lost end of a full segment shows at the segment after it.
                assert!(error.to_string().contains(".seg, byte "), "{error}");
            }
        }
    }
}

#[test]
fn a_missing_segment_is_damage_that_names_the_place() {
    let disk = FaultyLayer::new();
    let mut log = open(&disk).unwrap();
    for _ in 0..6 {
        log.append(&[Bytes::from(vec![1; 2_000])]).unwrap();
    }
    drop(log);
    let paths = disk.paths();
    assert!(paths.len() >= 3);
    let removed = disk.process_crash();
    flare_server_core::log_file::FileLayer::remove(&removed, &paths[1]).unwrap();
    match open(&removed).err() {
        Some(LogError::Damaged {
            file,
            byte: 0,
            reason,
        }) => {
            assert_eq!(file, paths[2]);
            assert!(
                reason.contains("00000000000000000000.seg ends at 1"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_that_ends_before_a_cursor_is_refused_with_the_place() {
    let disk = FaultyLayer::new();
    let mut log = open(&disk).unwrap();
    log.append(&[Bytes::from_static(b"one"), Bytes::from_static(b"two")])
        .unwrap();
    let reader = log.reader();
    assert!(reader.check_cursor("the store", 2).is_ok());
    let error = reader.check_cursor("the store", 3).unwrap_err();
    assert!(error.is_damage());
    assert_eq!(
        error.to_string(),
        "log ends before a cursor: log/00000000000000000000.seg, byte 1024: \
         the log ends at offset 2, the store has read up to 3; \
         restore the whole data folder from one backup"
    );
}

#[test]
fn a_version_that_is_not_known_is_told_from_damage() {
    let (disk, _) = written();
    let path = &disk.paths()[0];
    let mut bytes = disk.file(path).unwrap();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..40]).to_le_bytes();
    bytes[40..44].copy_from_slice(&crc);
    let error = open(&with_file(&disk, path, bytes)).err().unwrap();
    assert!(
        matches!(
            error,
            LogError::Version {
                found: 9,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_cut_is_reported_with_the_file_and_the_bytes() {
    let (disk, starts) = written();
    let path = &disk.paths()[1];
    let last = starts.last().unwrap().1;
    let mut bytes = disk.file(path).unwrap();
    bytes[last + SECTOR..last + 2 * SECTOR].fill(0);
    let torn = with_file(&disk, path, bytes);
    let written = Arc::new(Mutex::new(Vec::new()));
    let sink = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || Sink(sink.clone()))
        .finish();
    let log = tracing::subscriber::with_default(subscriber, || open(&torn).unwrap());
    assert_eq!(log.end(), 4);
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert!(text.contains("WARN"), "{text}");
    assert!(
        text.contains(&format!("file={} from_byte={last}", path.display())),
        "{text}"
    );
    let after = torn.file(path).unwrap();
    assert!(
        after[last..].iter().all(|byte| *byte == 0),
        "the torn tail is zeroed"
    );
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
