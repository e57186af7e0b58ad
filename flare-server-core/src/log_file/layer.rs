use std::io;
use std::path::Path;
use std::sync::Arc;

/// Released when dropped, and by the operating system when the process ends.
pub type FolderLock = Box<dyn Send + Sync>;

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockFailure {
    /// Somebody has it; the process id if it could be read.
    Held(Option<u32>),
    /// The lock file could not be opened or written.
    Io(io::Error),
}

/// What a log needs of a file system: the disk ([`DiskLayer`](super::DiskLayer)), or a simulated
/// one that loses power ([`FaultyLayer`](super::faults::FaultyLayer)).
///
/// Nothing is durable before it is synced: a file's content and length by [`LayerFile::sync`], its
/// name by [`FileLayer::sync_folder`]. Until then a crash may keep or lose each 512-byte sector,
/// and each change of a name, independently.
pub trait FileLayer: Send + Sync + 'static {
    /// Makes the folder and those above it, durably. A folder that is there is fine.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// The names of the files in the folder, in no order.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// A file of `bytes` zeros whose room on the disk is reserved. Replaces a file of that name.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn LayerFile>>;

    /// Opens a file that is there, to read and write.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn LayerFile>>;

    /// Gives a file a new name in the same folder, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Open handles stay readable.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in the folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Bytes free for this process on the disk that has the folder.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;

    /// Takes the lock file, making it if need be, or says at once who has it.
    fn lock(&self, path: &Path) -> Result<FolderLock, LockFailure>;
}

/// An open file.
pub trait LayerFile: Send + Sync {
    /// The length in bytes.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads into `buffer` from byte `at`; may read less, and reads 0 at the end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes from byte `at`; may write less.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;

    /// Returns when content and length are durable.
    fn sync(&self) -> io::Result<()>;
}

/// Fills `buffer` from byte `at` on.
pub(crate) fn read_full(
    file: &dyn LayerFile,
    mut buffer: &mut [u8],
    mut at: u64,
) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = &mut buffer[read..];
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes` from byte `at` on.
pub(crate) fn write_full(file: &dyn LayerFile, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                at += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
