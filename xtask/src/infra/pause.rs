//! `pause` and `resume`: servers that stand still, as on a machine that hangs. Their connections stay open, and nobody is told.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, ensure};
use rustix::process::Signal;

use super::{
    named,
    place::Place,
    process::{Condition, Family, Identity},
    state::Server,
    wait,
};

/// From the signal to its effect.
const DONE_WITHIN: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Servers by the table's names, or components: `kafka` is all of its nodes
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Lets them stand still, with all their processes.
pub(super) fn pause(place: &Place, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    become_all(place, arguments, Signal::STOP, Condition::Paused, "paused")
}

/// Lets them go on.
pub(super) fn resume(place: &Place, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    become_all(place, arguments, Signal::CONT, Condition::Runs, "goes on")
}

fn become_all(
    place: &Place,
    arguments: &Arguments,
    signal: Signal,
    wanted: Condition,
    said: &str,
) -> anyhow::Result<ExitCode> {
    let run = named::ready(place)?;
    for server in named::select(&run, &arguments.names)? {
        become_one(server, signal, wanted)?;
        eprintln!("{}: {said}", server.name);
    }
    Ok(ExitCode::SUCCESS)
}

fn become_one(server: &Server, signal: Signal, wanted: Condition) -> anyhow::Result<()> {
    let process = server.process.filter(|it| !it.has_ended());
    let process = process.with_context(|| format!("{} does not run", server.name))?;
    signal_all(process, signal)?;
    let done = wait::until(DONE_WITHIN, || {
        (process.condition() == wanted).then_some(())
    });
    ensure!(
        done.is_some(),
        "{} is not {wanted:?} after {} s",
        server.name,
        DONE_WITHIN.as_secs()
    );
    Ok(())
}

/// Sends a signal to a process, and then to its descendants: none is born any more when it stands still itself.
pub(super) fn signal_all(process: Identity, signal: Signal) -> anyhow::Result<()> {
    process.signal(signal)?;
    for descendant in Family::look()?.descendants(process.pid) {
        descendant.signal(signal)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Child, Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_server_stands_still_with_its_descendants_and_goes_on_with_them() {
        /// Ends with the test, however that ends.
        struct Ends(Child);
        impl Drop for Ends {
            fn drop(&mut self) {
                let parent = Identity::of(self.0.id());
                let _ = parent.and_then(|it| signal_all(it, Signal::KILL));
                let _ = self.0.wait();
            }
        }
        let shell = Command::new("sh")
            .args(["-c", "exec 3<&0; cat <&3 & echo $!; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut shell = Ends(shell);
        let mut line = String::new();
        let stdout = shell.0.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let parent = Identity::of(shell.0.id()).unwrap();
        let child = Identity::of(line.trim().parse().unwrap()).unwrap();
        let both_become = |wanted| {
            wait::until(DONE_WITHIN, || {
                [parent, child]
                    .iter()
                    .all(|it| it.condition() == wanted)
                    .then_some(())
            })
            .unwrap();
        };
        signal_all(parent, Signal::STOP).unwrap();
        both_become(Condition::Paused);
        signal_all(parent, Signal::CONT).unwrap();
        both_become(Condition::Runs);
        drop(shell);
        both_become(Condition::Ended);
    }
}
