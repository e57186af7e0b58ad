//! A log that lands appends late, twice or never, and does not always say so.

use bytes::Bytes;
use flare_message_orchestrator::owner::AppendReport;
use rand::{Rng, rngs::StdRng};

use crate::faults::Faults;

/// An append that was asked for.
struct Pending {
    /// Which owner asked, and which life of his.
    owner: (usize, u32),
    append: u64,
    record: Bytes,
    /// The owner has its report; the record may still land.
    reported: bool,
}

/// What became of an append: who is to be told what.
pub(crate) struct Report {
    pub(crate) owner: (usize, u32),
    pub(crate) append: u64,
    pub(crate) report: AppendReport,
}

#[derive(Default)]
pub(crate) struct Log {
    /// Durable, by offset.
    pub(crate) records: Vec<Bytes>,
    pending: Vec<Pending>,
}

impl Log {
    pub(crate) fn append(&mut self, owner: (usize, u32), append: u64, record: Bytes) {
        self.pending.push(Pending {
            owner,
            append,
            record,
            reported: false,
        });
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    fn land(&mut self, record: Bytes) -> u64 {
        self.records.push(record);
        self.records.len() as u64 - 1
    }

    /// The power fails: of what was not reported some is there, the rest is torn off. Gives how much.
    pub(crate) fn lose_power(&mut self, rng: &mut StdRng) -> u64 {
        let pending = std::mem::take(&mut self.pending);
        let whole = rng.random_range(0..=pending.len());
        let torn = pending.len() - whole;
        for it in pending.into_iter().take(whole) {
            self.land(it.record);
        }
        torn as u64
    }

    /// Something happens to one of the appends.
    pub(crate) fn turn(&mut self, rng: &mut StdRng, faults: Faults) -> Option<Report> {
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
            0..80 => {
                let offset = self.land(pending.record);
                tell(AppendReport::At(offset))
            }
            // Lands, and the report is lost.
            80..84 => {
                self.land(pending.record);
                tell(AppendReport::Unknown)
            }
            // Is lost.
            84..88 => tell(AppendReport::Unknown),
            // Has no room, and says so.
            88..90 => tell(AppendReport::NoRoom),
            // Lands twice, one behind the other or with others between: the client has sent it again.
            90..94 => {
                let first = self.land(pending.record.clone());
                let told = tell(AppendReport::At(first));
                if rng.random_bool(0.5) {
                    self.land(pending.record);
                } else {
                    pending.reported = true;
                    self.pending.push(pending);
                }
                told
            }
            // Is given up, and lands later.
            _ if !pending.reported => {
                pending.reported = true;
                self.pending.push(pending);
                Some(Report {
                    owner,
                    append,
                    report: AppendReport::Unknown,
                })
            }
            _ => {
                self.land(pending.record);
                None
            }
        }
    }
}
