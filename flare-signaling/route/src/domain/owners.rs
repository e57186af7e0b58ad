//! Partition → owner, as the owners tell it.

use std::{collections::BTreeMap, sync::Arc};

use super::{Refused, tellers::Tellers};

/// A partition, and an epoch in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// From 0.
    pub partition: u32,
    /// The epoch's number.
    pub epoch: u64,
    /// False: the epoch began, true: it has ended.
    pub ended: bool,
}

/// What is known of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The highest number that was told.
    pub epoch: u64,
    /// Where the owner of that epoch answers; None: nobody is known to own the partition.
    pub endpoint: Option<Arc<str>>,
}

/// The whole directory at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// By partition; None: nobody has ever told anything.
    pub partitions: Vec<Option<Known>>,
}

/// Who owns what, as far as it was told. State of those who told it, and one number a partition beside.
#[derive(Debug)]
pub struct OwnerDirectory {
    /// By partition, the epoch of whoever owns it.
    announcers: Tellers<BTreeMap<u32, u64>>,
    /// By partition, the highest epoch that was ever told. Who says a lower one was deposed, and does not know it yet.
    /// Begun anew when nobody is left who tells, so that another log with lower epochs is not taken for an old one.
    highest: Vec<u64>,
}

impl OwnerDirectory {
    /// With room for so many processes.
    pub fn new(max_announcers: usize) -> Self {
        Self {
            announcers: Tellers::new("announcers", max_announcers),
            highest: Vec::new(),
        }
    }

    /// A process begins: all that it owns of a log of `partitions`. Answers the number of its visit.
    ///
    /// # Errors
    /// It does not agree with the others on the log, names what there is not, or there is no room for it.
    pub fn begin(
        &mut self,
        incarnation: &str,
        endpoint: &str,
        partitions: u32,
        owned: &[Ownership],
    ) -> Result<u64, Refused> {
        let known = self.partitions();
        let is_first = self.announcers.is_empty();
        if !is_first && known != partitions {
            return Err(Refused::OtherPartitions {
                announcer: endpoint.to_owned(),
                given: partitions,
                known,
            });
        }
        check(owned, partitions)?;
        let (visit, _) = self.announcers.begin(incarnation, endpoint)?;
        if is_first {
            self.highest = vec![0; partitions as usize];
        }
        self.tell(incarnation, visit, owned)?;
        Ok(visit)
    }

    /// What has changed since.
    ///
    /// # Errors
    /// A later visit has begun, or it names what there is not.
    pub fn tell(
        &mut self,
        incarnation: &str,
        visit: u64,
        changes: &[Ownership],
    ) -> Result<(), Refused> {
        check(changes, self.partitions())?;
        let owned = self.announcers.told(incarnation, visit)?;
        for change in changes {
            if let Some(highest) = self.highest.get_mut(change.partition as usize) {
                *highest = change.epoch.max(*highest);
            }
            if !change.ended {
                owned.insert(change.partition, change.epoch);
            } else if owned
                .get(&change.partition)
                .is_some_and(|it| *it <= change.epoch)
            {
                owned.remove(&change.partition);
            }
        }
        Ok(())
    }

    /// A visit ends with a farewell.
    pub fn leave(&mut self, incarnation: &str, visit: u64) {
        self.announcers.leave(incarnation, visit);
        self.begin_anew_if_empty();
    }

    /// A visit broke off.
    pub fn break_off(&mut self, incarnation: &str, visit: u64, now_ms: u64) {
        self.announcers.break_off(incarnation, visit, now_ms);
    }

    /// When the first of those whose visit broke off did so.
    pub fn first_broken_ms(&self) -> Option<u64> {
        self.announcers.first_broken_ms()
    }

    /// Forgets whose visit broke off so long ago.
    pub fn expire(&mut self, now_ms: u64, grace_ms: u64) {
        self.announcers.expire(now_ms, grace_ms);
        self.begin_anew_if_empty();
    }

    /// How many processes tell.
    pub fn announcers(&self) -> usize {
        self.announcers.len()
    }

    /// What is known.
    pub fn view(&self) -> View {
        let vacant = |epoch: &u64| {
            (*epoch > 0).then_some(Known {
                epoch: *epoch,
                endpoint: None,
            })
        };
        let mut partitions: Vec<_> = self.highest.iter().map(vacant).collect();
        for (_, announcer) in self.announcers.iter() {
            let endpoint: Arc<str> = announcer.endpoint.as_str().into();
            for (partition, epoch) in &announcer.told {
                if let Some(Some(known)) = partitions.get_mut(*partition as usize)
                    && known.epoch == *epoch
                {
                    known.endpoint = Some(Arc::clone(&endpoint));
                }
            }
        }
        View { partitions }
    }

    fn partitions(&self) -> u32 {
        u32::try_from(self.highest.len()).unwrap_or(u32::MAX)
    }

    fn begin_anew_if_empty(&mut self) {
        if self.announcers.is_empty() {
            self.highest.clear();
        }
    }
}

fn check(named: &[Ownership], partitions: u32) -> Result<(), Refused> {
    match named.iter().find(|it| it.partition >= partitions) {
        Some(beyond) => Err(Refused::NoPartition {
            given: beyond.partition,
            partitions,
        }),
        None => Ok(()),
    }
}

impl View {
    /// How many partitions the log has; 0: nobody has told yet.
    pub fn count(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// How many have an owner.
    pub fn owned(&self) -> usize {
        let known = self.partitions.iter().flatten();
        known.filter(|it| it.endpoint.is_some()).count()
    }

    /// The partitions of which this says something else than `before`. What was known and is not any more is vacant.
    pub fn changes_since(&self, before: &Self) -> Vec<(u32, Known)> {
        let count = self.partitions.len().max(before.partitions.len());
        let changed = (0..count).filter_map(|at| {
            let known = |view: &Self| view.partitions.get(at).cloned().flatten();
            let (was, is) = (known(before), known(self));
            if was == is {
                return None;
            }
            let said = is.or_else(|| {
                was.map(|it| Known {
                    endpoint: None,
                    ..it
                })
            });
            Some((u32::try_from(at).ok()?, said?))
        });
        changed.collect()
    }
}

#[cfg(test)]
mod tests;
