use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a log could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The files are not what this log wrote. Nothing was changed; an operator has to decide.
    #[error("log damaged: {}, byte {byte}: {reason}; restore the whole data folder from one backup", file.display())]
    Damaged {
        /// The file that is wrong.
        file: PathBuf,
        /// Where in the file, in bytes from its start.
        byte: u64,
        /// What was found there.
        reason: String,
    },
    /// The log ends before a cursor that was kept elsewhere, so records that were once durable are gone.
    #[error(
        "log ends before a cursor: {}, byte {byte}: the log ends at offset {end}, {owner} has read up to {cursor}; \
         restore the whole data folder from one backup",
        file.display()
    )]
    EndsBeforeCursor {
        /// The last segment.
        file: PathBuf,
        /// Where the last segment's data ends, in bytes from its start.
        byte: u64,
        /// The offset after the last record.
        end: u64,
        /// Whose cursor it is.
        owner: String,
        /// The cursor, an offset.
        cursor: u64,
    },
    /// Another process (or another log of this one) has the folder open.
    #[error("{} is in use{}", folder.display(), by_process(*pid))]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// The process that holds it, if it could be read.
        pid: Option<u32>,
    },
    /// The segment was written by a version that this one does not know.
    #[error("{} has log format version {found}, this program reads up to {supported}", file.display())]
    Version {
        /// The segment.
        file: PathBuf,
        /// The version in its header.
        found: u8,
        /// The newest version that can be read.
        supported: u8,
    },
    /// The disk has too little room. Nothing was written; try again later.
    #[error("no room in {}: {free_bytes} bytes free, at least {needed_bytes} are needed", folder.display())]
    NoRoom {
        /// The folder.
        folder: PathBuf,
        /// Bytes free when it was last looked at.
        free_bytes: u64,
        /// Bytes that must be free before appends resume.
        needed_bytes: u64,
    },
    /// A record is larger than the log takes. Nothing was written.
    #[error("record of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// The record's size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The records from `offset` up to `floor` were removed.
    #[error("offset {offset} was trimmed, the log begins at {floor}")]
    Trimmed {
        /// The offset that was asked for.
        offset: u64,
        /// The oldest offset there is.
        floor: u64,
    },
    /// The offset lies beyond the end of the log.
    #[error("offset {offset} is beyond the end of the log, {end}")]
    BeyondEnd {
        /// The offset that was asked for.
        offset: u64,
        /// The offset after the last durable record.
        end: u64,
    },
    /// A write or sync failed. The log is poisoned: the append may or may not be kept, and the
    /// process must end.
    #[error("{action} {} failed, the log can no longer be trusted: {source}", file.display())]
    Fatal {
        /// What failed, as a verb.
        action: &'static str,
        /// The file it failed on.
        file: PathBuf,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// An earlier write or sync failed ([`LogError::Fatal`]). Nothing was written.
    #[error("the log in {} refuses appends since a write or sync failed", folder.display())]
    Poisoned {
        /// The folder.
        folder: PathBuf,
    },
    /// A file could not be opened or read. The log itself is unchanged.
    #[error("{action} {} failed: {source}", file.display())]
    Io {
        /// What failed, as a verb.
        action: &'static str,
        /// The file it failed on.
        file: PathBuf,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// The options cannot work.
    #[error("log options: {reason}")]
    BadOptions {
        /// Which one, and why.
        reason: String,
    },
    /// The log was closed. Nothing was written.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    /// Whether files were found that this log did not write so: [`LogError::Damaged`] and
    /// [`LogError::EndsBeforeCursor`].
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::EndsBeforeCursor { .. })
    }

    pub(crate) fn io(action: &'static str, file: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            file: file.to_path_buf(),
            source: Arc::new(source),
        }
    }
}

fn by_process(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" by process {pid}"))
        .unwrap_or_default()
}
