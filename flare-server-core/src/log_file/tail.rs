use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// The latest records of a log, in memory, so that those who follow its end do not read files.
pub(super) struct Tail {
    limit_bytes: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    /// The offset of the first record kept; where the next goes if there is none.
    first: u64,
    records: VecDeque<Bytes>,
    bytes: usize,
}

impl Tail {
    /// Keeps about `limit_bytes` of records; the next one will be at offset `end`.
    pub(super) fn new(limit_bytes: usize, end: u64) -> Self {
        let kept = Kept {
            first: end,
            records: VecDeque::new(),
            bytes: 0,
        };
        Self {
            limit_bytes,
            kept: Mutex::new(kept),
        }
    }

    /// Adds records that are durable, from the end on.
    pub(super) fn extend(&self, records: &[Bytes]) {
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        kept.bytes += records.iter().map(Bytes::len).sum::<usize>();
        kept.records.extend(records.iter().cloned());
        while kept.bytes > self.limit_bytes
            && let Some(oldest) = kept.records.pop_front()
        {
            kept.bytes -= oldest.len();
            kept.first += 1;
        }
    }

    /// Records from `from` on, at most `max_bytes` but at least one if there is any;
    /// none if `from` is not in memory.
    pub(super) fn read(&self, from: u64, max_bytes: usize) -> Option<Vec<(u64, Bytes)>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = usize::try_from(from.checked_sub(kept.first)?).ok()?;
        if skip > kept.records.len() {
            return None;
        }
        let mut left = max_bytes;
        let mut records = Vec::new();
        for (offset, record) in (from..).zip(kept.records.range(skip..)) {
            if record.len() > left && !records.is_empty() {
                break;
            }
            left = left.saturating_sub(record.len());
            records.push((offset, record.clone()));
        }
        Some(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(tail: &Tail, from: u64, max_bytes: usize) -> Option<Vec<u64>> {
        tail.read(from, max_bytes)
            .map(|records| records.iter().map(|(offset, _)| *offset).collect())
    }

    #[test]
    fn keeps_the_latest_records_within_its_limit() {
        let tail = Tail::new(100, 7);
        assert_eq!(offsets(&tail, 7, 10), Some(vec![]));
        tail.extend(&vec![Bytes::from(vec![0; 30]); 5]);
        assert_eq!(offsets(&tail, 8, 1000), None);
        assert_eq!(offsets(&tail, 9, 1000), Some(vec![9, 10, 11]));
        assert_eq!(offsets(&tail, 9, 60), Some(vec![9, 10]));
        assert_eq!(offsets(&tail, 9, 0), Some(vec![9]));
        assert_eq!(offsets(&tail, 12, 1000), Some(vec![]));
        assert_eq!(offsets(&tail, 13, 1000), None);
    }
}
