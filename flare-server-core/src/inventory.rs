//! What a data folder has been given to keep: an entry for each database and key, in a folder of its own. A file that is lost, or that
//! another took the place of, looks like one that was never made; its entry tells them apart.
//!
//! Each entry is written durably and replaced as a whole, and only once the file is there: an entry never names what was not made. A folder
//! of an earlier version has no entries, and gets them at its first start.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// The folder of the entries, in the data folder.
pub const FOLDER: &str = "inventory";

/// Why a file of the data folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// It is not what was left there.
    #[error(
        "{} {what}, says {}. Restore the whole of {} from one backup; or, if what that file held may be lost, say so: flare accept-loss {name} --data {}",
        file.display(), entry_path(data, name).display(), data.display(), data.display()
    )]
    NotAsLeft {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, as the rest of a sentence that begins with its name.
        what: String,
        /// The entry's name.
        name: String,
        /// The data folder.
        data: PathBuf,
    },
    /// The entry cannot be read.
    #[error(
        "{} is damaged: what it says of {name} is not known. Restore the whole of {} from one backup; or, if {name} is good, begin the entry anew: flare accept-loss {name} --data {}",
        file.display(), data.display(), data.display()
    )]
    DamagedEntry {
        /// The entry's file.
        file: PathBuf,
        /// The entry's name.
        name: String,
        /// The data folder.
        data: PathBuf,
    },
    /// Somebody uses what is to be struck from the inventory.
    #[error("{name} is in use by another process: stop it first")]
    InUse {
        /// The entry's name.
        name: String,
    },
    /// There is no such entry.
    #[error("{} lists no {name}{}", data.display(), known(listed))]
    NotListed {
        /// The entry's name.
        name: String,
        /// The data folder.
        data: PathBuf,
        /// What it does list.
        listed: Vec<String>,
    },
    /// The system does not allow it.
    #[error("{}: {source}", path.display())]
    Io {
        /// Of what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn known(listed: &[String]) -> String {
    if listed.is_empty() {
        ": it lists nothing".to_owned()
    } else {
        format!(": it lists {}", listed.join(", "))
    }
}

/// A file of a data folder, and its entry.
#[derive(Clone, Debug)]
pub struct Listed {
    data: PathBuf,
    name: String,
}

/// Only who holds it changes the entry. Released when dropped.
#[derive(Debug)]
pub struct Hold {
    file: File,
}

impl Listed {
    /// The file `name` of the data folder `data`: a path with `/` between its parts.
    pub fn new(data: &Path, name: &str) -> Self {
        Self {
            data: data.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Where the file is.
    pub fn path(&self) -> PathBuf {
        self.data.join(&self.name)
    }

    /// An error that says what is wrong with the file.
    pub fn not_as_left(&self, what: impl Into<String>) -> InventoryError {
        self.file_not_as_left(self.path(), what)
    }

    /// An error about a file beside it, such as a database's write-ahead log.
    pub fn file_not_as_left(&self, file: PathBuf, what: impl Into<String>) -> InventoryError {
        InventoryError::NotAsLeft {
            file,
            what: what.into(),
            name: self.name.clone(),
            data: self.data.clone(),
        }
    }

    /// The entry; None: the file was never made, or by a version that kept no inventory.
    pub fn entry<T: DeserializeOwned>(&self) -> Result<Option<T>, InventoryError> {
        let path = self.entry_path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(InventoryError::Io { path, source }),
        };
        let entry = checked(&bytes).and_then(|it| serde_json::from_slice(it).ok());
        entry.map(Some).ok_or_else(|| InventoryError::DamagedEntry {
            file: path,
            name: self.name.clone(),
            data: self.data.clone(),
        })
    }

    /// Replaces the entry. It is on disk when this returns.
    pub fn keep<T: Serialize>(&self, _hold: &Hold, entry: &T) -> Result<(), InventoryError> {
        let path = self.entry_path();
        let kept = serde_json::to_string(entry)
            .map_err(io::Error::other)
            .and_then(|text| replace(&path, &with_check(&text)));
        kept.map_err(|source| InventoryError::Io { path, source })
    }

    /// Waits until nobody else holds the file, in whatever way.
    pub fn hold(&self) -> Result<Hold, InventoryError> {
        let file = self.lock_file()?;
        file.lock().map_err(|source| self.unlockable(source))?;
        Ok(Hold { file })
    }

    /// Holds the file if nobody else does.
    pub fn try_hold(&self) -> Result<Option<Hold>, InventoryError> {
        let file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Hold { file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => Err(self.unlockable(source)),
        }
    }

    /// Waits until nobody has the file for himself, and shares it with others who use it.
    pub fn share(&self) -> Result<Hold, InventoryError> {
        let file = self.lock_file()?;
        file.lock_shared()
            .map_err(|source| self.unlockable(source))?;
        Ok(Hold { file })
    }

    fn lock_file(&self) -> Result<File, InventoryError> {
        let folder = self.data.join(FOLDER);
        let made = match fs::create_dir(&folder) {
            Ok(()) => sync_folder(&folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        };
        let path = self.lock_path();
        made.and_then(|()| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
        })
        .map_err(|source| InventoryError::Io { path, source })
    }

    fn unlockable(&self, source: io::Error) -> InventoryError {
        InventoryError::Io {
            path: self.lock_path(),
            source,
        }
    }

    fn entry_path(&self) -> PathBuf {
        entry_path(&self.data, &self.name)
    }

    fn lock_path(&self) -> PathBuf {
        self.entry_path().with_added_extension(LOCK)
    }
}

impl Hold {
    /// Gives it up, and says where the system does not allow even that.
    pub(crate) fn release(self) -> io::Result<()> {
        self.file.unlock()
    }
}

/// The ending of the files that are only locked.
const LOCK: &str = "lock";
/// The ending of an entry that is being written.
const DRAFT: &str = "new";

/// Names of entries have `/` in them, names of files do not.
fn entry_path(data: &Path, name: &str) -> PathBuf {
    data.join(FOLDER).join(name.replace('/', "~"))
}

/// Strikes a file from the inventory of a folder that nobody uses: it is lost, or another took its place, and that is accepted. What is
/// there is taken as it is at the next start, and made anew if it is not there.
pub fn accept_loss(data: &Path, name: &str) -> Result<(), InventoryError> {
    let listed = Listed::new(data, name);
    let path = listed.entry_path();
    let known = names(data)?;
    if !known.iter().any(|it| it == name) {
        return Err(InventoryError::NotListed {
            name: name.to_owned(),
            data: data.to_owned(),
            listed: known,
        });
    }
    let Some(_hold) = listed.try_hold()? else {
        return Err(InventoryError::InUse {
            name: name.to_owned(),
        });
    };
    fs::remove_file(&path)
        .and_then(|()| sync_folder(&path))
        .map_err(|source| InventoryError::Io { path, source })
}

/// What the inventory of a data folder lists, sorted.
pub fn names(data: &Path) -> Result<Vec<String>, InventoryError> {
    let folder = data.join(FOLDER);
    let failed = |source| InventoryError::Io {
        path: folder.clone(),
        source,
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        let is_entry = ![LOCK, DRAFT]
            .into_iter()
            .any(|ending| Path::new(&*name).extension().is_some_and(|it| it == ending));
        if is_entry {
            names.push(name.replace('~', "/"));
        }
    }
    names.sort();
    Ok(names)
}

/// A line, and the checksum of it as another.
fn with_check(line: &str) -> String {
    format!("{line}\n{:08x}\n", crc32c::crc32c(line.as_bytes()))
}

/// The line, if it is the one that was written.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|it| *it == b'\n')?;
    let line = &bytes[..end];
    let check = format!("{:08x}\n", crc32c::crc32c(line));
    (bytes[end + 1..] == *check.as_bytes()).then_some(line)
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_added_extension(DRAFT);
    let mut file = File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_folder(path)
}

/// Makes a name durable: the folder of what bears it is synced.
pub(crate) fn sync_folder(of: &Path) -> io::Result<()> {
    match of.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_what_was_kept_and_no_damage_to_it_is_taken_for_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let listed = Listed::new(folder.path(), "a/b.sqlite");
        assert_eq!(listed.entry::<Vec<u32>>().expect("readable"), None);
        let hold = listed.hold().expect("held");
        listed.keep(&hold, &vec![1, 2]).expect("kept");
        assert_eq!(
            listed.entry::<Vec<u32>>().expect("readable"),
            Some(vec![1, 2])
        );
        assert_eq!(names(folder.path()).expect("readable"), ["a/b.sqlite"]);

        let path = folder.path().join(FOLDER).join("a~b.sqlite");
        let good = fs::read(&path).expect("readable");
        for cut in 0..good.len() {
            fs::write(&path, &good[..cut]).expect("written");
            let found = listed.entry::<Vec<u32>>();
            assert!(
                matches!(found, Err(InventoryError::DamagedEntry { .. })),
                "cut at {cut}: {found:?}"
            );
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).expect("written");
            let found = listed.entry::<Vec<u32>>();
            assert!(
                matches!(found, Err(InventoryError::DamagedEntry { .. })),
                "bit {bit}: {found:?}"
            );
        }
    }

    #[test]
    fn a_loss_is_accepted_of_what_is_listed_and_unused() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        let refused = accept_loss(data, "x").expect_err("nothing is listed");
        assert!(
            matches!(refused, InventoryError::NotListed { .. }),
            "{refused}"
        );
        let listed = Listed::new(data, "x");
        let hold = listed.hold().expect("held");
        listed.keep(&hold, &1).expect("kept");
        let refused = accept_loss(data, "x").expect_err("it is held");
        assert!(matches!(refused, InventoryError::InUse { .. }), "{refused}");
        drop(hold);
        accept_loss(data, "x").expect("accepted");
        assert_eq!(listed.entry::<u32>().expect("readable"), None);
    }
}
