//! A secret key in a file of its own, made by the first process that wants it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    clock::IdSource,
    inventory::{InventoryError, Listed},
};

const KEY_BYTES: usize = 32;

/// Why there is no key. Names the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read or made.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no key.
    #[error("key file {path} has {bytes} bytes: want {KEY_BYTES}")]
    Length {
        /// The file.
        path: PathBuf,
        /// How many there are.
        bytes: u64,
    },
    /// Others than its owner may read it.
    #[error("key file {path} has mode {mode:o}: others may read it, want 600")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It was made here, and is not there or another one now.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
}

/// What the inventory says of a key, which tells nobody the key.
#[derive(Deserialize, Eq, PartialEq, Serialize)]
struct Entry {
    sha256: String,
}

impl Entry {
    fn of(key: &[u8; KEY_BYTES]) -> Self {
        let digest = Sha256::digest(key);
        Self {
            sha256: digest.iter().map(|it| format!("{it:02x}")).collect(),
        }
    }
}

/// The key in the file `name` of a data folder, like [`open_or_make_key`]. Once the folder's inventory lists it, it is neither made again
/// where it is missing nor believed where it is another.
///
/// # Errors
/// If it is not the key that was there, or the system does not allow it.
pub(super) fn open_or_make_listed_key(
    data: &Path,
    name: &str,
    ids: &IdSource,
) -> Result<[u8; KEY_BYTES], KeyFileError> {
    let listed = Listed::new(data, name);
    if let Some(entry) = listed.entry::<Entry>()? {
        return open_listed(&listed, &entry);
    }
    let hold = listed.hold()?;
    // Another process may have made it meanwhile.
    if let Some(entry) = listed.entry::<Entry>()? {
        return open_listed(&listed, &entry);
    }
    let key = open_or_make_key(&listed.path(), ids)?;
    listed.keep(&hold, &Entry::of(&key))?;
    Ok(key)
}

fn open_listed(listed: &Listed, entry: &Entry) -> Result<[u8; KEY_BYTES], KeyFileError> {
    let path = listed.path();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(listed
                .not_as_left("is missing: tokens are signed with it")
                .into());
        }
        Err(source) => return Err(KeyFileError::Io { path, source }),
    };
    let key = read(&path, file).map_err(|error| match error {
        KeyFileError::Length { bytes, .. } => listed
            .not_as_left(format!("has {bytes} bytes, a key has {KEY_BYTES}"))
            .into(),
        error => error,
    })?;
    if Entry::of(&key) == *entry {
        Ok(key)
    } else {
        let what = "is another key than the one that was here: no token of then would be good";
        Err(listed.not_as_left(what).into())
    }
}

/// The 32 bytes in the file at `path`; if there is no file, it is made with random ones, readable for its owner only, and is on disk when
/// this returns. Of several processes that make it at once, one does, and all return the same bytes. The folder must be there.
pub fn open_or_make_key(path: &Path, ids: &IdSource) -> Result<[u8; KEY_BYTES], KeyFileError> {
    let failed = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path, ids).map_err(failed)?;
            read(path, File::open(path).map_err(failed)?)
        }
        Err(error) => Err(failed(error)),
    }
}

fn read(path: &Path, mut file: File) -> Result<[u8; KEY_BYTES], KeyFileError> {
    let failed = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let metadata = file.metadata().map_err(failed)?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Mode {
                path: path.to_owned(),
                mode,
            });
        }
    }
    if metadata.len() != KEY_BYTES as u64 {
        return Err(KeyFileError::Length {
            path: path.to_owned(),
            bytes: metadata.len(),
        });
    }
    let mut key = [0; KEY_BYTES];
    io::Read::read_exact(&mut file, &mut key).map_err(failed)?;
    Ok(key)
}

/// Makes the file whole under another name and links it: a link, unlike a rename, never takes the place of somebody else's file.
fn make(path: &Path, ids: &IdSource) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{:016x}", ids.random_u64()));
    let draft = PathBuf::from(draft);
    let linked =
        write(&draft, &ids.random_bytes::<KEY_BYTES>()).and_then(|()| {
            match fs::hard_link(&draft, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            }
        });
    let removed = fs::remove_file(&draft);
    linked?;
    removed?;
    let folder = path
        .parent()
        .filter(|it| !it.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn write(path: &Path, key: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(key)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Barrier};

    use super::*;

    #[test]
    fn the_key_is_made_once_and_read_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        let first = open_or_make_key(&path, &IdSource::seeded(1)).unwrap();
        assert_eq!(
            open_or_make_key(&path, &IdSource::seeded(2)).unwrap(),
            first
        );
        assert_eq!(fs::read(&path).unwrap(), first);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn of_many_who_make_it_at_once_all_get_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        let start = Barrier::new(8);
        let (start, path) = (&start, &path);
        let keys: HashSet<_> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|seed| {
                    scope.spawn(move || {
                        let ids = IdSource::seeded(seed);
                        start.wait();
                        open_or_make_key(path, &ids).unwrap()
                    })
                })
                .collect();
            makers.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(keys.len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_but_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        open_or_make_key(&path, &IdSource::seeded(1)).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = open_or_make_key(&path, &IdSource::seeded(1)).unwrap_err();
        assert!(
            matches!(error, KeyFileError::Mode { mode: 0o644, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_listed_key_is_neither_made_again_nor_believed_where_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        let open =
            |seed| open_or_make_listed_key(folder.path(), "token.key", &IdSource::seeded(seed));
        let first = open(1).unwrap();
        assert_eq!(open(2).unwrap(), first);
        fs::remove_file(&path).unwrap();
        let error = open(3).unwrap_err().to_string();
        assert!(error.contains("token.key is missing"), "{error}");
        assert!(!path.exists());
        write(&path, &[7; KEY_BYTES]).unwrap();
        let error = open(4).unwrap_err().to_string();
        assert!(error.contains("another key"), "{error}");
        crate::inventory::accept_loss(folder.path(), "token.key").unwrap();
        assert_eq!(open(5).unwrap(), [7; KEY_BYTES]);
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        write(&path, b"short").unwrap();
        let error = open_or_make_key(&path, &IdSource::seeded(1)).unwrap_err();
        assert!(
            matches!(error, KeyFileError::Length { bytes: 5, .. }),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }
}
