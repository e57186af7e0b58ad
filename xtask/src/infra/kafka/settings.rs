//! Files that Kafka reads.

/// Of every run: no two of them ever meet.
pub(super) const CLUSTER: &str = "FlareFlareFlareFlareFA";

pub(super) const LOGGING: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d %p %c{1}: %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"#;

/// A broker that is its own controller.
pub(super) struct Node {
    pub(super) number: usize,
    pub(super) broker: String,
    pub(super) controller: String,
}

/// `server.properties` of one of the nodes.
///
/// A broker is dead for the others after 3 s without a heartbeat: less than a client waits for an answer, and that less than it waits for a record's
/// report.
pub(super) fn properties(node: &Node, all: &[Node], topics: &str) -> String {
    let voters: Vec<String> = all
        .iter()
        .map(|it| format!("{}@{}", it.number, it.controller))
        .collect();
    let Node {
        number,
        broker,
        controller,
    } = node;
    let voters = voters.join(",");
    let replicas = all.len();
    let in_sync = if replicas > 1 { 2 } else { 1 };
    format!(
        "process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{broker},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{broker}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={topics}
num.network.threads=2
num.io.threads=2
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.threads=1
"
    )
}

/// Of the Java machine. With a heap, in MiB, those of Kafka's own scripts, as for load; without, it starts sooner and takes less.
pub(super) fn machine(heap: Option<u32>) -> Vec<String> {
    match heap {
        Some(heap) => vec![
            format!("-Xms{heap}m"),
            heap_of(heap),
            "-XX:+UseG1GC".to_owned(),
            "-XX:MaxGCPauseMillis=20".to_owned(),
            "-XX:InitiatingHeapOccupancyPercent=35".to_owned(),
        ],
        None => vec![
            heap_of(256),
            "-XX:+UseSerialGC".to_owned(),
            "-XX:TieredStopAtLevel=1".to_owned(),
        ],
    }
}

/// The option that bounds a heap.
pub(in crate::infra) fn heap_of(mebibytes: u32) -> String {
    format!("-Xmx{mebibytes}m")
}

/// What Maven is to bring: Kafka with its tools, and what writes its log.
pub(super) fn pom(version: &str) -> String {
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>flare</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{version}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-tools</artifactId>
      <version>{version}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.4</version>
    </dependency>
  </dependencies>
</project>
"#
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(count: usize) -> Vec<BTreeMap<String, String>> {
        let nodes: Vec<Node> = (1..=count)
            .map(|number| Node {
                number,
                broker: format!("127.0.0.1:2100{number}"),
                controller: format!("127.0.0.1:2200{number}"),
            })
            .collect();
        nodes
            .iter()
            .map(|it| {
                let text = properties(it, &nodes, "/data/topics");
                let pairs: Vec<_> = text.lines().map(|it| it.split_once('=').unwrap()).collect();
                let map: BTreeMap<_, _> = pairs
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect();
                assert_eq!(map.len(), pairs.len(), "a setting stands there twice");
                map
            })
            .collect()
    }

    #[test]
    fn one_node_needs_no_other() {
        let nodes = of(1);
        let one = &nodes[0];
        assert_eq!(one["controller.quorum.voters"], "1@127.0.0.1:22001");
        for (name, value) in one {
            if name.contains("replica") || name.ends_with("min.isr") {
                assert_eq!(value, "1", "{name}");
            }
        }
        assert_eq!(one["auto.create.topics.enable"], "false");
        assert_eq!(one["log.dirs"], "/data/topics");
    }

    #[test]
    fn three_nodes_know_each_other_and_bear_the_loss_of_one() {
        let nodes = of(3);
        let voters = "1@127.0.0.1:22001,2@127.0.0.1:22002,3@127.0.0.1:22003";
        for (number, node) in (1..).zip(&nodes) {
            assert_eq!(node["node.id"], number.to_string());
            assert_eq!(node["controller.quorum.voters"], voters);
            assert_eq!(
                node["advertised.listeners"],
                format!("PLAINTEXT://127.0.0.1:2100{number}")
            );
            assert_eq!(node["default.replication.factor"], "3");
            assert_eq!(node["min.insync.replicas"], "2");
            assert_eq!(node["offsets.topic.replication.factor"], "3");
            assert_eq!(node["transaction.state.log.min.isr"], "2");
        }
    }

    #[test]
    fn the_cluster_has_an_id_of_sixteen_bytes() {
        // Of the last of 22 digits in base 64 the low four bits are nought.
        assert_eq!(CLUSTER.len(), 22);
        assert!(CLUSTER.ends_with('A') && CLUSTER.bytes().all(|it| it.is_ascii_alphanumeric()));
    }
}
