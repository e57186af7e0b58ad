//! How an owner comes to own its partition: fold the log, append a marker, fold to the marker, and see whose the log is.

use bytes::Bytes;
use flare_storage_model::{Applied, Epoch, LogRecord, LogState, apply, record};
use sha2::{Digest, Sha256};

use super::{AppendReport, Output, Owner};
use crate::domain::{memory::Memory, store_lag::StoreLag};

#[derive(Debug)]
pub(super) enum Phase {
    /// Somebody else's to try.
    Unassigned,
    /// The store is asked for its cursor.
    Locating { fold: u64 },
    /// The log is read to its end.
    Folding { fold: u64, claims: Claims },
    /// The marker is being appended.
    Claiming {
        append: u64,
        epoch: Epoch,
        claims: Claims,
    },
    /// The log is read to the marker.
    Confirming {
        fold: u64,
        marker: u64,
        epoch: Epoch,
        claims: Claims,
    },
    /// Groups may be appended; the marker stands at this offset.
    Owning { marker: u64, claims: Claims },
    /// Somebody else owned the log, or it could not be read.
    Pausing {
        fold: u64,
        relocate: bool,
        claims: Claims,
    },
    /// The log is wrong.
    Halted,
}

/// The claims of one assignment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claims {
    /// The last one; number 0: none.
    last: Epoch,
    /// Whose epoch was given way to already, or claimed over.
    yielded_to: Epoch,
    /// Pauses since the partition was last owned.
    pauses: u32,
}

impl Owner {
    pub(super) fn assigned(&mut self) {
        if matches!(self.phase, Phase::Unassigned) {
            self.locate();
        }
    }

    pub(super) fn revoked(&mut self) {
        if matches!(self.phase, Phase::Halted | Phase::Unassigned) {
            return;
        }
        self.lose();
        self.phase = Phase::Unassigned;
        self.refuse_all();
    }

    fn locate(&mut self) {
        let fold = self.request();
        self.phase = Phase::Locating { fold };
        self.out.push(Output::ReadCursor { fold });
    }

    pub(super) fn cursor_read(&mut self, asked: u64, cursor: LogState) {
        if !matches!(self.phase, Phase::Locating { fold } if fold == asked) {
            return;
        }
        self.log = cursor;
        self.now_ms = self.now_ms.max(cursor.time_ms);
        self.memory = Memory::new(
            self.config.memory,
            cursor.next_offset,
            cursor.time_ms,
            self.seed,
        );
        self.lag = StoreLag::new(cursor.next_offset);
        self.forget_reads();
        self.fold(Claims::default());
    }

    fn fold(&mut self, claims: Claims) {
        let fold = self.request();
        self.phase = Phase::Folding { fold, claims };
        self.out.push(Output::ReadLog {
            fold,
            from: self.log.next_offset,
        });
    }

    pub(super) fn log_read(&mut self, asked: u64, records: Vec<(u64, Bytes)>, at_end: bool) {
        let (claims, confirming) = match self.phase {
            Phase::Folding { fold, claims } if fold == asked => (claims, None),
            Phase::Confirming {
                fold,
                marker,
                epoch,
                claims,
            } if fold == asked => (claims, Some((marker, epoch))),
            _ => return,
        };
        for (offset, bytes) in records {
            if !self.follow(offset, bytes) {
                return;
            }
            if let Some((marker, epoch)) = confirming
                && offset == marker
            {
                self.confirm(marker, epoch, claims);
                return;
            }
        }
        match confirming {
            None if at_end => self.claim(claims),
            _ => self.out.push(Output::ReadLog {
                fold: asked,
                from: self.log.next_offset,
            }),
        }
    }

    /// Folds one record. False: it cannot be.
    fn follow(&mut self, offset: u64, bytes: Bytes) -> bool {
        let record = match record::decode(bytes) {
            Ok(record) => record,
            Err(error) => return self.halt(format!("record at offset {offset}: {error}")),
        };
        match apply(&mut self.log, offset, &record) {
            Applied::Takeover => true,
            Applied::Skipped(reason) => {
                self.out.push(Output::Skipped(reason));
                true
            }
            Applied::Group(events) => {
                self.lag.grow(offset, events.len(), self.log.time_ms);
                #[cfg(feature = "mutants")]
                if flare_storage_model::mutants::Mutant::RecoverWithoutFold.is_made() {
                    return true;
                }
                for event in events {
                    let id = event.id_digest().map(Into::into);
                    if let Err(broken) = self.memory.follow(offset, event, id) {
                        return self.halt(format!("record at offset {offset}: {broken}"));
                    }
                }
                true
            }
        }
    }

    /// The whole log is folded: claims it, unless somebody else has claimed it since the last claim: then he gets a moment first, because
    /// each marker disturbs the owner before it.
    fn claim(&mut self, mut claims: Claims) {
        let current = self.log.epoch;
        if claims.last.number > 0 && current != claims.last && current != claims.yielded_to {
            claims.yielded_to = current;
            self.pause(false, claims);
            return;
        }
        claims.yielded_to = current;
        let append = self.request();
        let epoch = Epoch {
            number: current.number + 1,
            nonce: self.nonce(append),
        };
        let marker = LogRecord::Takeover {
            epoch,
            owner: self.config.name.clone(),
        };
        match record::encode(&marker) {
            Ok(record) => {
                claims.last = epoch;
                self.phase = Phase::Claiming {
                    append,
                    epoch,
                    claims,
                };
                self.out.push(Output::Append {
                    append,
                    record,
                    events: 0,
                });
            }
            Err(error) => {
                self.halt(format!("the marker cannot be written: {error}"));
            }
        }
    }

    /// The marker's append is reported.
    pub(super) fn marker_appended(&mut self, report: AppendReport, epoch: Epoch, claims: Claims) {
        let AppendReport::At(marker) = report else {
            return self.pause(false, claims);
        };
        let fold = self.request();
        self.phase = Phase::Confirming {
            fold,
            marker,
            epoch,
            claims,
        };
        self.out.push(Output::ReadLog {
            fold,
            from: self.log.next_offset,
        });
    }

    fn confirm(&mut self, marker: u64, epoch: Epoch, claims: Claims) {
        if self.log.epoch != epoch {
            return self.pause(false, claims);
        }
        self.now_ms = self.now_ms.max(self.log.time_ms);
        self.phase = Phase::Owning {
            marker,
            claims: Claims {
                pauses: 0,
                ..claims
            },
        };
        self.out.push(Output::Owned);
        for line in self.lines.numbers() {
            self.prepare(line);
        }
    }

    fn pause(&mut self, relocate: bool, mut claims: Claims) {
        claims.pauses = claims.pauses.saturating_add(1);
        let fold = self.request();
        self.phase = Phase::Pausing {
            fold,
            relocate,
            claims,
        };
        self.out.push(Output::BackOff {
            fold,
            attempt: claims.pauses,
        });
    }

    pub(super) fn fold_failed(&mut self, asked: u64) {
        let claims = match self.phase {
            Phase::Locating { fold } if fold == asked => Claims::default(),
            Phase::Folding { fold, claims } | Phase::Confirming { fold, claims, .. }
                if fold == asked =>
            {
                claims
            }
            _ => return,
        };
        self.pause(true, claims);
    }

    pub(super) fn backed_off(&mut self, asked: u64) {
        match self.phase {
            Phase::Pausing {
                fold,
                relocate: true,
                ..
            } if fold == asked => self.locate(),
            Phase::Pausing { fold, claims, .. } if fold == asked => self.fold(claims),
            _ => {}
        }
    }

    /// The epoch has ended, whoever ended it: what is in flight may have landed or not, and only the fold can tell.
    pub(super) fn end_epoch(&mut self) {
        let Phase::Owning { claims, .. } = self.phase else {
            return;
        };
        self.lose();
        self.fold(claims);
    }

    fn lose(&mut self) {
        if self.is_owning() {
            self.out.push(Output::Lost);
        }
        self.take_back_flight();
    }

    pub(super) fn halt(&mut self, reason: String) -> bool {
        self.lose();
        self.phase = Phase::Halted;
        self.out.push(Output::Halt(reason));
        self.refuse_all();
        false
    }

    /// Random, because the seed is; another one for each request.
    fn nonce(&self, request: u64) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(request.to_be_bytes());
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(first)
    }
}
