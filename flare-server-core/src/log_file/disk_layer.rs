use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::layer::write_full;
use super::{FileLayer, FolderLock, LayerFile, LockFailure};

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskLayer;

impl FileLayer for DiskLayer {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.as_os_str().is_empty() || folder.is_dir() {
            return Ok(());
        }
        let parent = folder.parent();
        if let Some(parent) = parent {
            self.create_folder(parent)?;
        }
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match parent {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_folder(parent),
            _ => self.sync_folder(Path::new(".")),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn LayerFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        if bytes > 0 {
            match fs4::fs_std::FileExt::allocate(&file, bytes) {
                // Some network file systems cannot reserve room: writing the zeros does it.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    write_zeros(&file, 0, bytes)?;
                }
                outcome => outcome?,
            }
            // Some systems reserve room without making the file longer.
            file.set_len(bytes)?;
        }
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn LayerFile>> {
        Ok(Arc::new(
            OpenOptions::new().read(true).write(true).open(path)?,
        ))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        fs4::available_space(folder)
    }

    fn lock(&self, path: &Path) -> Result<FolderLock, LockFailure> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(LockFailure::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| text.trim().parse().ok());
                return Err(LockFailure::Held(pid));
            }
            Err(TryLockError::Error(error)) => return Err(LockFailure::Io(error)),
        }
        let note_holder = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        note_holder(&mut file).map_err(LockFailure::Io)?;
        Ok(Box::new(file))
    }
}

impl LayerFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Overwrites a range with zeros, syncing as it goes so that the sync of a log beside it never
/// waits behind a long queue.
pub(super) fn write_zeros(file: &dyn LayerFile, from: u64, to: u64) -> io::Result<()> {
    const CHUNK: u64 = 1 << 20;
    let zeros = vec![0; CHUNK as usize];
    let mut at = from;
    while at < to {
        let bytes = CHUNK.min(to - at);
        write_full(file, &zeros[..bytes as usize], at)?;
        file.sync()?;
        at += bytes;
    }
    Ok(())
}
