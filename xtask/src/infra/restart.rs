//! `restart`: the same servers again, with the same data and ports.

use std::{process::ExitCode, sync::Mutex};

use anyhow::{Context, bail, ensure};

use super::{
    launch::{Launch, Planned},
    place::Place,
    state::{Run, Server},
    status, stop,
};

/// After a crash: PostgreSQL does not start while processes of the former server still have its memory.
const ATTEMPTS: usize = 10;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Servers by the table's names, or components: `kafka` is all of its nodes
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Stop them by SIGKILL, as a crash does
    #[arg(long)]
    kill: bool,
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let run = Run::read(place)?.filter(|it| it.ready);
    let run = run.context("nothing runs here: `cargo xtask infra up` starts it")?;
    let wanted = select(&run, &arguments.names)?;
    if arguments.kill {
        stop::at_once(&wanted)?;
    } else {
        stop::in_order(&wanted)?;
    }
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

/// The servers of these names, each once.
fn select<'a>(run: &'a Run, names: &[String]) -> anyhow::Result<Vec<&'a Server>> {
    let is =
        |server: &Server, name: &String| *name == server.name || name == server.component.name();
    for name in names {
        if run.used.iter().any(|it| it.component.name() == name) {
            bail!("{name} is not ours: --use took it as it was");
        }
        if !run.servers.iter().any(|it| is(it, name)) {
            let known: Vec<&str> = run.servers.iter().map(|it| it.name.as_str()).collect();
            bail!("no {name:?} runs here: there are {}", known.join(", "));
        }
    }
    Ok(run
        .servers
        .iter()
        .filter(|server| names.iter().any(|name| is(server, name)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infra::{component::Component, ports::Port, state::Invocation};

    #[test]
    fn servers_are_named_by_themselves_or_by_their_component() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of_test(folder.path());
        let mut run = Run::begin(vec!["etcd=a:1".parse().unwrap()]).unwrap();
        for (component, name) in [
            (Component::Kafka, "kafka-1"),
            (Component::Kafka, "kafka-2"),
            (Component::Redis, "redis"),
        ] {
            let start = Invocation {
                program: name.into(),
                arguments: Vec::new(),
                user: None,
            };
            let ports = vec![Port::take().unwrap()];
            let planned = Planned::new(&place, component, name, start, ports).unwrap();
            run.put(&planned.server);
        }
        let names = |wanted: &[&str]| -> anyhow::Result<Vec<String>> {
            let wanted: Vec<String> = wanted.iter().map(|it| (*it).to_owned()).collect();
            let servers = select(&run, &wanted)?;
            Ok(servers.iter().map(|it| it.name.clone()).collect())
        };
        assert_eq!(names(&["kafka"]).unwrap(), ["kafka-1", "kafka-2"]);
        assert_eq!(names(&["kafka-2", "redis"]).unwrap(), ["kafka-2", "redis"]);
        assert_eq!(names(&["kafka", "kafka-1"]).unwrap().len(), 2);
        let unknown = names(&["mongo"]).unwrap_err().to_string();
        assert!(unknown.contains("kafka-1, kafka-2, redis"), "{unknown}");
        let foreign = names(&["etcd"]).unwrap_err().to_string();
        assert!(foreign.contains("not ours"), "{foreign}");
    }
}
