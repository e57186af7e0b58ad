//! Installing what is missing: packages of the system by apt, the rest into target/infra/tools. What is there stays.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{
    component::Component,
    place::{Place, end_of, remove},
    wait,
};

/// An installation that takes longer hangs.
const WITHIN: Duration = Duration::from_secs(600);
/// How often what loads from the network may fail.
const ATTEMPTS: usize = 3;
/// Between two of them.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// A package of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Package {
    /// As Debian calls it.
    pub(super) name: &'static str,
    /// What is sought of it.
    pub(super) program: &'static str,
}

/// Installs what the components need and what is not here. Says what, why and how long it took.
pub(super) fn run(place: &Place, components: &[Component]) -> anyhow::Result<()> {
    let _alone = place.lock_tools()?;
    let mut packages: Vec<Package> = Vec::new();
    let mut purposes = Vec::new();
    for it in components {
        let recipe = it.recipe();
        let missing = recipe.missing(place.tools());
        if !missing.is_empty() {
            purposes.push(format!("{} for {}", it.name(), recipe.purpose()));
        }
        for package in missing {
            if !packages.contains(&package) {
                packages.push(package);
            }
        }
    }
    if !packages.is_empty() {
        by_apt(place, &packages, &purposes.join("; "))?;
    }
    thread::scope(|scope| {
        let installations: Vec<_> = components
            .iter()
            .map(|it| scope.spawn(|| it.recipe().install(place.tools())))
            .collect();
        installations.into_iter().try_for_each(|it| {
            it.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

/// Fills a folder of tools, unless it is there: whole or not at all.
pub(super) fn folder(
    folder: &Path,
    what: &str,
    why: &str,
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let mut name = folder.file_name().context("no folder")?.to_owned();
    name.push(".new");
    let new = folder.with_file_name(name);
    remove(&new)?;
    fs::create_dir_all(&new).with_context(|| new.display().to_string())?;
    timed(what, why, || {
        fill(&new)?;
        fs::rename(&new, folder).with_context(|| folder.display().to_string())
    })
}

/// Runs an installer that loads from the network, again if it fails: what it has loaded by then it need not load once more.
pub(super) fn download(
    program: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
    log: &Path,
) -> anyhow::Result<()> {
    persist(AGAIN_AFTER, || execute(program, arguments, variables, log))
}

/// Tries what may fail, and says how each but the last try went.
fn persist(pause: Duration, mut attempt: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    for number in 1..ATTEMPTS {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("attempt {number} of {ATTEMPTS}: {error:#}"),
        }
        wait::until(pause, || None::<()>);
    }
    attempt()
}

/// Runs an installer to its end; what it says goes into a log, which is shown if it fails.
fn execute(
    program: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
    log: &Path,
) -> anyhow::Result<()> {
    let output = File::create(log).with_context(|| log.display().to_string())?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| program.to_owned())?;
    let ended = wait::until(WITHIN, || child.try_wait().transpose());
    let Some(status) = ended.transpose()? else {
        child.kill()?;
        child.wait()?;
        bail!(
            "{program} has not ended in {} s\n{}",
            WITHIN.as_secs(),
            end_of(log)
        );
    };
    ensure!(
        status.success(),
        "{program} {}: {status}\n{}",
        arguments.join(" "),
        end_of(log)
    );
    Ok(())
}

/// A program of the search path.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let said = Command::new("sh")
        .args(["-c", r#"command -v "$1""#, "sh", name])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim());
    (said.status.success() && path.is_absolute()).then_some(path)
}

/// A program that was found or installed before.
pub(super) fn program(name: &str) -> anyhow::Result<PathBuf> {
    find(name).with_context(|| format!("{name} is not in the search path"))
}

/// The package of a program that is not here.
pub(super) fn missing_program(program: &'static str, name: &'static str) -> Option<Package> {
    find(program).is_none().then_some(Package { name, program })
}

fn by_apt(place: &Place, packages: &[Package], why: &str) -> anyhow::Result<()> {
    let names: Vec<&str> = packages.iter().map(|it| it.name).collect();
    let by_hand = || {
        let programs: Vec<&str> = packages.iter().map(|it| it.program).collect();
        format!(
            "install {} (on Debian: apt-get install {}), or leave components out by --only, or name those that run already by --use",
            programs.join(", "),
            names.join(" ")
        )
    };
    ensure!(find("apt-get").is_some(), "no apt-get here: {}", by_hand());
    let mut command = vec!["env", "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive"];
    if !rustix::process::geteuid().is_root() {
        ensure!(
            may_sudo(),
            "neither root nor sudo without a password: {}",
            by_hand()
        );
        command.splice(0..0, ["sudo", "--non-interactive"]);
    }
    command.extend([
        "apt-get",
        "-qq",
        "-o",
        "Acquire::Retries=3",
        "-o",
        "DPkg::Lock::Timeout=120",
    ]);
    let log = place.tools().join("apt.log");
    let apt = |arguments: &[&str]| {
        let all = [&command[..], arguments].concat();
        download(all[0], &all[1..], &[], &log).with_context(by_hand)
    };
    timed(&format!("{} by apt", names.join(", ")), why, || {
        apt(&["update"])?;
        apt(&[&["install", "-y", "--no-install-recommends"], &names[..]].concat())
    })
}

fn may_sudo() -> bool {
    let tried = Command::new("sudo")
        .args(["--non-interactive", "true"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|it| it.success())
}

fn timed(what: &str, why: &str, make: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    eprintln!("installing {what} ({why})");
    let begun = Instant::now();
    make().with_context(|| format!("{what} is not installed"))?;
    eprintln!("installed {what} in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_filled_once_and_never_by_half() {
        let place = tempfile::tempdir().unwrap();
        let tool = place.path().join("tool-1.2.3");
        let failed = folder(&tool, "a tool", "a test", |new| {
            fs::write(new.join("half"), "")?;
            bail!("no network")
        });
        assert!(format!("{:#}", failed.unwrap_err()).contains("no network"));
        assert!(!tool.exists());
        folder(&tool, "a tool", "a test", |new| {
            Ok(fs::write(new.join("whole"), "")?)
        })
        .unwrap();
        assert!(tool.join("whole").exists() && !tool.join("half").exists());
        folder(&tool, "a tool", "a test", |_| bail!("filled twice")).unwrap();
    }

    #[test]
    fn an_installer_that_fails_is_shown_by_its_last_words() {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("log");
        execute("sh", &["-c", "echo fine"], &[], &log).unwrap();
        let failed = execute("sh", &["-c", "echo no room; exit 3"], &[], &log).unwrap_err();
        assert!(failed.to_string().contains("    no room"), "{failed}");
    }

    #[test]
    fn what_fails_is_tried_again_and_not_for_ever() {
        let tries_until = |good: usize| {
            let mut tries = 0;
            let outcome = persist(Duration::ZERO, || {
                tries += 1;
                ensure!(tries >= good, "no network");
                Ok(())
            });
            (tries, outcome.is_ok())
        };
        assert_eq!(tries_until(1), (1, true));
        assert_eq!(tries_until(ATTEMPTS), (ATTEMPTS, true));
        assert_eq!(tries_until(ATTEMPTS + 1), (ATTEMPTS, false));
    }

    #[test]
    fn programs_are_found_in_the_search_path() {
        assert!(find("sh").unwrap().is_absolute());
        assert_eq!(find("no-such-program-of-flare"), None);
        let package = missing_program("no-such-program-of-flare", "package").unwrap();
        assert_eq!(package.name, "package");
        assert_eq!(missing_program("sh", "package"), None);
    }
}
