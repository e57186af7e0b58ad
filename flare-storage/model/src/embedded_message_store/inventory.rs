//! What of the folder's files fjall does not look at.
//!
//! Which keyspaces the folder has had: fjall takes one without its file `current` for one that was never finished, and removes it: without
//! this list a lost file would be a table that is empty, while the cursors say that it holds everything.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::Path,
};

use xxhash_rust::xxh3::xxh3_128;

use crate::message_store::StoreError;

/// The list: a line for each folder of `keyspaces`.
const LIST: &str = "keyspaces.list";
/// What to do about damage.
pub(super) const RESTORE: &str = "restore the whole data folder from one backup";
const KEYSPACES: &str = "keyspaces";
/// What each of them has once it is made.
const CURRENT: &str = "current";
/// How the checksum in it is made, by fjall's number.
const XXH3: u8 = 0;

/// Refuses a folder in which a keyspace of the list has lost its file; before fjall looks. A folder without a list is of its first start.
pub(super) fn check(folder: &Path) -> Result<(), StoreError> {
    let list = folder.join(LIST);
    let names = match fs::read_to_string(&list) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(StoreError::Damaged(format!(
                "{} is no list of keyspaces; {RESTORE}",
                list.display()
            )));
        }
        Err(error) => return Err(unreadable(&list, &error)),
    };
    for name in names.lines() {
        let file = folder.join(KEYSPACES).join(name).join(CURRENT);
        match file.try_exists() {
            Ok(true) => check_version(&folder.join(KEYSPACES).join(name))?,
            Ok(false) => {
                return Err(StoreError::Damaged(format!(
                    "{} is missing: a table of the store is lost; {RESTORE}",
                    file.display()
                )));
            }
            Err(error) => return Err(unreadable(&file, &error)),
        }
    }
    Ok(())
}

/// Holds the version of a keyspace, the file that says which tables it is made of, against the checksum that `current` keeps of it. fjall
/// writes that and does not read it: it follows whatever the version says, into other tables or into an allocation that ends the process.
fn check_version(keyspace: &Path) -> Result<(), StoreError> {
    let current = keyspace.join(CURRENT);
    let bytes = fs::read(&current).map_err(|error| unreadable(&current, &error))?;
    let damaged = |file: &Path, what: &str| {
        Err(StoreError::Damaged(format!(
            "{} {what}; {RESTORE}",
            file.display()
        )))
    };
    let Some((id, rest)) = bytes.split_first_chunk::<8>() else {
        return damaged(&current, "is too short");
    };
    let Some((checksum, [XXH3])) = rest.split_first_chunk::<16>() else {
        return damaged(&current, "names no version and its checksum");
    };
    let version = keyspace.join(format!("v{}", u64::from_le_bytes(*id)));
    match fs::read(&version) {
        Ok(content) if xxh3_128(&content) == u128::from_le_bytes(*checksum) => Ok(()),
        Ok(_) => damaged(&version, "fails the check of the file `current` beside it"),
        Err(error) if error.kind() == ErrorKind::NotFound => damaged(&version, "is missing"),
        Err(error) => Err(unreadable(&version, &error)),
    }
}

/// Writes the list, once all keyspaces are made.
pub(super) fn keep(folder: &Path) -> Result<(), StoreError> {
    let list = folder.join(LIST);
    let kept = write(folder, &list);
    kept.map_err(|error| unreadable(&list, &error))
}

/// An error of the opening that says where, and, if it is damage, what to do.
pub(super) fn named(folder: &Path, error: StoreError) -> StoreError {
    let place = folder.display().to_string();
    match error {
        StoreError::Damaged(why) if !why.contains(&place) => {
            StoreError::Damaged(format!("{place} cannot be opened: {why}; {RESTORE}"))
        }
        StoreError::Unavailable(why) if !why.contains(&place) => StoreError::Unavailable(format!(
            "{place} cannot be opened: {why}; if a file of it is missing or damaged, {RESTORE}"
        )),
        StoreError::Failed(why) if !why.contains(&place) => {
            StoreError::Failed(format!("{place}: {why}"))
        }
        error => error,
    }
}

/// Damage that a read has come upon, with where, and what to do.
pub(super) fn damaged_in(folder: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Damaged(why) => {
            StoreError::Damaged(format!("{}: {why}; {RESTORE}", folder.display()))
        }
        error => error,
    }
}

fn write(folder: &Path, list: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.join(KEYSPACES))? {
        let entry = entry?;
        if entry.path().join(CURRENT).try_exists()? {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let text = names.join("\n");
    if fs::read_to_string(list).is_ok_and(|it| it == text) {
        return Ok(());
    }
    let fresh = list.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, list)?;
    File::open(folder)?.sync_all()
}

pub(super) fn unreadable(file: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", file.display()))
}
