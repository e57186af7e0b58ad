//! One segment file: its name, and how it is read at start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{BadHeader, SECTOR, SegmentHeader, VERSION};
use super::layer::read_full;
use super::recovery::{Ending, INDEX_STEP, TornTail, scan};
use super::{FileLayer, LayerFile, LogError};

const SUFFIX: &str = ".seg";

/// A segment that is in use. What lies below `written` is complete.
pub(super) struct Segment {
    pub(super) path: Arc<Path>,
    pub(super) file: Arc<dyn LayerFile>,
    pub(super) header: SegmentHeader,
    /// The offset after its last record.
    pub(super) next: u64,
    /// Where its next frame goes, in bytes.
    pub(super) written: u64,
    /// Offsets and the bytes where their frames start, ascending, one for about every
    /// [`INDEX_STEP`] bytes.
    index: Vec<(u64, u64)>,
}

impl Segment {
    pub(super) fn empty(path: &Path, file: Arc<dyn LayerFile>, header: SegmentHeader) -> Self {
        let written = SECTOR as u64;
        Self {
            path: path.into(),
            file,
            header,
            next: header.first,
            written,
            index: Vec::new(),
        }
    }

    /// Reads the segment at `path` and checks every byte of it.
    pub(super) fn load(
        layer: &dyn FileLayer,
        path: &Path,
        first: u64,
        ending: Ending,
    ) -> Result<(Self, Option<TornTail>), LogError> {
        let damaged = |byte: usize, reason: String| LogError::Damaged {
            file: path.to_path_buf(),
            byte: byte as u64,
            reason,
        };
        let file = layer
            .open(path)
            .map_err(|error| LogError::io("open", path, error))?;
        let length = file
            .bytes()
            .map_err(|error| LogError::io("read the length of", path, error))?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        read_full(&*file, &mut bytes, 0).map_err(|error| LogError::io("read", path, error))?;
        let header = SegmentHeader::decode(&bytes).map_err(|bad| match bad {
            BadHeader::Version(found) => LogError::Version {
                file: path.to_path_buf(),
                found,
                supported: VERSION,
            },
            BadHeader::Damaged(reason) => damaged(0, reason.to_owned()),
        })?;
        if header.first != first {
            return Err(damaged(
                0,
                format!("its header says that it begins at offset {}", header.first),
            ));
        }
        if header.bytes != length || !length.is_multiple_of(SECTOR as u64) {
            let shorter = header.bytes.min(length) as usize;
            return Err(damaged(
                shorter,
                format!("it has {length} bytes instead of {}", header.bytes),
            ));
        }
        let scan = scan(&bytes, first, ending).map_err(|flaw| damaged(flaw.byte, flaw.reason))?;
        let segment = Self {
            path: path.into(),
            file,
            header,
            next: scan.next,
            written: scan.written,
            index: scan.index,
        };
        Ok((segment, scan.torn))
    }

    /// Takes note of a complete frame of `span` bytes at the end.
    pub(super) fn extend(&mut self, next: u64, span: u64) {
        if self
            .index
            .last()
            .is_none_or(|(_, indexed)| self.written - indexed >= INDEX_STEP)
        {
            self.index.push((self.next, self.written));
        }
        self.next = next;
        self.written += span;
    }

    /// A byte at which a frame starts, at or before the one that holds `offset`.
    pub(super) fn position_before(&self, offset: u64) -> u64 {
        let after = self
            .index
            .partition_point(|(indexed, _)| *indexed <= offset);
        after
            .checked_sub(1)
            .map_or(SECTOR as u64, |at| self.index[at].1)
    }
}

pub(super) fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}{SUFFIX}"))
}

/// The first offset that a file name says, or none if it is not a segment's; an error if it only
/// looks like one.
pub(super) fn first_offset_of(folder: &Path, name: &str) -> Result<Option<u64>, LogError> {
    let Some(stem) = name.strip_suffix(SUFFIX) else {
        return Ok(None);
    };
    let digits = stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
    match stem.parse() {
        Ok(first) if digits => Ok(Some(first)),
        _ => Err(LogError::Damaged {
            file: folder.join(name),
            byte: 0,
            reason: "its name is not the twenty digits of an offset".to_owned(),
        }),
    }
}
