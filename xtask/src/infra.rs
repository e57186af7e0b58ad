//! `cargo xtask infra`: the servers that a cluster stands on, on loopback, for tests.

mod ask;
mod component;
mod etcd;
mod install;
mod kafka;
mod launch;
mod named;
mod pause;
mod place;
mod ports;
mod postgres;
mod process;
mod redis;
mod restart;
mod state;
mod status;
mod stop;
mod toxiproxy;
mod up;
mod used;
mod wait;

use std::{path::PathBuf, process::ExitCode};

use anyhow::ensure;

use self::place::Place;

/// Arguments of `cargo xtask infra`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where state, data and logs of the run stand: target/infra if it is not given
    #[arg(long, value_name = "DIR", global = true)]
    at: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Install what is missing, start everything with fresh data, and wait until it is ready
    Up(up::Arguments),
    /// Stop what `up` has started, and remove its data
    Down,
    /// Say what runs, what has died and how much memory it takes; ends with status 1 unless all is up
    Status,
    /// Stop servers and start them again with the same data and ports; what does not run is started
    Restart(stop::Arguments),
    /// Stop servers and leave them down; `restart` starts them again with the same data and ports
    Stop(stop::Arguments),
    /// Let servers stand still, with their connections open, as on a machine that hangs
    Pause(pause::Arguments),
    /// Let servers go on that were paused
    Resume(pause::Arguments),
}

/// Does what is asked. Fails if a server is not as it should be.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    ensure!(
        cfg!(target_os = "linux"),
        "infra needs Linux: it knows its processes by /proc"
    );
    let place = Place::open(arguments.at.as_deref())?;
    let _alone = place.lock()?;
    match &arguments.action {
        Action::Up(arguments) => up::run(&place, arguments),
        Action::Down => stop::down(&place),
        Action::Status => status::run(&place),
        Action::Restart(arguments) => restart::run(&place, arguments),
        Action::Stop(arguments) => stop::run(&place, arguments),
        Action::Pause(arguments) => pause::pause(&place, arguments),
        Action::Resume(arguments) => pause::resume(&place, arguments),
    }
}
