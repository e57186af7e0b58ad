//! `stop` and `down`: ending what was started, and nothing else.

use std::{fmt, process::ExitCode, thread, time::Duration};

use anyhow::{bail, ensure};
use rustix::process::Signal;

use super::{
    named, pause,
    place::{Place, remove},
    process::Identity,
    state::{Run, Server},
    wait,
};

/// From the signal that asks to the one that does not.
const ORDERLY_WITHIN: Duration = Duration::from_secs(10);
/// For the system to take a killed process away.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// How a server came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Before,
    InOrder,
    Killed,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "had ended before",
            Self::InOrder => "stopped",
            Self::Killed => "killed",
        })
    }
}

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Servers by the table's names, or components: `kafka` is all of its nodes
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// By SIGKILL, as a crash does
    #[arg(long)]
    kill: bool,
}

/// Ends servers that are to come back by `restart`.
pub(super) fn run(place: &Place, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    chosen(&named::ready(place)?, arguments)?;
    Ok(ExitCode::SUCCESS)
}

/// Stops those that are named.
pub(super) fn chosen<'a>(run: &'a Run, arguments: &Arguments) -> anyhow::Result<Vec<&'a Server>> {
    let wanted = named::select(run, &arguments.names)?;
    let orderly = if arguments.kill {
        Duration::ZERO
    } else {
        ORDERLY_WITHIN
    };
    stop(&wanted, orderly)?;
    Ok(wanted)
}

/// Ends all, for good.
pub(super) fn down(place: &Place) -> anyhow::Result<ExitCode> {
    let Some(run) = Run::read(place)? else {
        println!("nothing runs here");
        return Ok(ExitCode::SUCCESS);
    };
    end(place, &run)?;
    Ok(ExitCode::SUCCESS)
}

/// Ends a run: its processes, its data, its state.
pub(super) fn end(place: &Place, run: &Run) -> anyhow::Result<()> {
    let servers: Vec<&Server> = run.servers.iter().collect();
    stop(&servers, ORDERLY_WITHIN)?;
    for server in servers {
        remove(&server.data)?;
    }
    for used in &run.used {
        eprintln!(
            "{} at {} is not ours and goes on",
            used.component.name(),
            used.addresses.join(",")
        );
    }
    place.forget()
}

/// Stops servers, all at once, by the signal of each; those that have not ended in time, as a crash does.
fn stop(servers: &[&Server], orderly: Duration) -> anyhow::Result<()> {
    let ends: Vec<_> = thread::scope(|scope| {
        let stops: Vec<_> = servers
            .iter()
            .map(|it| scope.spawn(|| end_of_process(it.process, it.stop.signal(), orderly)))
            .collect();
        stops
            .into_iter()
            .map(|it| {
                it.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let mut wrong = Vec::new();
    for (server, end) in servers.iter().zip(ends) {
        match end {
            Ok(end) => eprintln!("{}: {end}", server.name),
            Err(error) => wrong.push(format!("{}: {error:#}", server.name)),
        }
    }
    ensure!(wrong.is_empty(), "not stopped:\n  {}", wrong.join("\n  "));
    Ok(())
}

/// Ends a process: by a signal, and if it is not gone in time by another. With no time at all, by that alone.
fn end_of_process(
    process: Option<Identity>,
    signal: Signal,
    orderly: Duration,
) -> anyhow::Result<End> {
    let Some(process) = process.filter(|it| !it.has_ended()) else {
        return Ok(End::Before);
    };
    let gone = |within| wait::until(within, || process.has_ended().then_some(())).is_some();
    if !orderly.is_zero() {
        process.signal(signal)?;
        // One that is paused hears of it only when it goes on.
        pause::signal_all(process, Signal::CONT)?;
        if gone(orderly) {
            return Ok(End::InOrder);
        }
    }
    process.signal(Signal::KILL)?;
    // Its descendants hear of its end only when they go on.
    pause::signal_all(process, Signal::CONT)?;
    if !gone(KILLED_WITHIN) {
        bail!("process {} is there after SIGKILL", process.pid);
    }
    Ok(End::Killed)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Child, Command, Stdio},
    };

    use super::*;
    use crate::infra::process::Condition;

    const LONG: Duration = Duration::from_secs(30);

    /// A shell that has begun.
    fn shell(script: &str) -> (Child, Identity) {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
        let identity = Identity::of(child.id()).unwrap();
        (child, identity)
    }

    fn end(process: Option<Identity>, orderly: Duration) -> End {
        end_of_process(process, Signal::TERM, orderly).unwrap()
    }

    #[test]
    fn one_that_obeys_ends_in_order_even_when_it_is_paused() {
        let (mut child, process) = shell("echo begun; read line");
        process.signal(Signal::STOP).unwrap();
        let paused = wait::until(LONG, || {
            (process.condition() == Condition::Paused).then_some(())
        });
        paused.unwrap();
        assert_eq!(end(Some(process), LONG), End::InOrder);
        child.wait().unwrap();
        assert_eq!(end(Some(process), LONG), End::Before);
        assert_eq!(end(None, LONG), End::Before);
    }

    #[test]
    fn one_that_does_not_obey_is_killed_after_its_time() {
        let (mut child, process) = shell("trap '' TERM; echo begun; read line");
        assert_eq!(end(Some(process), Duration::from_millis(50)), End::Killed);
        child.wait().unwrap();
    }

    #[test]
    fn without_time_nothing_is_asked() {
        let (mut child, process) = shell("trap 'echo asked' TERM; echo begun; read line");
        assert_eq!(end(Some(process), Duration::ZERO), End::Killed);
        let said = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
        assert_eq!(said, "");
        child.wait().unwrap();
    }
}
