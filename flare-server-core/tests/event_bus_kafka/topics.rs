//! Topics, what they take, and how groups stand in them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use flare_server_core::event_bus::{
    EventBus, Handled, KafkaEventBus, PublishError, SubscribeError,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::{DEADLINE, LANES, TOPIC, admin, bus_with_topic, fresh, make, quick};
use crate::recorder::{Recorder, becomes, number, publish, until};

#[tokio::test]
async fn a_topic_that_is_missing_is_named_with_what_makes_it_and_is_not_made() {
    let config = fresh();
    let bus = KafkaEventBus::open(&config, quick()).unwrap();
    for _ in 0..2 {
        let error = bus
            .publish(TOPIC, Bytes::new(), Bytes::new())
            .await
            .unwrap_err();
        assert!(matches!(error, PublishError::Failed { .. }));
        let expected = format!(
            "publish to {TOPIC}: Kafka has no topic {}{TOPIC}: `flare topics create` makes it",
            config.prefix
        );
        assert_eq!(error.to_string(), expected);
        let error = bus
            .subscribe(TOPIC, "group", Recorder::new())
            .await
            .unwrap_err();
        assert!(matches!(error, SubscribeError::Failed { .. }));
        assert!(
            error.to_string().contains("`flare topics create`"),
            "{error}"
        );
        let error = bus.caught_up(TOPIC, "group").await.unwrap_err();
        assert!(
            error.to_string().contains("`flare topics create`"),
            "{error}"
        );
    }
    // Its dead letters are wanted as well, before there is one.
    make(&config, &[TOPIC]).await;
    publish(&bus, 0..1, 1).await;
    let error = bus
        .subscribe(TOPIC, "group", Recorder::new())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("flare.test.events.dlq"),
        "{error}"
    );
    bus.close().await;
    let error = bus
        .publish(TOPIC, Bytes::new(), Bytes::new())
        .await
        .unwrap_err();
    assert!(matches!(error, PublishError::Closed(_)));
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_and_the_largest_can_be_rejected() {
    let (_, bus) = bus_with_topic().await;
    let limit = match bus
        .publish(TOPIC, Bytes::new(), Bytes::from(vec![0; 2 << 20]))
        .await
    {
        Err(PublishError::TooLarge { bytes, limit, .. }) => {
            assert_eq!(bytes, 2 << 20);
            limit
        }
        other => panic!("{other:?}"),
    };
    let batch = vec![
        (Bytes::new(), Bytes::new()),
        (Bytes::from_static(b"k"), Bytes::from(vec![0; limit])),
    ];
    assert!(matches!(
        bus.publish_batch(TOPIC, batch).await,
        Err(PublishError::TooLarge { .. })
    ));
    bus.publish(
        TOPIC,
        Bytes::from_static(b"k"),
        Bytes::from(vec![7; limit - 1]),
    )
    .await
    .unwrap();
    let reject = |_: &[_]| Handled::Reject {
        index: 0,
        reason: "r".repeat(2_000),
    };
    let (rejecting, letters) = (Recorder::answering(reject), Recorder::new());
    let _rejecting = bus
        .subscribe(TOPIC, "group", rejecting.clone())
        .await
        .unwrap();
    let _letters = bus
        .subscribe("flare.test.events.dlq", "operator", letters.clone())
        .await
        .unwrap();
    letters.reaches(1).await;
    assert_eq!(
        rejecting.seen().len(),
        1,
        "nothing of the batch that was refused was published"
    );
}

#[tokio::test]
async fn a_large_batch_keeps_its_order_in_every_key() {
    let (_, bus) = bus_with_topic().await;
    let record = |number: u64| {
        let key = Bytes::from((number % 50).to_le_bytes().to_vec());
        (key, Bytes::from(number.to_le_bytes().to_vec()))
    };
    bus.publish_batch(TOPIC, (0..20_000).map(record).collect())
        .await
        .unwrap();
    let recorder = Recorder::new();
    let _subscription = bus
        .subscribe(TOPIC, "group", recorder.clone())
        .await
        .unwrap();
    recorder.reaches(20_000).await;
    let mut last = HashMap::new();
    for record in recorder.seen() {
        let before = last.insert(record.key.clone(), (number(&record), record.position));
        assert!(
            before.is_none_or(|before| before.0 < number(&record) && before.1 < record.position)
        );
    }
    assert_eq!(last.len(), 50);
}

#[tokio::test]
async fn lag_and_lanes_are_shown() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (_, bus) = bus_with_topic().await;
    publish(&bus, 0..9, 9).await;
    let held = Arc::new(AtomicBool::new(true));
    let holding = held.clone();
    let handler = Recorder::answering(move |_| {
        if holding.load(SeqCst) {
            Handled::Retry
        } else {
            Handled::Ok
        }
    });
    let subscription = bus
        .subscribe(TOPIC, "group", handler.clone())
        .await
        .unwrap();
    let shows = async |what: &str, value: i32| {
        let line = format!("flare_event_bus_{what}{{topic=\"{TOPIC}\",group=\"group\"}} {value}\n");
        metrics.render().contains(&line)
    };
    until("a lag of 9", async || shows("lag", 9).await).await;
    until("all lanes", async || shows("lanes", LANES).await).await;
    held.store(false, SeqCst);
    until("no lag", async || shows("lag", 0).await).await;
    subscription.shutdown().await;
    assert!(
        shows("lanes", 0).await && shows("reassignments_total", 1).await,
        "{}",
        metrics.render()
    );
}

#[tokio::test]
async fn records_removed_by_retention_are_passed_over_loudly() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (config, bus) = bus_with_topic().await;
    publish(&bus, 0..1, 1).await;
    let first = Recorder::new();
    let subscription = bus.subscribe(TOPIC, "group", first.clone()).await.unwrap();
    first.reaches(1).await;
    subscription.shutdown().await;
    publish(&bus, 1..6, 1).await;
    // One key, so one lane, which is emptied but for its last record.
    let mut before = TopicPartitionList::new();
    let lane = (first.seen()[0].position >> 48) as i32;
    before
        .add_partition_offset(
            &format!("{}{TOPIC}", config.prefix),
            lane,
            Offset::Offset(5),
        )
        .unwrap();
    admin(&config)
        .delete_records(&before, &AdminOptions::new())
        .await
        .unwrap();
    let second = Recorder::new();
    let _subscription = bus.subscribe(TOPIC, "group", second.clone()).await.unwrap();
    second.reaches(1).await;
    assert_eq!(second.numbers(), [5]);
    let line = format!("flare_event_bus_passed_over_total{{topic=\"{TOPIC}\",group=\"group\"}} 4");
    assert!(metrics.render().contains(&line), "{}", metrics.render());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_elsewhere_has_caught_up_when_it_has_kept_its_position() {
    let (config, bus) = bus_with_topic().await;
    let elsewhere = KafkaEventBus::open(&config, quick()).unwrap();
    publish(&bus, 0..40, 8).await;
    let error = bus.caught_up(TOPIC, "group").await.unwrap_err();
    assert!(
        error.to_string().contains("no group group ever subscribed"),
        "{error}"
    );
    let recorder = Recorder::new();
    recorder.allow(0);
    let subscription = elsewhere
        .subscribe(TOPIC, "group", recorder.clone())
        .await
        .unwrap();
    becomes(&recorder.batches, |batches| !batches.is_empty()).await;
    let early =
        tokio::time::timeout(Duration::from_millis(300), bus.caught_up(TOPIC, "group")).await;
    assert!(early.is_err(), "the first batch is in hand yet");
    recorder.release();
    tokio::time::timeout(DEADLINE, bus.caught_up(TOPIC, "group"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(recorder.seen().len(), 40);
    // A group without members is where it was.
    subscription.shutdown().await;
    bus.caught_up(TOPIC, "group").await.unwrap();
    publish(&bus, 40..41, 8).await;
    let early =
        tokio::time::timeout(Duration::from_millis(300), bus.caught_up(TOPIC, "group")).await;
    assert!(early.is_err(), "nobody handled the last record");
}
