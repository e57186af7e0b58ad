//! Servers of a run, by the names that a command was given.

use anyhow::{Context, bail};

use super::{
    place::Place,
    state::{Run, Server},
};

/// The run of a place, if it came to be ready.
pub(super) fn ready(place: &Place) -> anyhow::Result<Run> {
    let run = Run::read(place)?.filter(|it| it.ready);
    run.context("nothing runs here: `cargo xtask infra up` starts it")
}

/// The servers of these names, each once.
pub(super) fn select<'a>(run: &'a Run, names: &[String]) -> anyhow::Result<Vec<&'a Server>> {
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
    use crate::infra::{component::Component, launch::Planned, ports::Port, state::Invocation};

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
