//! `restart`: the same servers again, with the same data and ports.

use std::{process::ExitCode, sync::Mutex};

use anyhow::ensure;

use super::{
    launch::{Launch, Planned},
    named,
    place::Place,
    status, stop,
};

/// After a crash: PostgreSQL does not start while processes of the former server still have its memory.
const ATTEMPTS: usize = 10;

pub(super) fn run(place: &Place, arguments: &stop::Arguments) -> anyhow::Result<ExitCode> {
    let run = named::ready(place)?;
    let wanted = stop::chosen(&run, arguments)?;
    let planned = wanted.into_iter().map(Planned::again).collect();
    let launch = Launch {
        place,
        run: Mutex::new(run),
        together: 1,
        attempts: ATTEMPTS,
    };
    let errors = launch.start(planned);
    for error in &errors {
        eprintln!("{error:#}");
    }
    ensure!(errors.is_empty(), "not all of them are up again");
    status::show(&launch.into_run(), place)
}
