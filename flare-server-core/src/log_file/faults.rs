//! A file system in memory that loses power: for tests of everything that keeps its data in a log.

mod disk;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use disk::{Disk, Inode, NameChange};

use super::{FileLayer, FolderLock, LayerFile, LockFailure};

/// What is about to be done to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A file is made.
    Create(PathBuf),
    /// Bytes are written: the file, the first byte, how many.
    Write(PathBuf, u64, usize),
    /// A file is synced.
    Sync(PathBuf),
    /// A file is renamed, from and to.
    Rename(PathBuf, PathBuf),
    /// A file is removed.
    Remove(PathBuf),
    /// A folder is synced.
    SyncFolder(PathBuf),
}

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is done.
    None,
    /// It fails with this error; nothing is done.
    Fail(io::ErrorKind),
    /// A write takes only so many bytes. Other operations are done.
    Short(usize),
}

type Injector = Box<dyn FnMut(&Operation) -> Fault + Send>;
type Observer = Box<dyn FnMut(&FaultyLayer) + Send>;

/// The simulated disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyLayer {
    disk: Arc<Mutex<Disk>>,
    injector: Arc<Mutex<Option<Injector>>>,
    observer: Arc<Mutex<Option<Observer>>>,
}

impl FaultyLayer {
    /// An empty disk without faults and with endless room.
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk after the power failed at this moment: of everything not synced, each sector and
    /// each change of a name is kept or lost as `seed` says. No lock is held on it.
    pub fn power_loss(&self, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        // Between "all lost" and "all kept", both of which are worth a visit.
        let keep = f64::from(rng.random_range(0..=4)) / 4.0;
        self.without_power(&mut rng, keep)
    }

    /// The disk after a power loss that kept nothing that was not synced.
    pub fn total_power_loss(&self) -> Self {
        self.without_power(&mut StdRng::seed_from_u64(0), 0.0)
    }

    fn without_power(&self, rng: &mut StdRng, keep: f64) -> Self {
        let mut disk = self.disk().clone();
        for inode in disk.inodes.values_mut() {
            inode.lose_power(rng, keep);
        }
        for change in std::mem::take(&mut disk.unsynced_names) {
            if rng.random_bool(keep) {
                change.apply(&mut disk.durable_names);
            }
        }
        disk.names = disk.durable_names.clone();
        Self::with_disk(disk)
    }

    /// The disk after the process died at this moment: everything written is seen, nothing
    /// unsynced has become durable. No lock is held on it.
    pub fn process_crash(&self) -> Self {
        let disk = self.disk().clone();
        Self::with_disk(disk)
    }

    /// Has every later sync report success and do nothing, as a program without syncs would.
    pub fn ignore_syncs(&self, ignore: bool) {
        self.disk().ignore_syncs = ignore;
    }

    /// Sets the free bytes that are reported.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.disk().free_bytes = Some(bytes);
    }

    /// Asks `inject` about every later operation.
    pub fn inject(&self, inject: impl FnMut(&Operation) -> Fault + Send + 'static) {
        *lock(&self.injector) = Some(Box::new(inject));
    }

    /// Shows the disk to `observe` right after each later operation. It may take copies, by
    /// [`power_loss`](Self::power_loss) and the like, and must leave this one alone.
    pub fn observe(&self, observe: impl FnMut(&FaultyLayer) + Send + 'static) {
        *lock(&self.observer) = Some(Box::new(observe));
    }

    /// Ends [`FaultyLayer::inject`] and [`FaultyLayer::observe`].
    pub fn leave_alone(&self) {
        *lock(&self.injector) = None;
        *lock(&self.observer) = None;
    }

    /// A file's bytes as a process would read them.
    pub fn file(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names
            .get(path)
            .and_then(|inode| disk.inodes.get(inode))
            .map(|inode| inode.current.clone())
    }

    /// Puts a durable file there, in place of what was.
    pub fn put_file(&self, path: &Path, bytes: Vec<u8>) {
        let mut disk = self.disk();
        let inode = disk.add(Inode {
            durable: bytes.clone(),
            current: bytes,
            unsynced: BTreeSet::new(),
        });
        disk.names.insert(path.to_path_buf(), inode);
        disk.durable_names.insert(path.to_path_buf(), inode);
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.disk().names.keys().cloned().collect()
    }

    fn with_disk(mut disk: Disk) -> Self {
        disk.locks.clear();
        disk.forget_nameless();
        Self {
            disk: Arc::new(Mutex::new(disk)),
            ..Self::default()
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    /// Does an operation, unless it is to fail; `act` gets the most bytes a write may take.
    fn perform<T>(
        &self,
        operation: &Operation,
        act: impl FnOnce(&mut Disk, usize) -> io::Result<T>,
    ) -> io::Result<T> {
        let fault = lock(&self.injector)
            .as_mut()
            .map_or(Fault::None, |inject| inject(operation));
        let limit = match fault {
            Fault::None => usize::MAX,
            Fault::Fail(kind) => return Err(kind.into()),
            Fault::Short(bytes) => bytes,
        };
        let outcome = act(&mut self.disk(), limit)?;
        if let Some(observe) = lock(&self.observer).as_mut() {
            observe(self);
        }
        Ok(outcome)
    }
}

impl FileLayer for FaultyLayer {
    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        let inside = disk
            .names
            .keys()
            .filter(|path| path.parent() == Some(folder));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn LayerFile>> {
        let inode = self.perform(&Operation::Create(path.to_path_buf()), |disk, _| {
            let inode = disk.add(Inode {
                current: vec![0; bytes as usize],
                ..Inode::default()
            });
            let added = Some((path.to_path_buf(), inode));
            disk.change_names(NameChange {
                folder: folder_of(path),
                removed: None,
                added,
            });
            Ok(inode)
        })?;
        Ok(Arc::new(FaultyFile {
            layer: self.clone(),
            path: path.to_path_buf(),
            inode,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn LayerFile>> {
        let inode = self
            .disk()
            .names
            .get(path)
            .copied()
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultyFile {
            layer: self.clone(),
            path: path.to_path_buf(),
            inode,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform(
            &Operation::Rename(from.to_path_buf(), to.to_path_buf()),
            |disk, _| {
                let inode = *disk.names.get(from).ok_or(io::ErrorKind::NotFound)?;
                let (removed, added) = (Some(from.to_path_buf()), Some((to.to_path_buf(), inode)));
                disk.change_names(NameChange {
                    folder: folder_of(to),
                    removed,
                    added,
                });
                Ok(())
            },
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.perform(&Operation::Remove(path.to_path_buf()), |disk, _| {
            if !disk.names.contains_key(path) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let removed = Some(path.to_path_buf());
            disk.change_names(NameChange {
                folder: folder_of(path),
                removed,
                added: None,
            });
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.perform(&Operation::SyncFolder(folder.to_path_buf()), |disk, _| {
            if !disk.ignore_syncs {
                let changes = std::mem::take(&mut disk.unsynced_names);
                let (synced, rest) = changes
                    .into_iter()
                    .partition(|change| change.folder == folder);
                disk.unsynced_names = rest;
                let synced: Vec<NameChange> = synced;
                synced
                    .iter()
                    .for_each(|change| change.apply(&mut disk.durable_names));
            }
            Ok(())
        })
    }

    fn free_bytes(&self, _folder: &Path) -> io::Result<u64> {
        Ok(self.disk().free_bytes.unwrap_or(u64::MAX))
    }

    fn lock(&self, path: &Path) -> Result<FolderLock, LockFailure> {
        if self.disk().locks.insert(path.to_path_buf()) {
            Ok(Box::new(HeldLock {
                layer: self.clone(),
                path: path.to_path_buf(),
            }))
        } else {
            Err(LockFailure::Held(Some(std::process::id())))
        }
    }
}

struct HeldLock {
    layer: FaultyLayer,
    path: PathBuf,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.layer.disk().locks.remove(&self.path);
    }
}

struct FaultyFile {
    layer: FaultyLayer,
    path: PathBuf,
    inode: u64,
}

impl LayerFile for FaultyFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.layer.disk().inode(self.inode)?.current.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut disk = self.layer.disk();
        let bytes = &disk.inode(self.inode)?.current;
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let read = buffer.len().min(bytes.len() - from);
        buffer[..read].copy_from_slice(&bytes[from..from + read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let operation = Operation::Write(self.path.clone(), at, bytes.len());
        self.layer.perform(&operation, |disk, limit| {
            let taken = bytes.len().min(limit);
            disk.inode(self.inode)?.write(&bytes[..taken], at as usize);
            Ok(taken)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.layer
            .perform(&Operation::Sync(self.path.clone()), |disk, _| {
                if !disk.ignore_syncs {
                    disk.inode(self.inode)?.sync();
                }
                Ok(())
            })
    }
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_path_buf()
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
