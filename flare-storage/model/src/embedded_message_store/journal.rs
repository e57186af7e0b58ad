//! Holds fjall's journal against itself, before fjall reads it, and against the sorted tables, once they are open.
//!
//! fjall writes each batch to its journal first, syncs the journal, and sorts the rows of one keyspace or another into tables. When it opens,
//! it replays the journal up to the first batch that does not decode, and cuts it there. That is right for what a power loss has torn: no
//! table has rows of it, and the log has it again. It is wrong for damage: the batches behind it would be gone from some keyspaces and not
//! from others, and a message could stand without its recall. Beside that, fjall refuses a torn batch of which the end was written and the
//! middle was not; and the number of a batch, which decides whether its rows are taken and which of two rows is the newer one, is outside of
//! its checksum.
//!
//! The number of the oldest batch has nothing before it to be held against.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use fjall::{AbstractTree, Keyspace};
use xxhash_rust::xxh3::Xxh3;

use super::inventory::{RESTORE, unreadable};
use crate::message_store::StoreError;

/// What begins each entry of a journal.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// What ends each batch.
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Numbers above this are not reached by counting; fjall keeps the highest bit for itself.
const HIGHEST: u64 = u64::MAX >> 2;
/// How much is read at once.
const BLOCK: usize = 256 * 1024;

/// The end of the newest journal.
pub(super) struct Journal {
    file: PathBuf,
    /// Where the last whole batch ends, in bytes.
    whole_to: u64,
    /// No batch of the journal has this number or a higher one. None: it has no batch at all.
    missing_from: Option<u64>,
}

/// Cuts off what is torn at the end of the newest journal. Refuses batches out of order, and an older journal that is not whole. None: there
/// is no journal yet.
pub(super) fn recover(folder: &Path) -> Result<Option<Journal>, StoreError> {
    let files = files(folder).map_err(|error| unreadable(folder, &error))?;
    if files.is_empty() {
        return Ok(None);
    }
    let _alone = lock(folder)?;
    let (mut last, mut newest) = (None, None);
    for (index, path) in files.iter().enumerate() {
        let failed = |error| unreadable(path, &error);
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut file = file.map_err(failed)?;
        let batches = Batches::read(path, &file, last)?;
        let is_torn = !only_zeros(&mut file, batches.whole_to).map_err(failed)?;
        if index + 1 < files.len() && is_torn {
            let why = "the batch there is not whole, though a newer journal was begun after it";
            return Err(damaged(path, batches.whole_to, why));
        }
        // What of it the tables may have, nothing tells.
        if is_torn && batches.last.is_none() && batches.torn.is_none() {
            return Err(damaged(path, 0, "it begins with no batch"));
        }
        if is_torn {
            tracing::warn!(
                file = %path.display(), offset = batches.whole_to,
                "the end of the store's journal is torn, and is taken from the log again"
            );
            file.set_len(batches.whole_to).map_err(failed)?;
            file.sync_all().map_err(failed)?;
        }
        last = batches.last;
        newest = Some(Journal {
            file: path.clone(),
            whole_to: batches.whole_to,
            missing_from: last.map(|it| it + 1).or(batches.torn),
        });
    }
    Ok(newest)
}

impl Journal {
    /// Refuses a journal that has lost batches of which a keyspace has sorted its part already.
    pub(super) fn covers(&self, keyspaces: &[&Keyspace]) -> Result<(), StoreError> {
        let Some(missing_from) = self.missing_from else {
            return Ok(());
        };
        for keyspace in keyspaces {
            let sorted = keyspace.tree.get_highest_persisted_seqno();
            if sorted.is_some_and(|it| it >= missing_from) {
                let why = format!(
                    "a batch that stood there is lost, though the table {} has rows of it",
                    keyspace.name()
                );
                return Err(damaged(&self.file, self.whole_to, &why));
            }
        }
        Ok(())
    }
}

/// Takes the lock that fjall takes when it opens, until the file is dropped: what another process is writing must not be cut.
fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(|error| unreadable(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(in_use(folder)),
        Err(TryLockError::Error(error)) => Err(unreadable(&path, &error)),
    }
}

pub(super) fn in_use(folder: &Path) -> StoreError {
    StoreError::Unavailable(format!("{} is in use by another process", folder.display()))
}

/// The journals, the oldest first.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|it| it.to_str());
        let number = name.and_then(|it| it.strip_suffix(".jnl")?.parse::<u64>().ok());
        files.extend(number.map(|number| (number, path)));
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// What one file says.
struct Batches {
    /// Where the last whole batch ends.
    whole_to: u64,
    /// Its number, or of an older journal where this one has none.
    last: Option<u64>,
    /// The number of the batch behind it, which is begun and not whole.
    torn: Option<u64>,
}

impl Batches {
    /// Reads the batches that are whole. Their numbers rise, from above `last` on.
    fn read(path: &Path, file: &File, last: Option<u64>) -> Result<Self, StoreError> {
        let mut batches = Self {
            whole_to: 0,
            last,
            torn: None,
        };
        let mut reader = BufReader::with_capacity(BLOCK, file);
        loop {
            let batch = read_batch(&mut reader).map_err(|error| unreadable(path, &error))?;
            let (Some(number), Some(bytes)) = (batch.number, batch.bytes) else {
                batches.torn = batch.number;
                return Ok(batches);
            };
            if let Some(last) = batches.last.filter(|it| number <= *it) {
                let why = format!("a batch of number {number} follows number {last}");
                return Err(damaged(path, batches.whole_to, &why));
            }
            if number > HIGHEST {
                let why = format!("no batch has a number as high as {number}");
                return Err(damaged(path, batches.whole_to, &why));
            }
            batches.last = Some(number);
            batches.whole_to += bytes;
        }
    }
}

#[derive(Default)]
struct Batch {
    /// None: no batch begins here.
    number: Option<u64>,
    /// How long it is, if it is whole.
    bytes: Option<u64>,
}

fn read_batch(reader: &mut impl BufRead) -> io::Result<Batch> {
    let mut batch = Batch::default();
    match fill_batch(reader, &mut batch) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(batch),
        read => read.map(|()| batch),
    }
}

fn fill_batch(reader: &mut impl BufRead, batch: &mut Batch) -> io::Result<()> {
    if take(reader)? != [START] {
        return Ok(());
    }
    let rows = u32::from_le_bytes(take(reader)?);
    batch.number = Some(u64::from_le_bytes(take(reader)?));
    let mut bytes = 13;
    let mut checksum = Xxh3::new();
    for _ in 0..rows {
        let tag = take(reader)?;
        checksum.update(&tag);
        bytes += 1 + match tag {
            [ITEM] => {
                let head: [u8; 20] = take(reader)?;
                checksum.update(&head);
                let (_, lengths) = head.split_at(10);
                let key = lengths
                    .first_chunk()
                    .map_or(0, |it| u16::from_le_bytes(*it));
                let written = lengths.last_chunk().map_or(0, |it| u32::from_le_bytes(*it));
                let length = u64::from(key) + u64::from(written);
                hash(reader, &mut checksum, length)?;
                20 + length
            }
            [CLEAR] => {
                let keyspace: [u8; 8] = take(reader)?;
                checksum.update(&keyspace);
                8
            }
            _ => return Ok(()),
        };
    }
    let end = take(reader)? == [END];
    let sum = u64::from_le_bytes(take(reader)?);
    if end && take(reader)? == TRAILER && sum == checksum.digest() {
        batch.bytes = Some(bytes + 13);
    }
    Ok(())
}

fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn hash(reader: &mut impl BufRead, checksum: &mut Xxh3, mut length: u64) -> io::Result<()> {
    while length > 0 {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let count = usize::try_from(length).map_or(block.len(), |it| it.min(block.len()));
        checksum.update(&block[..count]);
        reader.consume(count);
        length -= count as u64;
    }
    Ok(())
}

/// Whether nothing follows but the zeros that fjall makes room with.
fn only_zeros(file: &mut File, from: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(from))?;
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(true),
            count if block[..count].iter().all(|it| *it == 0) => {}
            _ => return Ok(false),
        }
    }
}

fn damaged(file: &Path, offset: u64, what: &str) -> StoreError {
    StoreError::Damaged(format!(
        "{} offset {offset}: {what}; {RESTORE}",
        file.display()
    ))
}
