use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use rand::Rng;
use rand::rngs::StdRng;

use crate::log_file::format::SECTOR;

/// Files as a process sees them and as they would be after a power loss.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) durable_names: BTreeMap<PathBuf, u64>,
    pub(super) unsynced_names: Vec<NameChange>,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) free_bytes: Option<u64>,
    pub(super) ignore_syncs: bool,
    pub(super) next_inode: u64,
}

#[derive(Clone, Default)]
pub(super) struct Inode {
    pub(super) current: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Sectors of `current` that differ from `durable`, or may.
    pub(super) unsynced: BTreeSet<usize>,
}

#[derive(Clone)]
pub(super) struct NameChange {
    pub(super) folder: PathBuf,
    pub(super) removed: Option<PathBuf>,
    pub(super) added: Option<(PathBuf, u64)>,
}

impl Disk {
    pub(super) fn add(&mut self, inode: Inode) -> u64 {
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, inode);
        self.next_inode
    }

    pub(super) fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes
            .get_mut(&inode)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Drops files that nobody can open again.
    pub(super) fn forget_nameless(&mut self) {
        let renamed = self
            .unsynced_names
            .iter()
            .filter_map(|change| change.added.as_ref());
        let renamed = renamed.map(|(_, inode)| inode);
        let named: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.durable_names.values())
            .chain(renamed)
            .copied()
            .collect();
        self.inodes.retain(|inode, _| named.contains(inode));
    }

    pub(super) fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        if let Some(removed) = &self.removed {
            names.remove(removed);
        }
        if let Some((added, inode)) = &self.added {
            names.insert(added.clone(), *inode);
        }
    }
}

impl Inode {
    pub(super) fn sync(&mut self) {
        self.durable.resize(self.current.len(), 0);
        for sector in std::mem::take(&mut self.unsynced) {
            self.copy_to_durable(sector);
        }
    }

    pub(super) fn copy_to_durable(&mut self, sector: usize) {
        let from = (sector * SECTOR).min(self.durable.len());
        let to = (from + SECTOR).min(self.durable.len());
        self.durable[from..to].copy_from_slice(&self.current[from..to]);
    }

    pub(super) fn lose_power(&mut self, rng: &mut StdRng, keep: f64) {
        if self.durable.len() != self.current.len() && rng.random_bool(keep) {
            self.durable.resize(self.current.len(), 0);
        }
        for sector in std::mem::take(&mut self.unsynced) {
            if rng.random_bool(keep) {
                self.copy_to_durable(sector);
            }
        }
        self.current = self.durable.clone();
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        if end > self.current.len() {
            self.current.resize(end, 0);
        }
        self.current[at..end].copy_from_slice(bytes);
        self.unsynced.extend(at / SECTOR..end.div_ceil(SECTOR));
    }
}
