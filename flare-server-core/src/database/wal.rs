//! What the bytes of SQLite's write-ahead log say. SQLite itself takes the first frame that fails its check for the end, whatever was
//! committed behind it: <https://sqlite.org/fileformat2.html#the_write_ahead_log>, <https://sqlite.org/walformat.html>.

use std::{
    fs::{self, File},
    io::{self, BufReader, ErrorKind, Read},
    path::Path,
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// One copy of the header of the shared index.
const INDEX_HEADER: usize = 48;
const INDEX_VERSION: u32 = 3_007_000;

/// What is left of the commits of the last process.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wal {
    /// All that is known of is there. `checkpointed`: whether pages may have gone into the database since it was opened.
    Whole { checkpointed: bool },
    /// Commits are gone. How that is seen, as the rest of a sentence that begins with the file's name.
    Lost(String),
}

/// Reads the log at `wal`. `index` is the file that the processes of a database share, if it can be believed: it is not synced, so after
/// a power loss it may say anything, but no kill takes it back behind a commit.
pub(super) fn read(wal: &Path, index: Option<&Path>) -> io::Result<Wal> {
    let index = match index {
        Some(path) => Index::read(path)?,
        None => None,
    };
    let walked = match File::open(wal) {
        Ok(file) => walk(BufReader::new(file), index.map(|it| it.frames))?,
        Err(error) if error.kind() == ErrorKind::NotFound => Walked::default(),
        Err(error) => return Err(error),
    };
    Ok(judge(&walked, index))
}

fn judge(walked: &Walked, index: Option<Index>) -> Wal {
    if let Some(flaw) = walked.flaw {
        return Wal::Lost(flaw.to_owned());
    }
    let Some(index) = index else {
        return Wal::Whole { checkpointed: true };
    };
    let is_its = walked.salts == Some(index.salts);
    if index.frames > index.checkpointed {
        if !is_its {
            return Wal::Lost("is missing, or is not the one that was written last".to_owned());
        }
        if walked.frames < index.frames || walked.check_at_index != Some(index.check) {
            return Wal::Lost(format!(
                "has {} whole frames of the {} that were written",
                walked.frames, index.frames
            ));
        }
    }
    let never_begun = index.frames == 0 && index.salts == [0; 8] && walked.bytes == 0;
    let still_the_first = is_its && walked.restarts == 0;
    Wal::Whole {
        checkpointed: index.checkpointed > 0
            || index.attempted > 0
            || !(never_begun || still_the_first),
    }
}

#[derive(Debug, Default)]
struct Walked {
    bytes: usize,
    salts: Option<[u8; 8]>,
    /// How often the log was begun anew since the database was opened.
    restarts: u32,
    /// Frames that hold, from the beginning on.
    frames: u32,
    /// The running checksum where the index says that the log ends.
    check_at_index: Option<[u32; 2]>,
    flaw: Option<&'static str>,
}

/// Every commit is synced before the next is written, so only the frames of the last one may be torn.
fn walk(mut file: impl Read, index_frames: Option<u32>) -> io::Result<Walked> {
    let mut walked = Walked::default();
    let mut header = [0; HEADER];
    walked.bytes = fill(&mut file, &mut header)?;
    if walked.bytes < HEADER {
        return Ok(walked);
    }
    let is_big_endian = match be32(&header, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return headless(file, walked),
    };
    let mut sum = checksum(&header[..24], [0, 0], is_big_endian);
    let page_bytes = be32(&header, 8) as usize;
    let is_page = page_bytes.is_power_of_two() && (512..=65_536).contains(&page_bytes);
    if sum != [be32(&header, 24), be32(&header, 28)] || !is_page {
        return headless(file, walked);
    }
    walked.restarts = be32(&header, 12);
    let salts: [u8; 8] = std::array::from_fn(|at| header[16 + at]);
    walked.salts = Some(salts);
    let mut frame = vec![0; FRAME_HEADER + page_bytes];
    let (mut is_torn, mut commits_behind) = (false, false);
    loop {
        let bytes = fill(&mut file, &mut frame)?;
        if bytes < frame.len() {
            return Ok(walked);
        }
        walked.bytes += bytes;
        let is_of_this_log = frame[8..16] == salts;
        if is_torn {
            if is_of_this_log && commits_behind {
                walked.flaw = Some("has a damaged frame before others that were written after it");
                return Ok(walked);
            }
            commits_behind |= is_of_this_log && be32(&frame, 4) != 0;
            continue;
        }
        let next = checksum(&frame[..8], sum, is_big_endian);
        let next = checksum(&frame[FRAME_HEADER..], next, is_big_endian);
        let holds = next == [be32(&frame, 16), be32(&frame, 20)];
        if is_of_this_log && holds && be32(&frame, 0) != 0 {
            sum = next;
            walked.frames += 1;
            if index_frames == Some(walked.frames) {
                walked.check_at_index = Some(sum);
            }
        } else {
            is_torn = true;
            commits_behind = is_of_this_log && be32(&frame, 4) != 0;
        }
    }
}

/// The header is synced before the first frame is written.
fn headless(mut file: impl Read, mut walked: Walked) -> io::Result<Walked> {
    let mut more = [0; 1];
    if fill(&mut file, &mut more)? > 0 {
        walked.flaw = Some("has a damaged header");
    }
    Ok(walked)
}

/// What the shared index says: <https://sqlite.org/walformat.html#the_wal_index_file_format>. Its numbers are of the machine's own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Index {
    /// Frames of the log up to its last commit.
    frames: u32,
    /// How many of them are in the database by now.
    checkpointed: u32,
    /// How many of them were to be copied there by a checkpoint, which may have been killed on its way.
    attempted: u32,
    /// The running checksum behind the last.
    check: [u32; 2],
    salts: [u8; 8],
}

impl Index {
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // There are two copies, so that one is whole whenever a writer is killed.
        Ok([0, INDEX_HEADER].into_iter().find_map(|at| {
            let copy = bytes.get(at..at + INDEX_HEADER)?;
            Self::parse(copy, bytes.get(2 * INDEX_HEADER..)?)
        }))
    }

    fn parse(copy: &[u8], checkpoint: &[u8]) -> Option<Self> {
        let checkpointed = ne32(checkpoint.get(..4)?, 0);
        // Behind it come the marks of five readers and eight bytes of locks.
        let attempted = ne32(checkpoint.get(32..36)?, 0);
        let is_big_endian = cfg!(target_endian = "big");
        let sum = checksum(&copy[..40], [0, 0], is_big_endian);
        let holds = sum == [ne32(copy, 40), ne32(copy, 44)];
        (holds && ne32(copy, 0) == INDEX_VERSION && copy[12] == 1).then(|| Self {
            frames: ne32(copy, 16),
            checkpointed,
            attempted,
            check: [ne32(copy, 24), ne32(copy, 28)],
            salts: std::array::from_fn(|at| copy[32 + at]),
        })
    }
}

/// The checksum of SQLite's log, over a multiple of eight bytes.
fn checksum(bytes: &[u8], from: [u32; 2], is_big_endian: bool) -> [u32; 2] {
    let word = |bytes: [u8; 4]| {
        if is_big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    };
    let [mut first, mut second] = from;
    for pair in bytes.as_chunks::<8>().0 {
        let [a, b, c, d, e, f, g, h] = *pair;
        first = first.wrapping_add(word([a, b, c, d])).wrapping_add(second);
        second = second.wrapping_add(word([e, f, g, h])).wrapping_add(first);
    }
    [first, second]
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn ne32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]))
}

/// Reads until the buffer is full or the file ends: how much that was.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite says before a checkpoint how many frames it is about to copy, and after it how many it has copied.
    #[test]
    fn a_checkpoint_that_was_killed_on_its_way_may_have_changed_the_database() {
        let walked = Walked {
            frames: 13,
            salts: Some([7; 8]),
            check_at_index: Some([1, 2]),
            ..Walked::default()
        };
        for attempted in [0, 13] {
            let index = Index {
                frames: 13,
                checkpointed: 0,
                attempted,
                check: [1, 2],
                salts: [7; 8],
            };
            let judged = judge(&walked, Some(index));
            let changed = matches!(judged, Wal::Whole { checkpointed: true });
            assert_eq!(changed, attempted > 0);
        }
    }
}
