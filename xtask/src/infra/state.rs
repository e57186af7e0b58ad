//! The state file: what runs, as which process, and how it is started again.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::{
    component::Component,
    place::{Place, text},
    process::{Identity, boot},
    used::Used,
};

/// Of the state file. Another is not read.
const FORMAT: u32 = 1;

/// Ends what the caller has open beside stdin, stdout and stderr: a pipe or a lock of its would be held for as long as the server runs.
const START: &str = r#"for it in /proc/$$/fd/*; do it=${it##*/}; if ((it > 2)); then exec {it}>&-; fi; done; exec "$@""#;

/// A run: all that `up` has started, and what it was pointed at.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    format: u32,
    /// Which boot of the machine the start times are of.
    boot: String,
    /// Everything was ready: `up` came to its end.
    pub(super) ready: bool,
    /// What `up` has started.
    #[serde(default, rename = "server")]
    pub(super) servers: Vec<Server>,
    /// What ran already.
    #[serde(default, rename = "used")]
    pub(super) used: Vec<Used>,
}

/// A server that `up` has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// The component's, and the node's number where there may be more: `kafka-1`.
    pub(super) name: String,
    pub(super) component: Component,
    /// Empty until the server has told it.
    pub(super) version: String,
    /// Where clients reach it, as host:port.
    pub(super) address: String,
    /// Its data, and the folder it works in.
    pub(super) data: PathBuf,
    /// What it has said, of all its starts.
    pub(super) log: PathBuf,
    pub(super) stop: Stop,
    pub(super) start: Invocation,
    /// None before its first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<Identity>,
}

/// The signal by which a server ends at once and in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Stop {
    Term,
    Int,
}

impl Stop {
    pub(super) fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::TERM,
            Self::Int => Signal::INT,
        }
    }
}

/// A command with all its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invocation {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Who runs it, if that is not who runs us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<User>,
}

/// A user of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Run {
    pub(super) fn begin(used: Vec<Used>) -> anyhow::Result<Self> {
        Ok(Self {
            format: FORMAT,
            boot: boot()?,
            ready: false,
            servers: Vec::new(),
            used,
        })
    }

    /// The run of a place, if there is one. Of another boot of the machine nothing runs.
    pub(super) fn read(place: &Place) -> anyhow::Result<Option<Self>> {
        let file = place.state();
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        let mut run = Self::parse(&text).with_context(|| {
            format!(
                "{} cannot be read: stop what it names by hand, then remove it",
                file.display()
            )
        })?;
        if run.boot != boot()? {
            run.servers.iter_mut().for_each(|it| it.process = None);
        }
        Ok(Some(run))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let run: Self = toml::from_str(text)?;
        ensure!(
            run.format == FORMAT,
            "format {} where {FORMAT} is known",
            run.format
        );
        Ok(run)
    }

    /// Writes the state file, whole or not at all.
    pub(super) fn write(&self, place: &Place) -> anyhow::Result<()> {
        let file = place.state();
        let new = file.with_extension("new");
        fs::write(&new, toml::to_string(self)?).with_context(|| new.display().to_string())?;
        fs::rename(&new, &file).with_context(|| file.display().to_string())
    }

    /// Puts a server in the place of the one of its name, or behind the others.
    pub(super) fn put(&mut self, server: &Server) {
        match self.servers.iter_mut().find(|it| it.name == server.name) {
            Some(it) => it.clone_from(server),
            None => self.servers.push(server.clone()),
        }
    }

    /// Nothing runs any more of what was started.
    pub(super) fn has_ended(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(Server::has_ended)
    }

    /// What there is, of whichever origin.
    pub(super) fn components(&self) -> Vec<Component> {
        Component::ALL
            .into_iter()
            .filter(|it| {
                self.servers.iter().any(|server| server.component == *it)
                    || self.used.iter().any(|used| used.component == *it)
            })
            .collect()
    }

    /// The variables by which tests and services find everything, for a shell: also this program, and the place, for tests that stop servers
    /// and start them again. `secret`: what services know each other by.
    pub(super) fn variables(
        &self,
        place: &Place,
        program: &Path,
        secret: &str,
    ) -> anyhow::Result<String> {
        let mut lines = String::new();
        let mut settings = String::new();
        for (variable, path) in [("TOOL", program), ("PLACE", place.folder())] {
            let path = quoted(&text(path)?);
            lines.push_str(&format!("export FLARE_TEST_INFRA_{variable}={path}\n"));
        }
        for component in self.components() {
            let recipe = component.recipe();
            let value = match self.used.iter().find(|it| it.component == component) {
                Some(used) => used.value.clone(),
                None => {
                    let of_it = self.servers.iter().filter(|it| it.component == component);
                    let addresses: Vec<&str> = of_it.map(|it| it.address.as_str()).collect();
                    recipe.value(&addresses)
                }
            };
            let variable = component.variable();
            lines.push_str(&format!("export {variable}={}\n", quoted(&value)));
            if let Some(setting) = component.setting() {
                settings.push_str(&format!("export {setting}={}\n", quoted(&value)));
            }
            if let Some(home) = recipe.home(place.tools()) {
                let home = quoted(&text(&home)?);
                lines.push_str(&format!("export {variable}_HOME={home}\n"));
            }
        }
        let brokers = self.servers.iter();
        if brokers
            .filter(|it| it.component == Component::Kafka)
            .count()
            == 1
        {
            settings.push_str("export FLARE__KAFKA__ALLOW_SINGLE_REPLICA=true\n");
        }
        settings.push_str(&format!("export FLARE__PEER__SECRET={}\n", quoted(secret)));
        Ok(lines + &settings)
    }
}

impl Server {
    pub(super) fn has_ended(&self) -> bool {
        self.process.is_none_or(Identity::has_ended)
    }
}

impl Invocation {
    /// The command, in a folder of its own, a group of processes of its own, and with nothing of ours open: it goes on when we end.
    pub(super) fn command(&self, folder: &Path, log: &Path) -> anyhow::Result<Command> {
        let output = File::options().create(true).append(true).open(log);
        let output = output.with_context(|| log.display().to_string())?;
        // Other shells close no file of a number beyond 9.
        let mut command = Command::new("bash");
        command
            .args(["-c", START, "bash"])
            .arg(&self.program)
            .args(&self.arguments)
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        Ok(command)
    }
}

/// As one word of a shell.
fn quoted(value: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "_-.,:/@%+=".contains(it);
    if value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, component: Component, address: &str) -> Server {
        Server {
            name: name.to_owned(),
            component,
            version: "1.2".to_owned(),
            address: address.to_owned(),
            data: PathBuf::from("/data").join(name),
            log: PathBuf::from("/log").join(name),
            stop: Stop::Int,
            start: Invocation {
                program: PathBuf::from("/bin/server"),
                arguments: vec!["--save".to_owned(), String::new()],
                user: Some(User { uid: 101, gid: 104 }),
            },
            process: Some(Identity {
                pid: 7,
                start_time: 1_234,
            }),
        }
    }

    fn run() -> Run {
        let mut run = Run::begin(vec![Used {
            component: Component::Redis,
            addresses: vec!["cache:6379".to_owned()],
            value: "redis://:a'b$c@cache:6379".to_owned(),
        }])
        .unwrap();
        run.put(&server("kafka-1", Component::Kafka, "127.0.0.1:1"));
        run.put(&server("kafka-2", Component::Kafka, "127.0.0.1:2"));
        run.put(&server("postgres", Component::Postgres, "127.0.0.1:3"));
        run
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of_test(folder.path());
        assert_eq!(Run::read(&place).unwrap(), None);
        let mut run = run();
        run.servers[1].process = None;
        run.servers[1].start.user = None;
        run.write(&place).unwrap();
        assert_eq!(Run::read(&place).unwrap(), Some(run));
    }

    #[test]
    fn of_another_boot_nothing_runs() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of_test(folder.path());
        let mut run = run();
        "another".clone_into(&mut run.boot);
        run.write(&place).unwrap();
        let read = Run::read(&place).unwrap().unwrap();
        assert!(read.servers.iter().all(|it| it.process.is_none()));
    }

    #[test]
    fn another_format_is_not_guessed_at() {
        let text = toml::to_string(&run()).unwrap();
        Run::parse(&text).unwrap();
        Run::parse(&text.replace("format = 1", "format = 2")).unwrap_err();
    }

    #[test]
    fn the_example_in_the_readme_is_a_state_file() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let run = Run::parse(example).unwrap();
        assert!(run.ready);
        assert_eq!(run.servers[0].component, Component::Postgres);
        assert_eq!(run.used[0].component, Component::Redis);
    }

    #[test]
    fn a_server_takes_the_place_of_the_one_of_its_name() {
        let mut run = run();
        let mut again = run.servers[0].clone();
        again.process = None;
        run.put(&again);
        assert_eq!(run.servers.len(), 3);
        assert_eq!(run.servers[0], again);
    }

    #[test]
    fn variables_are_of_what_there_is_and_safe_in_a_shell() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of_test(folder.path());
        let expected = "\
            export FLARE_TEST_KAFKA=127.0.0.1:1,127.0.0.1:2\n\
            export FLARE_TEST_POSTGRES=postgres://postgres@127.0.0.1:3/postgres\n\
            export FLARE_TEST_REDIS='redis://:a'\\''b$c@cache:6379'\n\
            export FLARE__KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:1,127.0.0.1:2\n\
            export FLARE__POSTGRES__URL=postgres://postgres@127.0.0.1:3/postgres\n\
            export FLARE__REDIS__URL='redis://:a'\\''b$c@cache:6379'\n\
            export FLARE__PEER__SECRET=0123\n";
        let variables = run()
            .variables(&place, Path::new("/a tool"), "0123")
            .unwrap();
        let (of_infra, others) = variables.split_at(variables.find(expected).unwrap());
        assert_eq!(others, expected);
        assert_eq!(
            of_infra,
            format!(
                "export FLARE_TEST_INFRA_TOOL='/a tool'\nexport FLARE_TEST_INFRA_PLACE={}\n",
                folder.path().display()
            )
        );
    }

    #[test]
    fn one_replica_is_taken_where_there_is_one_broker_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of_test(folder.path());
        let takes_one = |run: &Run| {
            let told = run.variables(&place, Path::new("/tool"), "0123").unwrap();
            told.contains("export FLARE__KAFKA__ALLOW_SINGLE_REPLICA=true\n")
        };
        let mut run = run();
        assert!(!takes_one(&run));
        run.servers.remove(0);
        assert!(takes_one(&run));
        run.servers.clear();
        assert!(!takes_one(&run));
    }

    #[test]
    fn tests_are_told_where_the_programs_of_a_component_are() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of_test(folder.path());
        let library = place.tools().join("kafka-4.3.1");
        fs::create_dir_all(&library).unwrap();
        let told = run().variables(&place, Path::new("/tool"), "0123").unwrap();
        let expected = format!("export FLARE_TEST_KAFKA_HOME={}\n", library.display());
        assert!(told.contains(&expected), "{told}");
    }

    #[test]
    fn a_command_has_its_own_group_and_none_of_our_files() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let inner = Invocation {
            program: "sh".into(),
            arguments: ["-c", "ls /proc/$$/fd; cut -d' ' -f1,5 /proc/$$/stat"]
                .map(str::to_owned)
                .to_vec(),
            user: None,
        };
        let command = inner.command(folder.path(), &log).unwrap();
        // A caller has files open.
        let status = Command::new("bash")
            .args(["-c", r#"exec 3</dev/null 12</dev/null; exec "$@""#, "bash"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdout(File::create(&log).unwrap())
            .status();
        assert!(status.unwrap().success());
        let said = fs::read_to_string(&log).unwrap();
        let open: Vec<&str> = said.lines().take_while(|it| !it.contains(' ')).collect();
        assert_eq!(open, ["0", "1", "2"], "{said}");

        fs::remove_file(&log).unwrap();
        let status = inner.command(folder.path(), &log).unwrap().status();
        assert!(status.unwrap().success());
        let said = fs::read_to_string(&log).unwrap();
        let (own, group) = said.lines().last().unwrap().split_once(' ').unwrap();
        assert_eq!(own, group);
    }
}
