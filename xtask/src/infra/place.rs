//! The folders of a run, and of what is installed.

use std::{
    fs::{self, File, TryLockError},
    io::{ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use cargo_metadata::MetadataCommand;

use super::wait;

/// How long another command may work on the same folder: it may install.
const OTHER_WITHIN: Duration = Duration::from_secs(900);
/// So much of a log's end is read.
const END_BYTES: u64 = 32 << 10;
/// And so much of that is shown.
const END_LINES: usize = 20;
const END_CHARACTERS: usize = 300;

/// Where a run stands.
pub(super) struct Place {
    /// Of the run: its state, its variables, its data and its logs.
    folder: PathBuf,
    /// What is installed. All runs of a target folder share it.
    tools: PathBuf,
}

impl Place {
    /// That of the target folder, or another.
    pub(super) fn open(at: Option<&Path>) -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new()
            .current_dir(crate::root()?)
            .no_deps()
            .exec()?;
        let own = metadata.target_directory.into_std_path_buf().join("infra");
        let tools = own.join("tools");
        let folder = match at {
            Some(at) => std::path::absolute(at)?,
            None => own,
        };
        for it in [&folder, &tools] {
            fs::create_dir_all(it).with_context(|| it.display().to_string())?;
        }
        Ok(Self { folder, tools })
    }

    /// A run's in a folder of a test.
    #[cfg(test)]
    pub(super) fn of_test(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            tools: folder.join("tools"),
        }
    }

    /// Of the run.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn tools(&self) -> &Path {
        &self.tools
    }

    /// The state file.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("run.toml")
    }

    /// The file of variables, for a shell.
    pub(super) fn variables(&self) -> PathBuf {
        self.folder.join("env")
    }

    /// A server's data.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.folder.join("data").join(name)
    }

    /// A server's log.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.folder.join("log").join(format!("{name}.log"))
    }

    /// Makes room for a run: no data, and no log of one before.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        for name in ["data", "log"] {
            let folder = self.folder.join(name);
            remove(&folder)?;
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        Ok(())
    }

    /// Removes what tells of a run, and its data; logs stay to be read.
    pub(super) fn forget(&self) -> anyhow::Result<()> {
        remove(&self.folder.join("data"))?;
        for file in [self.variables(), self.state()] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| file.display().to_string());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps other commands from this run while the file is open.
    pub(super) fn lock(&self) -> anyhow::Result<File> {
        lock(&self.folder.join("lock"))
    }

    /// Keeps other commands from installing while the file is open.
    pub(super) fn lock_tools(&self) -> anyhow::Result<File> {
        lock(&self.tools.join("lock"))
    }
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut said = false;
    let locked = wait::until(OTHER_WITHIN, || match file.try_lock() {
        Ok(()) => Some(Ok(())),
        Err(TryLockError::WouldBlock) => {
            if !said {
                eprintln!(
                    "waiting for another `cargo xtask infra`, which holds {}",
                    path.display()
                );
                said = true;
            }
            None
        }
        Err(TryLockError::Error(error)) => Some(Err(error)),
    });
    match locked {
        Some(outcome) => outcome.with_context(|| path.display().to_string())?,
        None => bail!(
            "{} is held by another `cargo xtask infra` for more than {} s",
            path.display(),
            OTHER_WITHIN.as_secs()
        ),
    }
    Ok(file)
}

/// Removes a folder, if it is there.
pub(super) fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}

/// The last lines of a log, indented.
pub(super) fn end_of(log: &Path) -> String {
    match read_end(log) {
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(END_LINES)..];
            let cut = |it: &str| it.chars().take(END_CHARACTERS).collect::<String>();
            let shown: Vec<String> = last.iter().map(|it| format!("    {}", cut(it))).collect();
            format!("  the end of {}:\n{}", log.display(), shown.join("\n"))
        }
        Err(error) => format!("  {} cannot be read: {error}", log.display()),
    }
}

fn read_end(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(END_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A path as an argument or a setting.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str();
    Ok(text
        .with_context(|| format!("{} is no UTF-8", path.display()))?
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_forgotten_but_for_its_logs() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of_test(folder.path());
        place.clear().unwrap();
        fs::create_dir(place.data("redis")).unwrap();
        for file in [place.log("redis"), place.variables(), place.state()] {
            fs::write(file, "kept").unwrap();
        }
        place.forget().unwrap();
        place.forget().unwrap();
        assert!(!place.data("redis").exists());
        assert!(!place.variables().exists() && !place.state().exists());
        assert!(place.log("redis").exists());
    }

    #[test]
    fn of_a_long_log_the_last_lines_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let lines: Vec<String> = (0..5_000)
            .map(|it| format!("line {it} {}", "x".repeat(1_000)))
            .collect();
        fs::write(&log, lines.join("\n")).unwrap();
        let end = end_of(&log);
        assert_eq!(end.lines().count(), END_LINES + 1);
        assert!(end.contains("\n    line 4999 x"), "{end}");
        assert!(end.lines().skip(1).all(|it| it.len() <= END_CHARACTERS + 4));
    }

    #[test]
    fn one_command_at_a_time_works_on_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of_test(folder.path());
        let held = place.lock().unwrap();
        let other = File::create(folder.path().join("lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        other.try_lock().unwrap();
    }
}
