//! What the bytes of a segment say: its records, a torn tail, or damage.

use super::format::{FrameHeader, MAX_FRAME, SECTOR, content_end, is_zero, starts_frame};

/// A position is kept for about every so many bytes of a segment.
pub(super) const INDEX_STEP: u64 = 64 << 10;

/// How a segment may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Another segment follows: every frame was synced.
    Sealed,
    /// The last segment of a log that syncs each frame: the last one may be torn.
    LastFrame,
    /// The last segment of a lazily synced log: any frame may be torn.
    AnyFrame,
}

/// A part of a segment that was never acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TornTail {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Whole frames in it, beside the torn one.
    pub(super) frames: usize,
}

/// A readable segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// The offset after the last record.
    pub(super) next: u64,
    /// Where the next frame goes.
    pub(super) written: u64,
    /// Offsets and the bytes where their frames start, ascending, not all of them.
    pub(super) index: Vec<(u64, u64)>,
    pub(super) torn: Option<TornTail>,
}

/// Damage, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) byte: usize,
    pub(super) reason: String,
}

/// Reads a segment, header included, whose records begin at offset `first`.
pub(super) fn scan(bytes: &[u8], first: u64, ending: Ending) -> Result<Scan, Flaw> {
    let content = content_end(bytes);
    let mut scan = Scan {
        next: first,
        written: SECTOR as u64,
        index: Vec::new(),
        torn: None,
    };
    let mut at = SECTOR;
    while at < content {
        let flaw = |reason: &str| Flaw {
            byte: at,
            reason: reason.to_owned(),
        };
        if is_zero(&bytes[at..at + SECTOR]) {
            scan.torn = Some(headless_tail(bytes, at, content, ending)?);
            return Ok(scan);
        }
        let header = FrameHeader::decode(&bytes[at..]).map_err(flaw)?;
        if header.first != scan.next {
            return Err(flaw(&format!(
                "holds offset {} where {} is due",
                header.first, scan.next
            )));
        }
        let end = at + header.span();
        if end > bytes.len() {
            return Err(flaw("the frame is longer than its segment"));
        }
        let frame = &bytes[at..end];
        if !header.body_holds(frame) {
            scan.torn = Some(torn_frame(bytes, at..end, content, ending)?);
            return Ok(scan);
        }
        if scan
            .index
            .last()
            .is_none_or(|(_, indexed)| at as u64 - indexed >= INDEX_STEP)
        {
            scan.index.push((header.first, at as u64));
        }
        scan.next = header.next();
        scan.written = end as u64;
        at = end;
    }
    Ok(scan)
}

/// A frame whose first sector is there and whose check fails.
fn torn_frame(
    bytes: &[u8],
    frame: std::ops::Range<usize>,
    content: usize,
    ending: Ending,
) -> Result<TornTail, Flaw> {
    let fail = |reason: &str| {
        Err(Flaw {
            byte: frame.start,
            reason: reason.to_owned(),
        })
    };
    let has_unwritten_sector = bytes[frame.start + SECTOR..frame.end]
        .chunks(SECTOR)
        .any(is_zero);
    if ending == Ending::Sealed || !has_unwritten_sector {
        return fail("the records fail their check");
    }
    if ending == Ending::LastFrame && content > frame.end {
        return fail("the records fail their check, and data follows them");
    }
    let to = content.max(frame.end);
    Ok(TornTail {
        from: frame.start,
        to,
        frames: frames_in(&bytes[frame.end..to]),
    })
}

/// Data behind a sector of zeros at a place where a frame is due.
fn headless_tail(
    bytes: &[u8],
    at: usize,
    content: usize,
    ending: Ending,
) -> Result<TornTail, Flaw> {
    let frames = frames_in(&bytes[at..content]);
    let reason = match ending {
        Ending::Sealed => Some("a frame is missing before data"),
        Ending::LastFrame if frames > 0 => Some("a frame is missing before other frames"),
        Ending::LastFrame if content - at > MAX_FRAME => Some("more is missing than a frame"),
        Ending::LastFrame | Ending::AnyFrame => None,
    };
    match reason {
        Some(reason) => Err(Flaw {
            byte: at,
            reason: reason.to_owned(),
        }),
        None => Ok(TornTail {
            from: at,
            to: content,
            frames,
        }),
    }
}

fn frames_in(bytes: &[u8]) -> usize {
    bytes
        .chunks_exact(SECTOR)
        .filter(|sector| starts_frame(sector))
        .count()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::log_file::format::{SegmentHeader, encode_frame};

    /// A segment of 16 KiB with frames of three sectors each, and where each frame starts.
    fn segment(frames: u64) -> (Vec<u8>, Vec<usize>) {
        let header = SegmentHeader {
            first: 0,
            bytes: 16 << 10,
            created_ms: 0,
        };
        let mut bytes = header.encode().to_vec();
        let mut starts = Vec::new();
        let mut frame = Vec::new();
        for offset in 0..frames {
            starts.push(bytes.len());
            encode_frame(
                &mut frame,
                offset,
                &[Bytes::from(vec![b'a' + offset as u8; 3 * SECTOR - 60])],
            );
            bytes.extend_from_slice(&frame);
        }
        bytes.resize(16 << 10, 0);
        (bytes, starts)
    }

    fn clear(bytes: &mut [u8], at: usize) {
        bytes[at..at + SECTOR].fill(0);
    }

    #[test]
    fn a_last_frame_with_any_sectors_missing_is_torn() {
        for missing in 1..7u32 {
            let (mut bytes, starts) = segment(3);
            for sector in (0..3).filter(|sector| missing & (1 << sector) != 0) {
                clear(&mut bytes, starts[2] + sector * SECTOR);
            }
            let scan = scan(&bytes, 0, Ending::LastFrame).unwrap();
            assert_eq!(scan.next, 2);
            assert_eq!(scan.written, starts[2] as u64);
            assert_eq!(scan.torn.unwrap().from, starts[2]);
        }
    }

    #[test]
    fn a_frame_with_a_missing_sector_before_another_frame_is_damage() {
        for sector in 0..3 {
            let (mut bytes, starts) = segment(3);
            clear(&mut bytes, starts[1] + sector * SECTOR);
            assert_eq!(
                scan(&bytes, 0, Ending::LastFrame).unwrap_err().byte,
                starts[1]
            );
        }
    }

    #[test]
    fn a_sealed_segment_has_no_torn_tail() {
        for sector in 0..3 {
            let (mut bytes, starts) = segment(3);
            clear(&mut bytes, starts[2] + sector * SECTOR);
            assert_eq!(scan(&bytes, 0, Ending::Sealed).unwrap_err().byte, starts[2]);
        }
    }

    #[test]
    fn a_lazily_synced_segment_is_cut_at_its_first_missing_sector() {
        for sector in 0..3 {
            let (mut bytes, starts) = segment(4);
            clear(&mut bytes, starts[1] + sector * SECTOR);
            let scan = scan(&bytes, 0, Ending::AnyFrame).unwrap();
            assert_eq!(scan.next, 1);
            assert_eq!(scan.torn.unwrap().frames, 2);
        }
    }

    #[test]
    fn a_changed_byte_in_a_lazily_synced_segment_is_damage() {
        let (mut bytes, starts) = segment(3);
        bytes[starts[1] + 700] ^= 1;
        assert_eq!(
            scan(&bytes, 0, Ending::AnyFrame).unwrap_err().byte,
            starts[1]
        );
    }

    #[test]
    fn a_frame_of_another_place_is_damage() {
        let (mut bytes, starts) = segment(3);
        bytes.copy_within(starts[0]..starts[1], starts[1]);
        let flaw = scan(&bytes, 0, Ending::LastFrame).unwrap_err();
        assert_eq!(flaw.byte, starts[1]);
        assert_eq!(flaw.reason, "holds offset 0 where 1 is due");
    }
}
