//! A disk so small that a test can fill it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, bail, ensure};
use flare_server_core::log_file::{DiskLayer, FileLayer};

use crate::process::text;

/// What was free of it before a test took it away.
const BALLAST: &str = "ballast";
/// What is filled to the last block is filled in pieces down to this.
const BLOCK: u64 = 4_096;

/// A file system of its own, mounted for as long as this lives.
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts one of so many bytes: ext4 in a file beside the folder, or memory where there are no loop devices.
    ///
    /// Only root may mount: for others `sudo` has to do it without a question.
    pub(crate) fn mount(at: &Path, bytes: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(at)?;
        let image = at.with_extension("img");
        let in_a_file = mount_image(&image, at, bytes);
        let in_memory = || {
            let size = format!("size={bytes}");
            as_root(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", &text(at)?])
        };
        if let Err(why) = in_a_file {
            in_memory().with_context(|| {
                format!("a small disk has to be mounted, by root or by sudo without a password: neither a file ({why:#}) nor memory can be")
            })?;
        }
        let disk = Self { at: at.to_owned() };
        // Root has made it.
        if !is_root()? {
            as_root(&["chmod", "0777", &text(at)?])?;
        }
        // What mkfs leaves there is no business of the server's.
        let _ = as_root(&["rm", "-rf", &text(&at.join("lost+found"))?]);
        Ok(disk)
    }

    /// How many bytes are free.
    pub(crate) fn free(&self) -> anyhow::Result<u64> {
        Ok(DiskLayer.free_bytes(&self.at)?)
    }

    /// Takes room away, once, until no more than so many bytes are free.
    pub(crate) fn leave(&self, bytes: u64) -> anyhow::Result<()> {
        let taken = self.free()?.saturating_sub(bytes);
        DiskLayer.create(&self.at.join(BALLAST), taken)?;
        Ok(())
    }

    /// Takes all the room that there is.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let mut piece = self.free()?.next_power_of_two();
        let mut number = 0;
        while piece >= BLOCK {
            let path = self.at.join(format!("{BALLAST}-{number}"));
            match DiskLayer.create(&path, piece) {
                Ok(_) => number += 1,
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    fs::remove_file(&path)?;
                    piece /= 2;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives back all that was taken away.
    pub(crate) fn relieve(&self) -> anyhow::Result<()> {
        let mut given = 0;
        for entry in fs::read_dir(&self.at)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(BALLAST) {
                fs::remove_file(entry.path())?;
                given += 1;
            }
        }
        ensure!(given > 0, "there is no ballast");
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A process that was killed a moment ago may still have files open: it goes when they are closed.
        let unmounted = text(&self.at).and_then(|at| as_root(&["umount", "--lazy", &at]));
        if let Err(error) = unmounted {
            eprintln!("{error:#}");
        }
    }
}

fn mount_image(image: &Path, at: &Path, bytes: u64) -> anyhow::Result<()> {
    fs::File::create(image)?.set_len(bytes)?;
    let image = text(image)?;
    run(Command::new("mkfs.ext4").args(["-q", "-m", "0", &image]))?;
    as_root(&["mount", "-o", "loop", &image, &text(at)?])
}

fn as_root(words: &[&str]) -> anyhow::Result<()> {
    if is_root()? {
        let [program, arguments @ ..] = words else {
            bail!("no command")
        };
        return run(Command::new(program).args(arguments));
    }
    run(Command::new("sudo").arg("--non-interactive").args(words))
}

fn is_root() -> anyhow::Result<bool> {
    let Output { stdout, .. } = Command::new("id").arg("-u").output().context("id")?;
    Ok(stdout.trim_ascii() == b"0")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let words = format!("{command:?}");
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| words.clone())?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{words}: {} {said}", done.status);
    Ok(())
}
