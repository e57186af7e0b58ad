//! Starting servers, all at once, and waiting until each is ready.

use std::{
    fs,
    path::PathBuf,
    process::{Child, ExitStatus},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{
    component::Component,
    place::{Place, end_of},
    ports::Port,
    process::Identity,
    state::{Invocation, Run, Server, Stop},
    wait,
};

/// From the start to the first good answer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Making a server's first data.
const MADE_WITHIN: Duration = Duration::from_secs(60);
/// Between two starts of a server that ends.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A server that is to be started.
pub(super) struct Planned {
    pub(super) server: Server,
    /// Held until the start.
    ports: Vec<Port>,
    /// What makes its first data.
    first: Option<Invocation>,
}

impl Planned {
    /// One that is reached at the first of its ports, and has the folder of its name for its data.
    pub(super) fn new(
        place: &Place,
        component: Component,
        name: &str,
        start: Invocation,
        ports: Vec<Port>,
    ) -> anyhow::Result<Self> {
        let server = Server {
            name: name.to_owned(),
            component,
            version: String::new(),
            address: ports.first().context("no port")?.address(),
            data: place.data(name),
            log: place.log(name),
            stop: Stop::Term,
            start,
            process: None,
        };
        Ok(Self {
            server,
            ports,
            first: None,
        })
    }

    /// One that is there already.
    pub(super) fn again(server: &Server) -> Self {
        Self {
            server: server.clone(),
            ports: Vec::new(),
            first: None,
        }
    }

    pub(super) fn of_version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.server.version);
        self
    }

    pub(super) fn with_data(mut self, data: PathBuf) -> Self {
        self.server.data = data;
        self
    }

    pub(super) fn stopped_by(mut self, stop: Stop) -> Self {
        self.server.stop = stop;
        self
    }

    pub(super) fn after(mut self, first: Invocation) -> Self {
        self.first = Some(first);
        self
    }
}

/// Servers that are started together.
pub(super) struct Launch<'a> {
    pub(super) place: &'a Place,
    /// Where each is written down as soon as it runs.
    pub(super) run: Mutex<Run>,
    /// How many of a kind are ready only together.
    pub(super) together: usize,
    /// How often a server may end and be started again: after a crash its own remains may keep it from starting for a moment.
    pub(super) attempts: usize,
}

impl Launch<'_> {
    /// Starts all and waits until all are ready; says so of each. The first that fails ends the waiting for the others. What went wrong, of each.
    pub(super) fn start(&self, planned: Vec<Planned>) -> Vec<anyhow::Error> {
        let failed = AtomicBool::new(false);
        thread::scope(|scope| {
            let starts: Vec<_> = planned
                .into_iter()
                .map(|it| {
                    scope.spawn(|| {
                        let outcome = self.one(it, &failed);
                        if outcome.is_err() {
                            failed.store(true, Ordering::Relaxed);
                        }
                        outcome
                    })
                })
                .collect();
            starts
                .into_iter()
                .filter_map(|it| {
                    it.join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                        .err()
                })
                .collect()
        })
    }

    /// The run as it is afterwards.
    pub(super) fn into_run(self) -> Run {
        self.run
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self, planned: Planned, failed: &AtomicBool) -> anyhow::Result<()> {
        let Planned {
            mut server,
            ports,
            first,
        } = planned;
        let begun = Instant::now();
        let data = &server.data;
        fs::create_dir_all(data).with_context(|| data.display().to_string())?;
        if let Some(first) = first {
            make_data(&server, &first)?;
        }
        drop(ports);
        let mut left = self.attempts;
        loop {
            left -= 1;
            let child = self.spawn(&mut server)?;
            match self.ready(&server, child, failed)? {
                Outcome::Ready(version) => {
                    if let Some(version) = version {
                        server.version = version;
                    }
                    self.write_down(&server)?;
                    eprintln!(
                        "{} is ready after {:.1} s",
                        server.name,
                        begun.elapsed().as_secs_f64()
                    );
                    return Ok(());
                }
                Outcome::Ended(status) => ensure!(
                    left > 0,
                    "{} has ended before it was ready: {status}\n{}",
                    server.name,
                    end_of(&server.log)
                ),
                Outcome::GivenUp => return Ok(()),
            }
            wait::until(AGAIN_AFTER, || failed.load(Ordering::Relaxed).then_some(()));
        }
    }

    fn spawn(&self, server: &mut Server) -> anyhow::Result<Child> {
        let child = server
            .start
            .command(&server.data, &server.log)?
            .spawn()
            .with_context(|| server.name.clone())?;
        server.process = Some(Identity::of(child.id())?);
        self.write_down(server)?;
        Ok(child)
    }

    fn ready(
        &self,
        server: &Server,
        mut child: Child,
        failed: &AtomicBool,
    ) -> anyhow::Result<Outcome> {
        let recipe = server.component.recipe();
        let mut last = None;
        let seen = wait::until(READY_WITHIN, || {
            if failed.load(Ordering::Relaxed) {
                return Some(Ok(Outcome::GivenUp));
            }
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return Some(Ok(Outcome::Ended(status))),
                Err(error) => return Some(Err(error.into())),
            }
            match recipe.ask_with(&server.address, self.together) {
                Ok(version) => Some(Ok(Outcome::Ready(version))),
                Err(error) => {
                    last = Some(error);
                    None
                }
            }
        });
        match seen {
            Some(outcome) => outcome,
            None => bail!(
                "{} is not ready after {} s: {:#}\n{}",
                server.name,
                READY_WITHIN.as_secs(),
                last.unwrap_or_else(|| anyhow::anyhow!("it was never asked")),
                end_of(&server.log)
            ),
        }
    }

    fn write_down(&self, server: &Server) -> anyhow::Result<()> {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        run.put(server);
        run.write(self.place)
    }
}

enum Outcome {
    Ready(Option<String>),
    Ended(ExitStatus),
    /// Another has failed.
    GivenUp,
}

fn make_data(server: &Server, first: &Invocation) -> anyhow::Result<()> {
    let mut child = first
        .command(&server.data, &server.log)?
        .spawn()
        .with_context(|| server.name.clone())?;
    let ended = wait::until(MADE_WITHIN, || child.try_wait().transpose());
    let Some(status) = ended.transpose()? else {
        child.kill()?;
        child.wait()?;
        bail!(
            "the data of {} is not made after {} s\n{}",
            server.name,
            MADE_WITHIN.as_secs(),
            end_of(&server.log)
        );
    };
    ensure!(
        status.success(),
        "the data of {} is not made: {status}\n{}",
        server.name,
        end_of(&server.log)
    );
    Ok(())
}
