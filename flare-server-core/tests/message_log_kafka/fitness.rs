//! What is checked before the log is opened, and the making of its topic.

use std::sync::Arc;

use flare_server_core::{
    kafka::{
        KafkaConfig,
        topics::{self, Made, TopicsError},
    },
    message_log::{KafkaMessageLog, OpenError, TOPIC, topic_spec},
};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};

use crate::support::{admin, installation};

/// What `open` finds wrong.
async fn mistakes(kafka: &KafkaConfig, partitions: u32) -> Vec<String> {
    let opened = KafkaMessageLog::open(kafka, partitions, Arc::new(|_: &str| {})).await;
    match opened.map(|_| ()) {
        Err(OpenError::Unfit(mistakes)) => mistakes,
        Ok(()) => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

/// The log's topic, with settings of one's own.
async fn make(kafka: &KafkaConfig, settings: &[(&str, &str)]) {
    let topic = format!("{}{TOPIC}", kafka.prefix);
    let mut new = NewTopic::new(&topic, 2, TopicReplication::Fixed(1));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    let admin = admin(kafka);
    let results = admin.create_topics([&new], &AdminOptions::new()).await;
    for result in results.unwrap() {
        result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_setting_that_endangers_the_log_is_named() {
    let kafka = installation();
    let missing = mistakes(&kafka, 2).await;
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].contains("flare topics create"), "{missing:?}");

    make(
        &kafka,
        &[
            ("cleanup.policy", "compact"),
            ("max.message.bytes", "1000000"),
            ("min.insync.replicas", "1"),
            ("retention.bytes", "1000000000"),
            ("retention.ms", "3600000"),
            ("unclean.leader.election.enable", "true"),
        ],
    )
    .await;
    let strict = KafkaConfig {
        allow_single_replica: false,
        ..kafka.clone()
    };
    let found = mistakes(&strict, 3).await;
    for named in [
        "partitions",
        "replicas",
        "min.insync.replicas",
        "cleanup.policy",
        "max.message.bytes",
        "message.timestamp.type",
        "retention.bytes",
        "retention.ms",
        "unclean.leader.election.enable",
    ] {
        assert!(
            found.iter().any(|it| it.contains(named)),
            "{named}: {found:#?}"
        );
    }
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_made_once_and_never_altered() {
    let kafka = installation();
    let spec = [topic_spec(2)];
    let created = topics::create(&kafka, 1, &spec).await.unwrap();
    let topic = format!("{}{TOPIC}", kafka.prefix);
    assert_eq!(created, [(topic.clone(), Made::Created)]);
    assert_eq!(mistakes(&kafka, 2).await, Vec::<String>::new());
    let again = topics::create(&kafka, 1, &spec).await.unwrap();
    assert_eq!(again, [(topic.clone(), Made::Present)]);

    let other = topics::create(&kafka, 1, &[topic_spec(3)]).await.unwrap();
    let Made::Differs(differences) = &other[0].1 else {
        panic!("{other:?}");
    };
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert_eq!(
        topics::mistakes(&kafka, &spec).await.unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_replicas_are_refused_before_anything_is_made() {
    let kafka = KafkaConfig {
        allow_single_replica: false,
        ..installation()
    };
    let refused = topics::create(&kafka, 2, &[topic_spec(1)]).await;
    assert!(
        matches!(refused, Err(TopicsError::TooFewReplicas { replicas: 2 })),
        "{refused:?}"
    );
    assert_eq!(mistakes(&kafka, 1).await.len(), 1, "nothing is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_do_not_answer_are_named() {
    let kafka = KafkaConfig {
        bootstrap_servers: vec!["127.0.0.1:1".to_owned()],
        ..KafkaConfig::default()
    };
    let opened = KafkaMessageLog::open(&kafka, 1, Arc::new(|_: &str| {})).await;
    let Err(error) = opened.map(|_| ()) else {
        panic!("there is no Kafka");
    };
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}
