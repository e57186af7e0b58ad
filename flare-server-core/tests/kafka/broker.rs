//! A Kafka of one node that is killed, paused and started again.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    ops::Range,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use flare_server_core::clock::IdSource;

use tempfile::TempDir;

use crate::proxy::Proxy;

/// Below are ports that servers are known by; above, those that the system gives to outgoing connections.
const PORTS: Range<u16> = 20_000..32_000;
const CLUSTER: &str = "FlareFlareFlareFlareFA";
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOGGING: &str = r#"<Configuration status="WARN">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %c{1}: %m%n"/></Console></Appenders>
  <Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"#;

pub(crate) struct Broker {
    folder: TempDir,
    jars: String,
    port: u16,
    process: Child,
}

impl Broker {
    /// Begins with nothing and is ready. Clients that come by the proxy are told to stay with it.
    pub(crate) fn start(proxy: Option<&Proxy>) -> Self {
        let home = home();
        let folder = tempfile::tempdir().unwrap();
        let [port, controller] = [free_port(), free_port()];
        let (mut listeners, mut advertised, mut protocols) = (
            format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"),
            format!("PLAINTEXT://127.0.0.1:{port}"),
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned(),
        );
        if let Some(proxy) = proxy {
            let behind = free_port();
            listeners += &format!(",PROXIED://127.0.0.1:{behind}");
            advertised += &format!(",PROXIED://{}", proxy.address());
            protocols += ",PROXIED:PLAINTEXT";
            proxy.leads_to(behind);
        }
        let topics = folder.path().join("topics");
        let properties = format!(
            "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map={protocols}
log.dirs={}
num.network.threads=2
num.io.threads=2
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.threads=1
",
            topics.display()
        );
        fs::write(folder.path().join("server.properties"), properties).unwrap();
        fs::write(folder.path().join("log4j2.xml"), LOGGING).unwrap();
        let jars = format!("{home}/*");
        let format = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"];
        let formatted = java(&folder, &jars)
            .args(format)
            .arg("server.properties")
            .output()
            .unwrap();
        assert!(formatted.status.success(), "{formatted:?}");
        let process = run(&folder, &jars);
        Self {
            folder,
            jars,
            port,
            process,
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// At once, without a goodbye.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// On the data that it had. It is ready when this returns.
    pub(crate) fn start_again(&mut self) {
        self.process = run(&self.folder, &self.jars);
    }

    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let mut kill = Command::new("kill");
        let status = kill.args([signal, &self.process.id().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a test needs is named by the environment"
)]
fn home() -> String {
    std::env::var("FLARE_TEST_KAFKA_HOME").expect(
        "FLARE_TEST_KAFKA_HOME has to name the folder with Kafka's jars: `cargo xtask infra up` brings them and says where they are",
    )
}

/// It stays free while the broker is down: no outgoing connection gets it, such as one of a client that looks for the broker.
fn free_port() -> u16 {
    let random = IdSource::from_os();
    let spread = u64::from(PORTS.end - PORTS.start);
    let mut ports = (0..100).map(|_| PORTS.start + (random.random_u64() % spread) as u16);
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.expect("a port of a hundred is free")
}

fn java(folder: &TempDir, jars: &str) -> Command {
    let mut java = Command::new("java");
    java.current_dir(folder.path())
        .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-Dlog4j2.configurationFile=log4j2.xml", "-cp", jars]);
    java
}

/// Runs it until it says that it has started; what it says goes into a file.
fn run(folder: &TempDir, jars: &str) -> Child {
    let mut process = java(folder, jars)
        .args(["kafka.Kafka", "server.properties"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(process.stdout.take().unwrap());
    let mut file = File::create(folder.path().join("server.log")).unwrap();
    let (ready, started) = mpsc::sync_channel(1);
    thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            writeln!(file, "{line}").unwrap();
            if line.contains("Kafka Server started") {
                ready.send(()).unwrap();
            }
        }
    });
    if started.recv_timeout(READY_WITHIN).is_err() {
        // Its folder goes with the test: show what it said.
        let said = fs::read_to_string(folder.path().join("server.log")).unwrap();
        let _ = process.kill();
        panic!("Kafka has not started:\n{said}");
    }
    process
}
