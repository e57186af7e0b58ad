//! `up`: everything from nothing to ready.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::ExitCode,
    sync::Mutex,
};

use anyhow::{Context, bail};

use super::{
    component::{Component, Wish},
    install,
    kafka::heap_of,
    launch::{Launch, Planned},
    place::Place,
    state::Run,
    status, stop,
    used::Used,
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Nodes of Kafka: each is broker and controller
    #[arg(long, value_name = "1|3", value_parser = nodes)]
    kafka_nodes: Option<usize>,
    /// What each node of Kafka has for its heap, and the other options of Kafka's own scripts with it: for load. Without it a node takes
    /// 256 MiB, starts sooner, and is slower
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(256..=65_536))]
    kafka_heap: Option<u32>,
    /// These only, divided by commas
    #[arg(long, value_name = "COMPONENTS", value_delimiter = ',', value_enum)]
    only: Vec<Component>,
    /// Take what runs already for a component: it is asked whether it answers, and never stopped; may be given more than once
    ///
    /// kafka=host:port[,host:port…], or host:port or a whole address for another: postgres=postgres://user:password@host:port/database,
    /// redis=redis://…, etcd=http://…, toxiproxy=http://…
    #[arg(long = "use", value_name = "COMPONENT=ADDRESS")]
    used: Vec<Used>,
}

fn nodes(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("1 or 3 is expected".to_owned()),
    }
}

impl Arguments {
    /// What shall be there, of whichever origin.
    fn wanted(&self) -> Vec<Component> {
        Component::ALL
            .into_iter()
            .filter(|it| self.only.is_empty() || self.only.contains(it) || self.uses(*it))
            .collect()
    }

    /// What is to be started for it.
    fn to_start(&self) -> Vec<Component> {
        let mut wanted = self.wanted();
        wanted.retain(|it| !self.uses(*it));
        wanted
    }

    fn uses(&self, component: Component) -> bool {
        self.used.iter().any(|it| it.component == component)
    }

    /// What a run has other than is asked for.
    fn difference(&self, run: &Run) -> Option<String> {
        let there = run.components();
        if let Some(missing) = self.wanted().into_iter().find(|it| !there.contains(it)) {
            return Some(format!("without {}", missing.name()));
        }
        if let Some(used) = self.used.iter().find(|it| !run.used.contains(it)) {
            return Some(format!(
                "without {} at {}",
                used.component.name(),
                used.addresses.join(",")
            ));
        }
        let kafka = run
            .servers
            .iter()
            .filter(|it| it.component == Component::Kafka);
        let heap = self.kafka_heap.map(heap_of);
        let has_heap = |it: &String| kafka.clone().all(|node| node.start.arguments.contains(it));
        if heap.is_some_and(|it| !has_heap(&it)) {
            return Some("with another heap of Kafka".to_owned());
        }
        let kafka = kafka.count();
        self.kafka_nodes
            .filter(|it| kafka > 0 && *it != kafka)
            .map(|_| format!("with Kafka of {kafka}"))
    }
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    for (index, used) in arguments.used.iter().enumerate() {
        let before = &arguments.used[..index];
        if before.iter().any(|it| it.component == used.component) {
            bail!("--use names {} twice", used.component.name());
        }
    }
    if let Some(run) = Run::read(place)? {
        if run.ready && !run.has_ended() {
            return already(place, arguments, &run);
        }
        eprintln!(
            "{}: what is left of it goes",
            if run.ready {
                "the last run has ended"
            } else {
                "the last run never came to be ready"
            }
        );
        stop::end(place, &run)?;
    }
    for used in &arguments.used {
        let asked = used.component.recipe().ask(&used.value);
        asked.with_context(|| format!("{} of --use does not answer", used.component.name()))?;
    }
    let to_start = arguments.to_start();
    install::run(place, &to_start)?;
    start(place, arguments, &to_start)
}

/// Says what runs, if it is what is asked for.
fn already(place: &Place, arguments: &Arguments, run: &Run) -> anyhow::Result<ExitCode> {
    if let Some(difference) = arguments.difference(run) {
        bail!("a run {difference} is up already: stop it first, by `cargo xtask infra down`");
    }
    println!("up already, at {}", place.state().display());
    let code = status::show(run, place)?;
    tell(place);
    Ok(code)
}

/// Says how to go on.
fn tell(place: &Place) {
    println!(
        "\n. {}   # tells tests and services where it is",
        place.variables().display()
    );
}

fn start(
    place: &Place,
    arguments: &Arguments,
    components: &[Component],
) -> anyhow::Result<ExitCode> {
    place.clear()?;
    let mut run = Run::begin(arguments.used.clone())?;
    let wish = Wish {
        place,
        kafka_nodes: arguments.kafka_nodes.unwrap_or(1),
        kafka_heap: arguments.kafka_heap,
    };
    let planned = plan(&wish, components, &mut run);
    let planned = match planned {
        Ok(planned) => planned,
        Err(error) => {
            stop::end(place, &run)?;
            return Err(error);
        }
    };
    let launch = Launch {
        place,
        run: Mutex::new(run),
        together: wish.kafka_nodes,
        attempts: 1,
    };
    let errors = launch.start(planned);
    let mut run = launch.into_run();
    if !errors.is_empty() {
        stop::end(place, &run)?;
        for error in &errors {
            eprintln!("{error:#}");
        }
        bail!(
            "nothing is up. If the logs do not tell why, try again: ports are chosen anew. --only leaves components out, --use takes others"
        );
    }
    let program = std::env::current_exe().context("our own path")?;
    let variables = run.variables(place, &program, &secret()?)?;
    keep(&place.variables(), &variables)?;
    run.ready = true;
    run.write(place)?;
    let code = status::show(&run, place)?;
    tell(place);
    Ok(code)
}

/// What services know each other by: nobody guesses it.
fn secret() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    File::open("/dev/urandom")
        .and_then(|mut it| it.read_exact(&mut bytes))
        .context("/dev/urandom")?;
    Ok(bytes.iter().map(|it| format!("{it:02x}")).collect())
}

/// Writes a file that nobody else may read.
fn keep(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(file)
        .and_then(|mut it| it.write_all(text.as_bytes()))
        .with_context(|| file.display().to_string())
}

/// Plans servers, and writes them down before any of them is there: what comes to be is found again.
fn plan(wish: &Wish<'_>, components: &[Component], run: &mut Run) -> anyhow::Result<Vec<Planned>> {
    let mut planned = Vec::new();
    for component in components {
        let servers = component.recipe().plan(wish);
        let servers = servers.with_context(|| component.name())?;
        servers.iter().for_each(|it| run.put(&it.server));
        planned.extend(servers);
    }
    run.write(wish.place)?;
    Ok(planned)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        let words = std::iter::once("up").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|it| it.arguments)
    }

    #[test]
    fn what_tells_the_secret_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        keep(&file, &secret().unwrap()).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0);
        let first = std::fs::read_to_string(&file).unwrap();
        assert!(first.len() >= 32, "{first}");
        assert_ne!(first, secret().unwrap());
    }

    #[test]
    fn all_is_started_that_does_not_run_already() {
        let all = parse("").unwrap();
        assert_eq!(all.to_start(), Component::ALL);
        let but_one = parse("--use redis=a:1").unwrap();
        assert_eq!(but_one.wanted(), Component::ALL);
        assert!(!but_one.to_start().contains(&Component::Redis));
        let few = parse("--only etcd,kafka --use redis=a:1").unwrap();
        assert_eq!(few.to_start(), [Component::Kafka, Component::Etcd]);
        assert_eq!(few.wanted().len(), 3);
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        for line in [
            "--kafka-nodes 2",
            "--kafka-heap 12",
            "--only mongo",
            "--use redis",
            "--use x=a:1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert_eq!(parse("--kafka-nodes 3").unwrap().kafka_nodes, Some(3));
    }

    #[test]
    fn a_run_fits_if_it_has_what_is_asked_for() {
        let mut run = Run::begin(parse("--use redis=a:1").unwrap().used).unwrap();
        let difference = |line: &str, run: &Run| parse(line).unwrap().difference(run);
        assert_eq!(difference("--only redis", &run), None);
        assert_eq!(difference("--use redis=a:1 --only redis", &run), None);
        assert!(difference("--use redis=b:1 --only redis", &run).is_some());
        assert!(difference("", &run).is_some());

        let folder = tempfile::tempdir().unwrap();
        let place = Place::of_test(folder.path());
        let start = crate::infra::state::Invocation {
            program: "kafka".into(),
            arguments: vec!["-Xmx512m".to_owned()],
            user: None,
        };
        let port = crate::infra::ports::Port::take().unwrap();
        let planned = Planned::new(&place, Component::Kafka, "kafka-1", start, vec![port]);
        run.put(&planned.unwrap().server);
        assert_eq!(difference("--only kafka", &run), None);
        assert_eq!(difference("--only kafka --kafka-nodes 1", &run), None);
        assert!(difference("--only kafka --kafka-nodes 3", &run).is_some());
        assert_eq!(difference("--only kafka --kafka-heap 512", &run), None);
        assert!(difference("--only kafka --kafka-heap 1024", &run).is_some());
    }
}
