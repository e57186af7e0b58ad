//! The bytes of a segment: see the module documentation of [`log_file`](super) for the layout.

use std::collections::BTreeSet;

use bytes::Bytes;

/// What a disk writes whole or not at all, in bytes.
pub(crate) const SECTOR: usize = 512;
/// The version in the segment header that this program writes.
pub(super) const VERSION: u8 = 1;
pub(super) const FRAME_HEADER: usize = 40;
pub(super) const RECORD_HEADER: usize = 4;
/// The largest frame, in bytes: a whole number of sectors.
pub(super) const MAX_FRAME: usize = 4 << 20;

const SEGMENT_MAGIC: [u8; 8] = *b"FlareLog";
const FRAME_MAGIC: u64 = u64::from_le_bytes(*b"FlareFrm");
const PADDING: u8 = 0x5A;
const WORDS: usize = SECTOR / 8;

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) first: u64,
    pub(super) bytes: u64,
    pub(super) created_ms: u64,
}

/// Why a segment header was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHeader {
    Version(u8),
    Damaged(&'static str),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        sector[..8].copy_from_slice(&SEGMENT_MAGIC);
        sector[8] = VERSION;
        put(&mut sector, 16, &self.first.to_le_bytes());
        put(&mut sector, 24, &self.bytes.to_le_bytes());
        put(&mut sector, 32, &self.created_ms.to_le_bytes());
        let crc = crc32c::crc32c(&sector[..40]);
        put(&mut sector, 40, &crc.to_le_bytes());
        sector
    }

    pub(super) fn decode(sector: &[u8]) -> Result<Self, BadHeader> {
        if sector.len() < SECTOR {
            return Err(BadHeader::Damaged(
                "the file is shorter than a segment header",
            ));
        }
        if sector[..8] != SEGMENT_MAGIC {
            return Err(BadHeader::Damaged(
                "the segment header does not begin with its magic",
            ));
        }
        if crc32c::crc32c(&sector[..40]) != u32_at(sector, 40) {
            return Err(BadHeader::Damaged("the segment header fails its check"));
        }
        if sector[8] != VERSION {
            return Err(BadHeader::Version(sector[8]));
        }
        if !is_zero(&sector[9..16]) || !is_zero(&sector[44..SECTOR]) {
            return Err(BadHeader::Damaged(
                "the unused part of the segment header is not zero",
            ));
        }
        Ok(Self {
            first: u64_at(sector, 16),
            bytes: u64_at(sector, 24),
            created_ms: u64_at(sector, 32),
        })
    }
}

/// The header of a frame whose own check holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) first: u64,
    pub(super) count: u32,
    body_bytes: u32,
    mask: u64,
    crc: u32,
}

impl FrameHeader {
    pub(super) fn decode(sector: &[u8]) -> Result<Self, &'static str> {
        if !starts_frame(sector) {
            return Err("neither a frame nor zeros");
        }
        if crc32c::crc32c(&sector[..36]) != u32_at(sector, 36) {
            return Err("the frame header fails its check");
        }
        let header = Self {
            body_bytes: u32_at(sector, 8),
            count: u32_at(sector, 12),
            first: u64_at(sector, 16),
            mask: u64_at(sector, 24),
            crc: u32_at(sector, 32),
        };
        // Each record has a length of its own, so the count is bounded before anything is allocated for it.
        let most_records = header.body_bytes as usize / RECORD_HEADER;
        if header.count == 0 || header.count as usize > most_records || header.span() > MAX_FRAME {
            return Err("the frame header has impossible values");
        }
        Ok(header)
    }

    /// The bytes of the whole frame, a whole number of sectors.
    pub(super) fn span(&self) -> usize {
        (FRAME_HEADER + self.body_bytes as usize).next_multiple_of(SECTOR)
    }

    /// The offset after the last record.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    pub(super) fn body_holds(&self, frame: &[u8]) -> bool {
        crc32c::crc32c(&frame[FRAME_HEADER..]) == self.crc
    }

    /// The records of a frame, whose check must hold. They share the frame's memory.
    pub(super) fn records(&self, frame: Bytes) -> Result<Vec<Bytes>, &'static str> {
        let frame = if self.mask == 0 {
            frame
        } else {
            let mut plain = frame.to_vec();
            apply_mask(&mut plain, self.mask);
            Bytes::from(plain)
        };
        let end = FRAME_HEADER + self.body_bytes as usize;
        let mut records = Vec::with_capacity(self.count as usize);
        let mut at = FRAME_HEADER;
        for _ in 0..self.count {
            if at + RECORD_HEADER > end {
                return Err("the frame holds fewer records than its header says");
            }
            let from = at + RECORD_HEADER;
            let to = from + u32_at(&frame, at) as usize;
            if to > end {
                return Err("a record is longer than its frame");
            }
            records.push(frame.slice(from..to));
            at = to;
        }
        if at != end {
            return Err("the frame holds more than its header says");
        }
        Ok(records)
    }
}

/// Bytes of the frame that holds these records.
pub(super) fn frame_span(records: &[Bytes]) -> usize {
    let body: usize = records
        .iter()
        .map(|record| RECORD_HEADER + record.len())
        .sum();
    (FRAME_HEADER + body).next_multiple_of(SECTOR)
}

/// Writes the frame of `records` into `frame`, replacing what is there. The records must fit
/// [`MAX_FRAME`].
pub(super) fn encode_frame(frame: &mut Vec<u8>, first: u64, records: &[Bytes]) {
    frame.clear();
    frame.resize(FRAME_HEADER, 0);
    for record in records {
        frame.extend_from_slice(&(record.len() as u32).to_le_bytes());
        frame.extend_from_slice(record);
    }
    let body_bytes = (frame.len() - FRAME_HEADER) as u32;
    frame.resize(frame.len().next_multiple_of(SECTOR), PADDING);
    let mask = choose_mask(&frame[SECTOR..]);
    apply_mask(frame, mask);
    let crc = crc32c::crc32c(&frame[FRAME_HEADER..]);
    put(frame, 0, &FRAME_MAGIC.to_le_bytes());
    put(frame, 8, &body_bytes.to_le_bytes());
    put(frame, 12, &(records.len() as u32).to_le_bytes());
    put(frame, 16, &first.to_le_bytes());
    put(frame, 24, &mask.to_le_bytes());
    put(frame, 32, &crc.to_le_bytes());
    let header_crc = crc32c::crc32c(&frame[..36]);
    put(frame, 36, &header_crc.to_le_bytes());
}

/// Whether a sector is the first of a frame. No other sector of a log begins so.
pub(super) fn starts_frame(sector: &[u8]) -> bool {
    sector.len() >= SECTOR && u64_at(sector, 0) == FRAME_MAGIC
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 8 * SECTOR] = [0; 8 * SECTOR];
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// The end of the last sector that is not zero.
pub(super) fn content_end(bytes: &[u8]) -> usize {
    let sectors = bytes.len().div_ceil(SECTOR);
    (0..sectors)
        .rev()
        .find(|sector| !is_zero(&bytes[sector * SECTOR..bytes.len().min((sector + 1) * SECTOR)]))
        .map_or(0, |sector| (sector + 1) * SECTOR)
}

/// The smallest mask under which no sector begins with the frame magic or has fewer than two words
/// that are not zero.
fn choose_mask(sectors: &[u8]) -> u64 {
    let plain_is_fine = sectors
        .chunks_exact(SECTOR)
        .all(|sector| nearly_all(sector) != Some(0) && u64_at(sector, 0) != FRAME_MAGIC);
    if plain_is_fine {
        return 0;
    }
    let forbidden: BTreeSet<u64> = sectors
        .chunks_exact(SECTOR)
        .flat_map(|sector| [nearly_all(sector), Some(u64_at(sector, 0) ^ FRAME_MAGIC)])
        .flatten()
        .collect();
    (1..).find(|mask| !forbidden.contains(mask)).unwrap_or(0)
}

/// The word that all words of the sector are, or all but one.
fn nearly_all(sector: &[u8]) -> Option<u64> {
    let [a, b, c] = [0, 8, 16].map(|at| u64_at(sector, at));
    let candidate = if a == b || a == c {
        a
    } else if b == c {
        b
    } else {
        return None;
    };
    let (words, _) = sector.as_chunks::<8>();
    let same = words
        .iter()
        .filter(|word| u64::from_le_bytes(**word) == candidate)
        .count();
    (same + 1 >= WORDS).then_some(candidate)
}

fn apply_mask(frame: &mut [u8], mask: u64) {
    if mask == 0 {
        return;
    }
    let (words, _) = frame[SECTOR..].as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_le_bytes(*word) ^ mask).to_le_bytes();
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(records: &[Bytes]) -> Vec<u8> {
        let mut frame = Vec::new();
        encode_frame(&mut frame, 7, records);
        frame
    }

    fn unframed(frame: &[u8]) -> Vec<Bytes> {
        let header = FrameHeader::decode(frame).unwrap();
        assert_eq!(header.span(), frame.len());
        assert!(header.body_holds(frame));
        header.records(Bytes::copy_from_slice(frame)).unwrap()
    }

    #[test]
    fn a_header_that_counts_more_records_than_its_body_has_room_for_is_refused() {
        let mut frame = framed(&[Bytes::new(), Bytes::new()]);
        let mut counting = |count: u32| {
            put(&mut frame, 12, &count.to_le_bytes());
            let check = crc32c::crc32c(&frame[..36]);
            put(&mut frame, 36, &check.to_le_bytes());
            FrameHeader::decode(&frame).map(|it| it.count)
        };
        assert_eq!(counting(2), Ok(2));
        for count in [0, 3, u32::MAX] {
            assert_eq!(
                counting(count),
                Err("the frame header has impossible values")
            );
        }
    }

    /// Content made to look like everything the format relies on: zeros, magics, masked magics.
    fn nasty() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            4 => Just(0u64),
            1 => Just(1u64),
            2 => Just(FRAME_MAGIC),
            1 => Just(FRAME_MAGIC ^ 1),
            1 => any::<u64>(),
        ];
        (prop::collection::vec(word, 0..400), 0..8usize).prop_map(|(words, skew)| {
            let mut bytes = vec![0; skew];
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            bytes
        })
    }

    proptest! {
        #[test]
        fn any_content_comes_back_and_leaves_no_sector_that_looks_unwritten_or_like_a_frame(
            contents in prop::collection::vec(nasty(), 1..4)
        ) {
            let records: Vec<Bytes> = contents.into_iter().map(Bytes::from).collect();
            let frame = framed(&records);
            prop_assert_eq!(frame.len(), frame_span(&records));
            prop_assert_eq!(unframed(&frame), records);
            for sector in frame[SECTOR..].chunks(SECTOR) {
                let (words, _) = sector.as_chunks::<8>();
                prop_assert!(words.iter().filter(|word| **word != [0; 8]).count() >= 2);
                prop_assert!(!starts_frame(sector));
            }
        }
    }

    #[test]
    fn content_that_is_constant_per_sector_finds_a_mask() {
        let bytes: Vec<u8> = (0..600u64)
            .flat_map(|value| value.to_le_bytes().repeat(WORDS))
            .collect();
        let records = [
            Bytes::from(vec![1; SECTOR - FRAME_HEADER - RECORD_HEADER]),
            Bytes::from(bytes),
        ];
        assert_eq!(unframed(&framed(&records)), records);
    }

    #[test]
    fn a_segment_header_of_another_version_is_told_from_a_damaged_one() {
        let header = SegmentHeader {
            first: 5,
            bytes: 4096,
            created_ms: 9,
        };
        let mut sector = header.encode();
        assert_eq!(SegmentHeader::decode(&sector), Ok(header));
        sector[8] = 2;
        let crc = crc32c::crc32c(&sector[..40]);
        put(&mut sector, 40, &crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&sector), Err(BadHeader::Version(2)));
        sector[16] ^= 1;
        assert!(matches!(
            SegmentHeader::decode(&sector),
            Err(BadHeader::Damaged(_))
        ));
    }
}
