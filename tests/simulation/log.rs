//! A log that lands appends late, twice or never, and does not always say so.

use bytes::Bytes;
use flare_message_orchestrator::owner::AppendReport;
use rand::{Rng, rngs::StdRng};

use super::world::Faults;

/// An append that was asked for.
pub(super) struct Pending {
    /// Which owner asked, and which life of his.
    pub(super) owner: (usize, u32),
    pub(super) append: u64,
    record: Bytes,
    /// The owner has its report; the record may still land.
    reported: bool,
}

/// What became of an append: who is to be told what.
pub(super) struct Report {
    pub(super) owner: (usize, u32),
    pub(super) append: u64,
    pub(super) report: AppendReport,
}

#[derive(Default)]
pub(super) struct Log {
    /// Durable, by offset.
    pub(super) records: Vec<Bytes>,
    pending: Vec<Pending>,
}

impl Log {
    pub(super) fn append(&mut self, owner: (usize, u32), append: u64, record: Bytes) {
        self.pending.push(Pending {
            owner,
            append,
            record,
            reported: false,
        });
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    fn land(&mut self, record: Bytes) -> u64 {
        self.records.push(record);
        self.records.len() as u64 - 1
    }

    /// Something happens to one of the appends.
    pub(super) fn turn(&mut self, rng: &mut StdRng, faults: Faults) -> Option<Report> {
        if self.pending.is_empty() {
            return None;
        }
        let index = if faults.reorder {
            rng.random_range(0..self.pending.len())
        } else {
            0
        };
        let mut pending = self.pending.remove(index);
        let (owner, append) = (pending.owner, pending.append);
        let tell = |report| {
            (!pending.reported).then_some(Report {
                owner,
                append,
                report,
            })
        };
        if !faults.lossy {
            let offset = self.land(pending.record);
            return tell(AppendReport::At(offset));
        }
        match rng.random_range(0..100) {
            // Lands, and says so.
            0..78 => {
                let offset = self.land(pending.record);
                tell(AppendReport::At(offset))
            }
            // Lands, and the report is lost.
            78..84 => {
                self.land(pending.record);
                tell(AppendReport::Unknown)
            }
            // Is lost.
            84..90 => tell(AppendReport::Unknown),
            // Lands twice.
            90..94 => {
                let first = self.land(pending.record.clone());
                self.land(pending.record);
                tell(AppendReport::At(first))
            }
            // Is given up, and lands later.
            _ if !pending.reported => {
                pending.reported = true;
                let report = Report {
                    owner,
                    append,
                    report: AppendReport::Unknown,
                };
                self.pending.push(pending);
                Some(report)
            }
            _ => {
                self.land(pending.record);
                None
            }
        }
    }
}
