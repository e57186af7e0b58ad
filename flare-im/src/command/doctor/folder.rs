//! The data folder: whether a server may write there, who does so already, and who else may read its secrets.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use flare_server_core::log_file::{DiskLayer, FileLayer, LOCK_FILE, LockFailure};

use super::Finding;

const CHECK: &str = "data folder";
/// What signs tokens.
const KEY_FILE: &str = "token.key";

/// What there is to know of a data folder.
pub(super) struct Folder {
    pub(super) findings: Vec<Finding>,
    /// Where it is, or the folder in which it would be made; None: there is none that can be written.
    pub(super) place: Option<PathBuf>,
    /// The process that has it, if it is known.
    pub(super) holder: Option<Option<u32>>,
}

/// Looks without making the folder.
pub(super) fn look(data: &Path) -> Folder {
    let mut found = Folder {
        findings: Vec::new(),
        place: None,
        holder: None,
    };
    let place = match nearest(data) {
        Ok(place) => place,
        Err(error) => {
            let what = format!("{}: {error}", data.display());
            let advice = "name a folder by --data whose path can be made";
            found.findings.push(Finding::problem(CHECK, what, advice));
            return found;
        }
    };
    if let Err(error) = try_out(&place) {
        let what = format!("{} cannot be written: {error}", place.display());
        let advice = "give the server's user the right to make, rename and remove files there, or name another folder by --data";
        found.findings.push(Finding::problem(CHECK, what, advice));
        return found;
    }
    let made = if place == data {
        String::new()
    } else {
        format!("is made in {} at the first start", place.display())
    };
    found.holder = holder(data);
    let what = match found.holder {
        Some(Some(pid)) => format!("{} is in use by process {pid}", data.display()),
        Some(None) => format!("{} is in use by another process", data.display()),
        None if made.is_empty() => format!("{} can be written", data.display()),
        None => format!("{} {made}", data.display()),
    };
    found.findings.push(Finding::ok(CHECK, what));
    found.findings.extend(secret(&data.join(KEY_FILE)));
    found.place = Some(place);
    found
}

/// The folder, or the nearest above it that is there.
fn nearest(data: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(data)?;
    for folder in absolute.ancestors() {
        match fs::metadata(folder) {
            Ok(found) if found.is_dir() => {
                let is_it = folder == absolute;
                return Ok(if is_it {
                    data.to_owned()
                } else {
                    folder.to_owned()
                });
            }
            Ok(_) => {
                let message = format!("{} is a file", folder.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Does with a file of its own what a server does with its files.
fn try_out(folder: &Path) -> io::Result<()> {
    let file = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(file.path(), "flare doctor")?;
    let other = file.path().with_extension("renamed");
    file.persist_noclobber(&other)?;
    fs::remove_file(&other)
}

/// Whose the folder is; the lock is taken for a moment, as a server would take it.
fn holder(data: &Path) -> Option<Option<u32>> {
    let lock = data.join("log").join(LOCK_FILE);
    if !lock.exists() {
        return None;
    }
    match DiskLayer.lock(&lock) {
        Err(LockFailure::Held(pid)) => Some(pid),
        Ok(_) | Err(LockFailure::Io(_)) => None,
    }
}

fn secret(path: &Path) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        Finding::problem(
            "secrets",
            format!("{} has mode {mode:o}: others may read it", path.display()),
            format!("chmod 600 {}", path.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::Level;

    fn levels(folder: &Folder) -> Vec<Level> {
        folder.findings.iter().map(|it| it.level).collect()
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_made() {
        let home = tempfile::tempdir().expect("a folder");
        let data = home.path().join("a/b");
        let found = look(&data);
        assert_eq!(levels(&found), [Level::Ok]);
        assert_eq!(found.place.as_deref(), Some(home.path()));
        assert_eq!(fs::read_dir(home.path()).expect("it reads").count(), 0);
    }

    #[test]
    fn a_file_in_the_way_is_a_problem() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("file");
        fs::write(&file, "").expect("written");
        let found = look(&file.join("data"));
        assert_eq!(levels(&found), [Level::Problem]);
        assert_eq!(found.place, None);
    }

    #[test]
    fn who_has_the_folder_and_who_may_read_its_secrets_is_said() {
        let home = tempfile::tempdir().expect("a folder");
        let log = home.path().join("log");
        fs::create_dir(&log).expect("made");
        let lock = DiskLayer.lock(&log.join(LOCK_FILE));
        let key = home.path().join(KEY_FILE);
        fs::write(&key, "secret").expect("written");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
        let found = look(home.path());
        assert_eq!(levels(&found), [Level::Ok, Level::Problem]);
        assert_eq!(found.holder, Some(Some(std::process::id())));
        drop(lock);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
        let found = look(home.path());
        assert_eq!((levels(&found), found.holder), (vec![Level::Ok], None));
    }
}
