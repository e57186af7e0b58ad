//! Histories as files: JSON lines, appended by one client each.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::record::{Client, ClientEvent, Record};

/// Why a history could not be written or read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The file could not be opened, read or written.
    #[error("history {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A line is no record.
    #[error("history {path}, line {line}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The file holds the records of another client.
    #[error("history {path} belongs to client {found}, not {expected}")]
    OtherClient {
        /// The file.
        path: PathBuf,
        /// The writer's client.
        expected: Box<Client>,
        /// The client in the file.
        found: Box<Client>,
    },
}

/// How far a record is gone when [`HistoryWriter::append`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Handed to the operating system: it outlives the process.
    Process,
    /// Synced to the disk: it outlives the machine.
    Machine,
}

/// Appends one client's records to its file and numbers them.
#[derive(Debug)]
pub struct HistoryWriter {
    path: PathBuf,
    file: File,
    client: Client,
    next_index: u64,
    durability: Durability,
    line: Vec<u8>,
}

impl HistoryWriter {
    /// Opens or creates the file. An existing history is continued; a last line that a crash cut off is removed first.
    ///
    /// # Errors
    /// The file cannot be opened, is no history, or is another client's.
    pub fn open(
        path: impl Into<PathBuf>,
        client: Client,
        durability: Durability,
    ) -> Result<Self, HistoryError> {
        let path = path.into();
        let io = |source| HistoryError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(io)?;
        let whole = whole_length(&mut file).map_err(io)?;
        file.set_len(whole).map_err(io)?;
        let mut next_index = 1;
        for record in HistoryReader::open(&path)? {
            let record = record?;
            if record.client != client {
                return Err(HistoryError::OtherClient {
                    path,
                    expected: Box::new(client),
                    found: Box::new(record.client),
                });
            }
            next_index = record.index.saturating_add(1);
        }
        Ok(Self {
            path,
            file,
            client,
            next_index,
            durability,
            line: Vec::new(),
        })
    }

    /// Writes one record; it is out of the process, and synced if so asked, when this returns.
    ///
    /// # Errors
    /// The file cannot be written; the record may then be there in part, which readers and the next `open` tolerate.
    pub fn append(&mut self, time_ms: i64, event: ClientEvent) -> Result<(), HistoryError> {
        let record = Record {
            client: self.client.clone(),
            index: self.next_index,
            time_ms,
            event,
        };
        let io = |source| HistoryError::Io {
            path: self.path.clone(),
            source,
        };
        self.line.clear();
        serde_json::to_writer(&mut self.line, &record).map_err(|error| io(error.into()))?;
        self.line.push(b'\n');
        self.file.write_all(&self.line).map_err(io)?;
        if self.durability == Durability::Machine {
            self.file.sync_data().map_err(io)?;
        }
        self.next_index += 1;
        Ok(())
    }

    /// The client whose history it is.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// The length up to and with the last line feed.
fn whole_length(file: &mut File) -> io::Result<u64> {
    const BLOCK_BYTES: u64 = 64 * 1024;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        Read::by_ref(file)
            .take(end - start)
            .read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The records of one file, in order, up to the first error. A last line without a line feed was cut off by a crash and
/// is left out.
#[derive(Debug)]
pub struct HistoryReader {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    failed: bool,
}

impl HistoryReader {
    /// Opens a file.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, HistoryError> {
        let path = path.as_ref().to_owned();
        match File::open(&path) {
            Ok(file) => Ok(Self {
                path,
                file: BufReader::with_capacity(256 * 1024, file),
                line: Vec::new(),
                number: 0,
                failed: false,
            }),
            Err(source) => Err(HistoryError::Io { path, source }),
        }
    }
}

impl Iterator for HistoryReader {
    type Item = Result<Record, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        self.line.clear();
        if let Err(source) = self.file.read_until(b'\n', &mut self.line) {
            self.failed = true;
            return Some(Err(HistoryError::Io {
                path: self.path.clone(),
                source,
            }));
        }
        if self.line.last() != Some(&b'\n') {
            return None;
        }
        self.number += 1;
        let record = serde_json::from_slice(&self.line);
        self.failed = record.is_err();
        Some(record.map_err(|source| HistoryError::Syntax {
            path: self.path.clone(),
            line: self.number,
            source,
        }))
    }
}

/// The records of several files, file after file.
pub fn read_histories<P: AsRef<Path>>(
    paths: impl IntoIterator<Item = P>,
) -> impl Iterator<Item = Result<Record, HistoryError>> {
    paths.into_iter().flat_map(|path| {
        let (reader, error) = match HistoryReader::open(path) {
            Ok(reader) => (Some(reader), None),
            Err(error) => (None, Some(Err(error))),
        };
        error.into_iter().chain(reader.into_iter().flatten())
    })
}
