use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::format::{FrameHeader, SECTOR};
use super::layer::read_full;
use super::room::Room;
use super::segment::Segment;
use super::{LayerFile, LogError, RoomState};

/// Bytes read from a file at once.
const CHUNK: u64 = 256 << 10;

/// What the writer of a log and its readers share.
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    /// Ascending, without a gap, never empty. Only what is durable is in it (for a lazily synced
    /// log: what is written).
    pub(super) segments: RwLock<Vec<Segment>>,
    pub(super) room: Room,
}

impl Shared {
    pub(super) fn with<T>(&self, look: impl FnOnce(&[Segment]) -> T) -> T {
        look(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Vec<Segment>) -> T) -> T {
        change(
            &mut self
                .segments
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    pub(super) fn floor(&self) -> u64 {
        self.with(|segments| segments.first().map_or(0, |segment| segment.header.first))
    }

    pub(super) fn end(&self) -> u64 {
        self.with(|segments| segments.last().map_or(0, |segment| segment.next))
    }
}

/// Reads a log while its [`LogFile`](super::LogFile) appends. Cheap to clone.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

/// A contiguous run of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSlice {
    /// Offsets and records, dense and ascending. Records of one read may share one allocation:
    /// copy what is kept for long.
    pub records: Vec<(u64, Bytes)>,
    /// The offset after the last durable record at the time of the read.
    pub end: u64,
}

/// Where to go on reading: a segment, and a byte in it.
struct Place {
    path: Arc<Path>,
    file: Arc<dyn LayerFile>,
    at: u64,
    written: u64,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The oldest offset there is.
    pub fn floor(&self) -> u64 {
        self.shared.floor()
    }

    /// The offset after the last durable record. A lazily synced log counts what is written.
    pub fn end(&self) -> u64 {
        self.shared.end()
    }

    /// Whether appends are taken. No system call: the last look at the disk.
    pub fn room(&self) -> RoomState {
        self.shared.room.state()
    }

    /// Records from offset `from` on: at most `max_bytes` of them, but at least one if there is
    /// any. At the end of the log it is an empty run. Blocks on the disk.
    ///
    /// # Errors
    /// [`LogError::Trimmed`] below the floor, [`LogError::BeyondEnd`] beyond the end,
    /// [`LogError::Damaged`] if what is read fails its check, [`LogError::Io`].
    pub fn read(&self, from: u64, max_bytes: usize) -> Result<LogSlice, LogError> {
        let mut run = Run {
            records: Vec::new(),
            next: from,
            left: max_bytes,
        };
        let mut end = self.end();
        if from > end {
            return Err(LogError::BeyondEnd { offset: from, end });
        }
        while run.next < end && !run.is_full() {
            match self.place(run.next) {
                Some(place) => run.read_segment(&place)?,
                None if run.records.is_empty() => {
                    return Err(LogError::Trimmed {
                        offset: from,
                        floor: self.floor(),
                    });
                }
                // Trimmed since the first of them was read: the next read says so.
                None => break,
            }
            end = self.end();
        }
        Ok(LogSlice {
            records: run.records,
            end,
        })
    }

    /// The folder of the log.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Refuses a log that does not reach up to a cursor that somebody keeps elsewhere: records
    /// that were once durable are gone.
    ///
    /// # Errors
    /// [`LogError::EndsBeforeCursor`], which names the last segment and where its data ends.
    pub fn check_cursor(&self, owner: &str, cursor: u64) -> Result<(), LogError> {
        let end = self.end();
        if cursor <= end {
            return Ok(());
        }
        let (file, byte) = self.shared.with(|segments| {
            segments.last().map_or((PathBuf::new(), 0), |last| {
                (last.path.to_path_buf(), last.written)
            })
        });
        Err(LogError::EndsBeforeCursor {
            file,
            byte,
            end,
            owner: owner.to_owned(),
            cursor,
        })
    }

    fn place(&self, offset: u64) -> Option<Place> {
        self.shared.with(|segments| {
            let after = segments.partition_point(|segment| segment.header.first <= offset);
            let segment = &segments[after.checked_sub(1)?];
            Some(Place {
                path: segment.path.clone(),
                file: segment.file.clone(),
                at: segment.position_before(offset),
                written: segment.written,
            })
        })
    }
}

/// The records gathered by one read.
struct Run {
    records: Vec<(u64, Bytes)>,
    next: u64,
    left: usize,
}

impl Run {
    fn is_full(&self) -> bool {
        self.left == 0 && !self.records.is_empty()
    }

    /// Takes what it can of one segment: at least one record, unless it gets full; or fails.
    fn read_segment(&mut self, place: &Place) -> Result<(), LogError> {
        let before = self.next;
        let mut at = place.at;
        while at < place.written && !self.is_full() {
            let chunk = read_chunk(place, at)?;
            let mut from = 0;
            while from < chunk.len() && !self.is_full() {
                let header = decode(place, at + from as u64, &chunk[from..])?;
                let to = from + header.span();
                if to > chunk.len() {
                    break;
                }
                if header.next() > self.next {
                    self.take(place, at + from as u64, header, chunk.slice(from..to))?;
                }
                from = to;
            }
            at += from as u64;
        }
        if self.next == before && !self.is_full() {
            return Err(damaged(
                place,
                at,
                format!("offset {before} is not where it was written"),
            ));
        }
        Ok(())
    }

    fn take(
        &mut self,
        place: &Place,
        at: u64,
        header: FrameHeader,
        frame: Bytes,
    ) -> Result<(), LogError> {
        if !header.body_holds(&frame) {
            return Err(damaged(
                place,
                at,
                "the records fail their check".to_owned(),
            ));
        }
        let records = header
            .records(frame)
            .map_err(|reason| damaged(place, at, reason.to_owned()))?;
        for (offset, record) in (header.first..).zip(records) {
            if offset < self.next {
                continue;
            }
            if offset > self.next {
                return Err(damaged(
                    place,
                    at,
                    format!("holds offset {offset} where {} is due", self.next),
                ));
            }
            if record.len() > self.left && !self.records.is_empty() {
                self.left = 0;
                return Ok(());
            }
            self.left = self.left.saturating_sub(record.len());
            self.records.push((offset, record));
            self.next += 1;
        }
        Ok(())
    }
}

/// Reads from the start of a frame on, at least that frame.
fn read_chunk(place: &Place, at: u64) -> Result<Bytes, LogError> {
    let read = |bytes: u64| {
        let mut buffer = vec![0; bytes as usize];
        read_full(&*place.file, &mut buffer, at)
            .map_err(|error| LogError::io("read", &place.path, error))?;
        Ok(buffer)
    };
    let chunk = read(CHUNK.min(place.written - at))?;
    let span = decode(place, at, &chunk)?.span() as u64;
    if at + span > place.written {
        return Err(damaged(
            place,
            at,
            "the frame reaches beyond the end of the log".to_owned(),
        ));
    }
    if span > chunk.len() as u64 {
        read(span).map(Bytes::from)
    } else {
        Ok(Bytes::from(chunk))
    }
}

fn decode(place: &Place, at: u64, bytes: &[u8]) -> Result<FrameHeader, LogError> {
    if bytes.len() < SECTOR {
        return Err(damaged(place, at, "less than a sector is left".to_owned()));
    }
    FrameHeader::decode(bytes).map_err(|reason| damaged(place, at, reason.to_owned()))
}

fn damaged(place: &Place, byte: u64, reason: String) -> LogError {
    LogError::Damaged {
        file: place.path.to_path_buf(),
        byte,
        reason,
    }
}
