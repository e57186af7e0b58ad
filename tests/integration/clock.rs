//! The wall clock of a server, which a test sets: libfaketime answers in the system's place.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::process::text;

/// Where distributions keep it.
const LIBRARIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
];

/// What libfaketime leaves out.
const STEADY_WAITS: &str = include_str!("clock/steady_waits.c");

/// One for all processes of a deployment.
pub(crate) struct Clock {
    library: PathBuf,
    steady_waits: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// Whether libfaketime is installed.
    pub(crate) fn can_be_set() -> bool {
        library().is_some()
    }

    /// One that is right, and is kept in `folder`.
    ///
    /// # Errors
    /// Where libfaketime or a C compiler is not installed.
    pub(crate) fn wind(folder: &Path) -> anyhow::Result<Self> {
        let clock = Self {
            library: library().context(
                "libfaketime is not installed, and the server's clock cannot be set: `apt-get install libfaketime` does it",
            )?,
            steady_waits: build(folder)?,
            file: folder.join("clock"),
        };
        clock.is_ahead_by(0)?;
        Ok(clock)
    }

    /// What a process has to have in its environment, to go by it.
    pub(crate) fn environment(&self) -> anyhow::Result<Vec<(String, String)>> {
        let libraries = [text(&self.steady_waits)?, text(&self.library)?];
        let variables = [
            ("LD_PRELOAD", libraries.join(":")),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.file)?),
            // The file is read at every look.
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // Clocks that only go forward cannot be set on a machine, either.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ];
        Ok(variables
            .map(|(name, value)| (name.to_owned(), value))
            .into())
    }

    /// Sets it to so many seconds after the true time, or before.
    pub(crate) fn is_ahead_by(&self, seconds: i64) -> anyhow::Result<()> {
        let beside = self.file.with_extension("new");
        fs::write(&beside, format!("{seconds:+}\n"))?;
        Ok(fs::rename(beside, &self.file)?)
    }
}

/// The library of [`STEADY_WAITS`].
fn build(folder: &Path) -> anyhow::Result<PathBuf> {
    let (source, library) = (
        folder.join("steady_waits.c"),
        folder.join("steady_waits.so"),
    );
    fs::write(&source, STEADY_WAITS)?;
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-pthread", "-o"])
        .args([&library, &source])
        .output()
        .context("`cc`, which links Rust, does not start")?;
    ensure!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(library)
}

fn library() -> Option<PathBuf> {
    LIBRARIES.iter().map(PathBuf::from).find(|it| it.exists())
}
