//! Segments of a log in files. The first byte of an input says how the log is opened, and whether its checks are made to hold: damage is
//! found by checks, and what lies behind them is read by nobody who does not know how to make them.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use flare_server_core::log_file::{Durability, LogFile, LogOptions, faults::FaultyLayer};

const SECTOR: usize = 512;
const SEGMENT: &str = "log/00000000000000000000.seg";
const FRAME_MAGIC: &[u8] = b"FlareFrm";
/// Of the first byte: syncs are lazy.
const LAZY: u8 = 1;
/// Of the first byte: checks are made to hold.
const SEALED: u8 = 2;

/// Judges a segment: it is opened or refused; what it says then does not change with the next start, and can be gone on from.
pub fn segments(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if how & SEALED != 0 {
        seal(&mut bytes);
    }
    let disk = FaultyLayer::new();
    disk.put_file(Path::new(SEGMENT), bytes);
    let durability = if how & LAZY != 0 {
        Durability::Lazy
    } else {
        Durability::Synced
    };
    let Some((floor, records)) = contents(&disk, durability) else {
        return;
    };
    let once_more = disk.process_crash();
    assert_eq!(
        contents(&once_more, durability),
        Some((floor, records.clone()))
    );
    let Ok(mut log) = open(&once_more, durability) else {
        panic!("a log that was open is opened");
    };
    let end = log.end();
    let added = Bytes::from_static(b"the next one");
    // A segment may be full, and smaller than a record.
    if let (Ok(at), Some(records)) = (log.append(std::slice::from_ref(&added)), records) {
        assert_eq!(at, end);
        let read = log.reader().read(floor, usize::MAX).expect("it was read");
        let read: Vec<Bytes> = read.records.into_iter().map(|(_, it)| it).collect();
        assert_eq!(read, [records, vec![added]].concat());
    }
}

fn open(
    disk: &FaultyLayer,
    durability: Durability,
) -> Result<LogFile, flare_server_core::log_file::LogError> {
    let options = LogOptions {
        segment_bytes: 4 * SECTOR as u64,
        prepare_ahead: false,
        durability,
        ..LogOptions::default()
    };
    LogFile::open(Arc::new(disk.clone()), Path::new("log"), options)
}

/// Where the log begins, and its records; None within: they are damaged. None: it is not opened.
fn contents(disk: &FaultyLayer, durability: Durability) -> Option<(u64, Option<Vec<Bytes>>)> {
    let log = open(disk, durability).ok()?;
    let (floor, end) = (log.floor(), log.end());
    let Ok(slice) = log.reader().read(floor, usize::MAX) else {
        return Some((floor, None));
    };
    for (expected, (offset, _)) in (floor..).zip(&slice.records) {
        assert_eq!(*offset, expected);
    }
    assert_eq!(slice.records.len() as u64, end - floor);
    let records = slice.records.into_iter().map(|(_, record)| record);
    Some((floor, Some(records.collect())))
}

/// Makes every check hold, as the module documentation of `log_file` describes them.
fn seal(bytes: &mut [u8]) {
    let length = bytes.len() as u64;
    if let Some(header) = bytes.get_mut(..SECTOR) {
        header[24..32].copy_from_slice(&length.to_le_bytes());
        let check = crc32c::crc32c(&header[..40]);
        header[40..44].copy_from_slice(&check.to_le_bytes());
    }
    let mut at = SECTOR;
    while at + SECTOR <= bytes.len() {
        if bytes[at..].starts_with(FRAME_MAGIC) {
            let body =
                u32::from_le_bytes([bytes[at + 8], bytes[at + 9], bytes[at + 10], bytes[at + 11]]);
            let end = (40 + body as usize)
                .next_multiple_of(SECTOR)
                .saturating_add(at);
            if let Some(rest) = bytes.get(at + 40..end) {
                let check = crc32c::crc32c(rest);
                bytes[at + 32..at + 36].copy_from_slice(&check.to_le_bytes());
            }
            let check = crc32c::crc32c(&bytes[at..at + 36]);
            bytes[at + 36..at + 40].copy_from_slice(&check.to_le_bytes());
        }
        at += SECTOR;
    }
}

/// Logs of a few records, opened in each way.
pub fn corpus() -> Vec<Vec<u8>> {
    let written = |records: &[Bytes]| {
        let disk = FaultyLayer::new();
        let mut log = open(&disk, Durability::Synced).expect("an empty folder");
        for record in records {
            log.append(std::slice::from_ref(record)).expect("room");
        }
        drop(log);
        disk.file(Path::new(SEGMENT)).expect("the first segment")
    };
    let small = written(&[Bytes::from_static(b"first"), Bytes::from_static(b"second")]);
    let large = written(&[Bytes::from(vec![b'x'; 900])]);
    let magic = written(&[Bytes::from(FRAME_MAGIC.repeat(100))]);
    let inputs = [&small, &large, &magic];
    let ways = [0, LAZY, SEALED, LAZY | SEALED];
    let each = |way: u8| inputs.map(|it| [&[way], &it[..]].concat());
    ways.into_iter().flat_map(each).collect()
}
