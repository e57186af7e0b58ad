//! Kafka without ZooKeeper: each node is broker and controller.

mod metadata;
mod settings;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use self::settings::Node;
pub(super) use self::settings::heap_of;
use super::{
    ask,
    component::{Component, Recipe, Wish},
    install::{self, Package, missing_program, program},
    launch::Planned,
    place::text,
    ports::Port,
    state::Invocation,
};

const VERSION: &str = "4.3.1";
/// What resolves the dependencies. Named, so that every machine takes the same.
const COPIER: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// What is of use at run time only; and how long a silent server is waited for, in milliseconds, and how often asked again: of Maven before 3.9, and since.
const OF_MAVEN: [&str; 5] = [
    "-DincludeScope=runtime",
    "-Dmaven.wagon.rto=30000",
    "-Dmaven.wagon.http.retryHandler.count=5",
    "-Daether.connector.requestTimeout=30000",
    "-Daether.connector.http.retryHandler.count=5",
];

pub(super) struct Kafka;

impl Recipe for Kafka {
    fn purpose(&self) -> &'static str {
        "the message log and the event bus"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &[]
    }

    fn value(&self, addresses: &[&str]) -> String {
        addresses.join(",")
    }

    fn missing(&self, tools: &Path) -> Vec<Package> {
        let java = missing_program("java", "default-jre-headless");
        let maven = if library(tools).exists() {
            None
        } else {
            missing_program("mvn", "maven")
        };
        java.into_iter().chain(maven).collect()
    }

    fn install(&self, tools: &Path) -> anyhow::Result<()> {
        let what = format!("Kafka {VERSION} by Maven, some 55 MB");
        install::folder(&library(tools), &what, self.purpose(), |new| {
            let pom = new.join("pom.xml");
            fs::write(&pom, settings::pom(VERSION))?;
            let (pom, into) = (text(&pom)?, format!("-DoutputDirectory={}", text(new)?));
            let arguments = [
                &["-B", "-q", "-U", "-f", &pom, COPIER, &into],
                &OF_MAVEN[..],
            ];
            let log = tools.join("kafka.log");
            install::download("mvn", &arguments.concat(), &[], &log)?;
            let core = format!("kafka_2.13-{VERSION}.jar");
            ensure!(new.join(&core).exists(), "Maven has brought no {core}");
            Ok(())
        })
    }

    fn home(&self, tools: &Path) -> Option<PathBuf> {
        Some(library(tools)).filter(|it| it.exists())
    }

    fn plan(&self, wish: &Wish<'_>) -> anyhow::Result<Vec<Planned>> {
        let ports: Vec<(Port, Port)> = (0..wish.kafka_nodes)
            .map(|_| Ok((Port::take()?, Port::take()?)))
            .collect::<anyhow::Result<_>>()?;
        let nodes: Vec<Node> = ports
            .iter()
            .zip(1..)
            .map(|((broker, controller), number)| Node {
                number,
                broker: broker.address(),
                controller: controller.address(),
            })
            .collect();
        let java = program("java")?;
        let planned = nodes.iter().zip(ports);
        planned
            .map(|(node, (broker, controller))| {
                self.plan_node(wish, &java, &nodes, node, vec![broker, controller])
            })
            .collect()
    }

    fn ask(&self, value: &str) -> anyhow::Result<Option<String>> {
        for address in value.split(',') {
            metadata::brokers(ask::connect(address)?).with_context(|| address.to_owned())?;
        }
        // It tells which requests it knows, and no version.
        Ok(None)
    }

    fn ask_with(&self, address: &str, together: usize) -> anyhow::Result<Option<String>> {
        let brokers = metadata::brokers(ask::connect(address)?)?;
        ensure!(
            brokers.iter().any(|it| it == address),
            "its controller does not count it among the brokers"
        );
        ensure!(
            brokers.len() >= together,
            "{} of {together} brokers are there",
            brokers.len()
        );
        Ok(None)
    }
}

impl Kafka {
    fn plan_node(
        &self,
        wish: &Wish<'_>,
        java: &Path,
        nodes: &[Node],
        node: &Node,
        ports: Vec<Port>,
    ) -> anyhow::Result<Planned> {
        let name = format!("kafka-{}", node.number);
        let folder = wish.place.data(&name);
        let (server, logging) = (folder.join("server.properties"), folder.join("log4j2.xml"));
        let jars = text(&library(wish.place.tools()).join("*"))?;
        let run = |options: &[&str], main: &[&str]| Invocation {
            program: java.to_owned(),
            arguments: [options, &["-cp", &jars], main]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            user: None,
        };
        let server_text = text(&server)?;
        let logging_text = format!("-Dlog4j2.configurationFile={}", text(&logging)?);
        let mut options = settings::machine(wish.kafka_heap);
        options.push(logging_text);
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let start = run(&options, &["kafka.Kafka", &server_text]);
        let format = run(
            &["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
            &[
                "kafka.tools.StorageTool",
                "format",
                "-t",
                settings::CLUSTER,
                "-c",
                &server_text,
            ],
        );
        let planned = Planned::new(wish.place, Component::Kafka, &name, start, ports)?;
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let topics = text(&folder.join("topics"))?;
        for (file, text) in [
            (server, settings::properties(node, nodes, &topics)),
            (logging, settings::LOGGING.to_owned()),
        ] {
            fs::write(&file, text).with_context(|| file.display().to_string())?;
        }
        Ok(planned.of_version(VERSION).after(format))
    }
}

/// Where its jars stand.
fn library(tools: &Path) -> PathBuf {
    tools.join(format!("kafka-{VERSION}"))
}
