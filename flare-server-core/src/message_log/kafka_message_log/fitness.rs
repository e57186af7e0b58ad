//! What topic and brokers must be to keep the log.

use crate::{
    kafka::{
        KafkaConfig, SOCKET_TIMEOUT_MS,
        topics::{Cluster, DAY_MS, Setting, TopicSpec, TopicsError},
    },
    log_file::MAX_RECORD_BYTES,
};

use super::TOPIC;

/// The largest batch of records on the wire: Kafka wraps a record in some bytes of its own.
pub(super) const MAX_BATCH_BYTES: i64 = (MAX_RECORD_BYTES + (64 << 10)) as i64;

/// How long a broker is missed before its partitions get other leaders.
const BROKER_SESSION: &str = "broker.session.timeout.ms";

/// The topic of a log of so many partitions.
///
/// Time alone removes records, of which the brokers' clock decides: no producer's wrong clock makes them old.
pub fn topic_spec(partitions: u32) -> TopicSpec {
    TopicSpec {
        name: TOPIC.to_owned(),
        partitions,
        settings: vec![
            Setting::is("cleanup.policy", "delete"),
            Setting::at_least("max.message.bytes", MAX_BATCH_BYTES, MAX_BATCH_BYTES),
            Setting::is("message.timestamp.type", "LogAppendTime"),
            Setting::is("retention.bytes", "-1"),
            Setting::at_least("retention.ms", DAY_MS, 7 * DAY_MS),
            Setting::is("unclean.leader.election.enable", "false"),
        ],
    }
}

/// All that is wrong.
pub(super) async fn mistakes(
    kafka: &KafkaConfig,
    partitions: u32,
) -> Result<Vec<String>, TopicsError> {
    let cluster = Cluster::ask(kafka).await?;
    let mut mistakes = cluster.mistakes(&topic_spec(partitions)).await?;
    let sessions = cluster.broker_settings(BROKER_SESSION).await;
    // One broker has nobody to hand over to.
    if sessions.len() > 1 {
        mistakes.extend(sessions.into_iter().filter_map(session_mistake));
    }
    Ok(mistakes)
}

fn session_mistake((broker, session): (i32, String)) -> Option<String> {
    let is_short = session
        .parse::<u32>()
        .is_ok_and(|session| session < SOCKET_TIMEOUT_MS);
    (!is_short).then(|| {
        format!(
            "broker {broker}: {BROKER_SESSION} is {session}, it must be below {SOCKET_TIMEOUT_MS}: else every owner is lost with one broker"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_missed_before_the_clients_give_up() {
        assert_eq!(session_mistake((1, "3000".to_owned())), None);
        let mistake = session_mistake((2, "9000".to_owned())).unwrap();
        assert!(mistake.starts_with("broker 2: "), "{mistake}");
        assert!(session_mistake((3, SOCKET_TIMEOUT_MS.to_string())).is_some());
    }
}
