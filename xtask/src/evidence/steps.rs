//! The attacks, one by one: what each asks, and how it is made.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use cargo_metadata::MetadataCommand;
use serde_json::{Value, json};

use super::cluster;

/// One step.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// What it asks.
    pub(super) question: &'static str,
    pub(super) make: fn(&Ground) -> anyhow::Result<Value>,
}

/// All of them, in the order of the page.
pub(super) const STEPS: &[Step] = &[
    Step {
        name: "simulation",
        title: "Simulation",
        question: "does any seed of the owners, the gateway's lanes, the writer and the senders break a promise",
        make: simulation,
    },
    Step {
        name: "power-loss",
        title: "Power loss",
        question: "is anything lost that was acked, wherever the power fails",
        make: power_loss,
    },
    Step {
        name: "kills",
        title: "kill -9 under mixed load",
        question: "is anything lost, doubled, disordered or shown to others when the server is killed, or can write no more",
        make: kills,
    },
    Step {
        name: "fuzz",
        title: "Bytes from hell",
        question: "does any decoder panic, hang or change what it reads",
        make: fuzz,
    },
    Step {
        name: "overload",
        title: "Overload",
        question: "is enough left of the peak, in bounded memory, when up to five times the connections write as fast as they may",
        make: overload,
    },
    Step {
        name: "reconnects",
        title: "All come back at once",
        question: "is everybody back in time, and do others talk on, when all connections break, and when the server is killed",
        make: reconnects,
    },
    Step {
        name: "never-reads",
        title: "Senders who never read",
        question: "does the server hold no more for them than it may, and do others talk on",
        make: |ground| scenario(ground, "never-reads", "sends_without_reading", &[]),
    },
    Step {
        name: "half-open",
        title: "Stuck and half-open readers",
        question: "are they let go in time, and do they miss nothing when they come again",
        make: |ground| scenario(ground, "half-open", "half_open_readers", &[]),
    },
    Step {
        name: "noisy",
        title: "A noisy conversation",
        question: "do quiet conversations talk on beside one that is flooded",
        make: |ground| scenario(ground, "noisy", "noisy_beside_quiet", &[]),
    },
    Step {
        name: "room",
        title: "Too little room",
        question: "are sends refused before their acks while reads go on, and do sends recover when there is room",
        make: |ground| scenario(ground, "room", "room_runs_out", &[]),
    },
    Step {
        name: "soak",
        title: "Soak",
        question: "do memory, file handles, threads and tasks stay flat",
        make: soak,
    },
    Step {
        name: "cluster",
        title: "Faults of a cluster",
        question: "is every promise kept, and how long do sends wait, when processes and servers are killed, hang, are cut off and come back under load",
        make: cluster::faults,
    },
];

pub(super) fn names() -> Vec<&'static str> {
    STEPS.iter().map(|it| it.name).collect()
}

/// Where steps work.
pub(super) struct Ground {
    pub(super) root: PathBuf,
    /// Where cargo builds.
    target: PathBuf,
    /// Of the records.
    pub(super) folder: PathBuf,
    pub(super) quick: bool,
}

impl Ground {
    pub(super) fn prepare(root: PathBuf, quick: bool) -> anyhow::Result<Self> {
        let name = if quick { "evidence-quick" } else { "evidence" };
        let metadata = MetadataCommand::new().current_dir(&root).no_deps().exec()?;
        let target = metadata.target_directory.into_std_path_buf();
        let folder = target.join(name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self {
            root,
            target,
            folder,
            quick,
        })
    }

    /// A step's record.
    pub(super) fn file(&self, step: &str) -> PathBuf {
        self.folder.join(format!("{step}.json"))
    }

    fn of(&self, whole: u64, quick: u64) -> String {
        if self.quick { quick } else { whole }.to_string()
    }

    /// Runs a command to its end; its output goes where ours goes.
    pub(super) fn run(
        &self,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let status = Command::new(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .current_dir(&self.root)
            .stdout(Stdio::from(std::io::stderr()))
            .status()
            .with_context(|| program.to_owned())?;
        ensure!(
            status.success(),
            "{program} {}: {status}",
            arguments.join(" ")
        );
        Ok(())
    }

    pub(super) fn cargo(
        &self,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        self.run("cargo", arguments, variables)
    }

    /// Runs a command that keeps what it saw in a file, and gives that.
    fn reported(&self, step: &str, arguments: &[&str]) -> anyhow::Result<Value> {
        let file = self.folder.join(format!("{step}.data.json"));
        let name = file.to_str().context("no UTF-8")?;
        let _ = fs::remove_file(&file);
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|it| if *it == FILE { name } else { it })
            .collect();
        self.cargo(&arguments, &[])?;
        let text = fs::read(&file).with_context(|| format!("{step} has kept nothing"))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// The release build of `flare`.
    fn flare(&self) -> anyhow::Result<String> {
        self.cargo(
            &[
                "build",
                "--release",
                "--package",
                "flare-im",
                "--bin",
                "flare",
            ],
            &[],
        )?;
        let file = self.target.join("release").join("flare");
        Ok(file.to_str().context("no UTF-8")?.to_owned())
    }
}

/// Stands for the file in which a command keeps what it saw.
const FILE: &str = "{file}";

fn simulation(ground: &Ground) -> anyhow::Result<Value> {
    let seeds = ground.of(66_667, 500);
    ground.reported(
        "simulation",
        &[
            "run",
            "--release",
            "--package",
            "flare-simulation",
            "--bin",
            "simulate",
            "--",
            "--seeds",
            &seeds,
            "--owners",
            "1,2,3",
            "--json",
            FILE,
        ],
    )
}

fn power_loss(ground: &Ground) -> anyhow::Result<Value> {
    let seeds = ground.of(10_000, 100);
    ground.cargo(
        &[
            "test",
            "--package",
            "flare-server-core",
            "--test",
            "log_file_power_loss",
        ],
        &[("FLARE_POWER_LOSS_SEEDS", &seeds)],
    )?;
    // The test itself demands as many.
    let crashes_at_least = 30 * seeds.parse::<u64>()?;
    Ok(json!({ "seeds": seeds.parse::<u64>()?, "crashes_at_least": crashes_at_least }))
}

fn kills(ground: &Ground) -> anyhow::Result<Value> {
    let cycles = ground.of(100, 10);
    scenario(ground, "kills", "kill_loop", &["--cycles", &cycles])
}

fn soak(ground: &Ground) -> anyhow::Result<Value> {
    let minutes = ground.of(15, 1);
    scenario(ground, "soak", "soak", &["--minutes", &minutes])
}

fn reconnects(ground: &Ground) -> anyhow::Result<Value> {
    let clients = ground.of(5_000, 200);
    let length = ["--clients", &clients];
    scenario(ground, "reconnects", "all_come_back", &length)
}

/// An end-to-end scenario against the release build in one process, so long.
fn scenario(ground: &Ground, step: &str, name: &str, length: &[&str]) -> anyhow::Result<Value> {
    let flare = ground.flare()?;
    let cargo = [
        "test",
        "--package",
        "flare-im",
        "--test",
        "integration",
        "--",
    ];
    let own = [
        "--binary",
        &flare,
        "--deployment",
        "embedded",
        "--json",
        FILE,
        name,
    ];
    ground.reported(step, &[&cargo[..], length, &own[..]].concat())
}

fn fuzz(ground: &Ground) -> anyhow::Result<Value> {
    let seconds = ground.of(120, 5);
    ground.reported(
        "fuzz",
        &["xtask", "fuzz", "--seconds", &seconds, "--json", FILE],
    )
}

/// The most resident memory of a server under overload. At its bounds it has 640 MiB of tables of the store that wait to be written (five of each, of
/// 64, 32 and four times 8 MiB), some 150 MiB of client ids, 64 MiB of events for readers, and as much of commands.
const MOST_MIB: &str = "1024";

/// Settings under which the peak is refused nothing and five times its load is: by the bound on commands in flight alone.
const OVERLOADED: &[&str] = &[
    "access_gateway.max_commands_in_flight=2048",
    "access_gateway.frames_per_s=1000000",
    "message_orchestrator.rate.user_per_s=0",
    "message_orchestrator.rate.conversation_per_s=0",
];

/// The server on one core, the generator on the other.
fn overload(ground: &Ground) -> anyhow::Result<Value> {
    let flare = ground.flare()?;
    let data = tempfile::tempdir()?;
    let data = data.path().to_str().context("no UTF-8")?;
    let mut server = Server::start(&flare, data)?;
    let url = server.url()?;
    let seconds = ground.of(8, 3);
    let rounds = ground.of(3, 1);
    let times = if ground.quick { "5" } else { "2,3,4,5" };
    let pid = server.process.id().to_string();
    let done = Command::new("taskset")
        .args([
            "-c", "1", &flare, "bench", "overload", "--url", &url, "--data", data,
        ])
        .args(["--pid", &pid, "--seconds", &seconds, "--json"])
        .args([
            "--times",
            times,
            "--rounds",
            &rounds,
            "--most-mib",
            MOST_MIB,
        ])
        .arg("--refusals-demanded")
        .stderr(Stdio::inherit())
        .output()
        .context("taskset")?;
    let said = String::from_utf8(done.stdout)?;
    ensure!(done.status.success(), "the bench failed: {said}");
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| said.clone())
}

/// A server on the first core; ends with this value.
struct Server {
    process: Child,
}

impl Server {
    fn start(flare: &str, data: &str) -> anyhow::Result<Self> {
        let process = Command::new("taskset")
            .args([
                "-c",
                "0",
                flare,
                "up",
                "--data",
                data,
                "--json",
                "--listen",
                "127.0.0.1:0",
            ])
            .args(OVERLOADED.iter().flat_map(|it| ["--set", it]))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("taskset")?;
        Ok(Self { process })
    }

    fn url(&mut self) -> anyhow::Result<String> {
        let stdout = self.process.stdout.take().context("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("the server did not start")?;
        match said.get("access_gateway").and_then(Value::as_str) {
            Some(at) => Ok(format!("ws://{at}/ws")),
            None => bail!("no address in {line}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whether it still ran: its folder goes.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
