//! What a caller knows of the owners.

use std::sync::Arc;

use flare_proto::signaling::WatchResponse;

/// The owner of a partition, as it was last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The number of its epoch.
    pub epoch: u64,
    /// Where its inner listener answers; empty: in this process.
    pub endpoint: Arc<str>,
}

/// Partition → owner. Of a partition that is not named again, what was told last stands: an instance of flare-signaling-route that has just begun knows
/// less than its callers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    owners: Vec<Option<Owner>>,
}

/// The log cannot have changed its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log has {known} partitions, and is told to have {given}")]
pub(super) struct OtherPartitions {
    known: u32,
    given: u32,
}

impl Directory {
    /// Of a log whose partitions have these owners.
    pub fn of(owners: impl IntoIterator<Item = Option<Owner>>) -> Self {
        Self {
            owners: owners.into_iter().collect(),
        }
    }

    /// How many partitions the log has; None: nobody has told yet.
    pub fn partitions(&self) -> Option<u32> {
        let count = u32::try_from(self.owners.len()).unwrap_or(u32::MAX);
        (count > 0).then_some(count)
    }

    /// Who owns the partition; None: nobody is known to.
    pub fn owner(&self, partition: u32) -> Option<&Owner> {
        self.owners.get(partition as usize)?.as_ref()
    }

    /// Takes in what was told.
    ///
    /// # Errors
    /// It is told of another log; nothing has changed.
    pub(super) fn take_in(&mut self, told: WatchResponse) -> Result<(), OtherPartitions> {
        let given = told.partitions;
        match self.partitions() {
            _ if given == 0 => {}
            None => self.owners = vec![None; given as usize],
            Some(known) if known != given => return Err(OtherPartitions { known, given }),
            Some(_) => {}
        }
        for owner in told.owners {
            if let Some(known) = self.owners.get_mut(owner.partition as usize) {
                *known = (!owner.vacant).then(|| Owner {
                    epoch: owner.epoch,
                    endpoint: owner.endpoint.into(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flare_proto::signaling::PartitionOwner;

    use super::*;

    fn told(partitions: u32, owners: &[(u32, u64, &str)]) -> WatchResponse {
        let owner = |(partition, epoch, endpoint): &(u32, u64, &str)| PartitionOwner {
            partition: *partition,
            epoch: *epoch,
            endpoint: (*endpoint).to_owned(),
            vacant: endpoint.is_empty(),
        };
        WatchResponse {
            partitions,
            owners: owners.iter().map(owner).collect(),
        }
    }

    fn endpoint(directory: &Directory, partition: u32) -> Option<&str> {
        directory.owner(partition).map(|it| &*it.endpoint)
    }

    #[test]
    fn what_is_not_named_again_stands() {
        let mut all = Directory::default();
        all.take_in(told(0, &[])).expect("nobody knows anything");
        assert_eq!(all.partitions(), None);
        all.take_in(told(2, &[(0, 4, "a"), (1, 5, "b")]))
            .expect("taken");
        all.take_in(told(0, &[]))
            .expect("an instance that has just begun");
        all.take_in(told(2, &[(1, 6, "c")])).expect("taken");
        assert_eq!(
            (endpoint(&all, 0), endpoint(&all, 1)),
            (Some("a"), Some("c"))
        );
        all.take_in(told(2, &[(0, 4, "")])).expect("taken");
        assert_eq!(endpoint(&all, 0), None, "it is vacant");
        assert_eq!(endpoint(&all, 7), None);
    }

    #[test]
    fn another_log_is_not_taken_in() {
        let mut all = Directory::default();
        all.take_in(told(2, &[(0, 4, "a")])).expect("taken");
        let other = all.take_in(told(3, &[(0, 9, "b")])).expect_err("refused");
        assert_eq!(other, OtherPartitions { known: 2, given: 3 });
        assert_eq!(endpoint(&all, 0), Some("a"));
    }
}
