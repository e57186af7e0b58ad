//! What the embedded event bus does beyond the contract.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::event_bus::{
    BatchHandler, BusRecord, EmbeddedBusOptions, EmbeddedEventBus, EventBus, Handled, PublishError,
    RegisterError, SubscribeError, TopicOptions, TopicView, ViewError, ViewRead,
};
use flare_server_core::log_file::faults::FaultyLayer;
use flare_server_core::log_file::{AsyncLogOptions, Durability, LogError, LogOptions, Retention};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::sync::watch;

const TOPIC: &str = "flare.test.events";
const DEADLINE: Duration = Duration::from_secs(20);

fn options() -> EmbeddedBusOptions {
    let log = LogOptions {
        segment_bytes: 4 << 10,
        prepare_ahead: false,
        ..LogOptions::default()
    };
    EmbeddedBusOptions {
        log: AsyncLogOptions {
            log,
            ..AsyncLogOptions::default()
        },
        batch_records: 4,
        keep_cursor_every: Duration::from_millis(1),
        retry: backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(1))
            .with_max_delay(Duration::from_millis(2))
            .without_max_times(),
        ..EmbeddedBusOptions::default()
    }
}

fn open(disk: &FaultyLayer, options: EmbeddedBusOptions) -> EmbeddedEventBus {
    EmbeddedEventBus::open(Arc::new(disk.clone()), Path::new("bus"), options).unwrap()
}

async fn publish(bus: &EmbeddedEventBus, range: std::ops::Range<u8>) {
    for index in range {
        bus.publish(
            TOPIC,
            Bytes::from_static(b"key"),
            Bytes::from(vec![index; 500]),
        )
        .await
        .unwrap();
    }
}

type Answer = dyn Fn(&[BusRecord]) -> Handled + Send + Sync;

/// Counts what it handles; `answer` says what to do with each batch.
struct Counter {
    handled: watch::Sender<usize>,
    answer: Box<Answer>,
}

impl Counter {
    fn new(answer: impl Fn(&[BusRecord]) -> Handled + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            handled: watch::Sender::new(0),
            answer: Box::new(answer),
        })
    }

    async fn reaches(&self, count: usize) {
        let mut handled = self.handled.subscribe();
        let reached =
            tokio::time::timeout(DEADLINE, handled.wait_for(|handled| *handled >= count)).await;
        reached.expect("a deadline").unwrap();
    }
}

#[async_trait]
impl BatchHandler for Counter {
    async fn handle(&self, batch: &[BusRecord]) -> Handled {
        let answer = (self.answer)(batch);
        if answer == Handled::Ok {
            self.handled.send_modify(|handled| *handled += batch.len());
        }
        answer
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

fn segments(disk: &FaultyLayer) -> usize {
    let folder = Path::new("bus").join(TOPIC);
    let of_topic = |path: &&std::path::PathBuf| {
        path.parent() == Some(&folder)
            && path.extension().is_some_and(|extension| extension == "seg")
    };
    disk.paths().iter().filter(of_topic).count()
}

#[tokio::test]
async fn segments_go_when_all_groups_have_passed_them() {
    let disk = FaultyLayer::new();
    let bus = open(&disk, options());
    let held = Arc::new(AtomicUsize::new(1));
    let holding = held.clone();
    let slow = Counter::new(move |_| {
        if holding.load(SeqCst) == 1 {
            Handled::Retry
        } else {
            Handled::Ok
        }
    });
    let quick = Counter::new(|_| Handled::Ok);
    let _slow = bus.subscribe(TOPIC, "slow", slow.clone()).await.unwrap();
    let _quick = bus.subscribe(TOPIC, "quick", quick.clone()).await.unwrap();
    publish(&bus, 0..40).await;
    quick.reaches(40).await;
    let all = segments(&disk);
    assert!(all > 4, "{all}");
    held.store(0, SeqCst);
    slow.reaches(40).await;
    until("only the segment in use is left", async || {
        segments(&disk) == 1
    })
    .await;
}

#[tokio::test]
async fn a_group_that_is_forgotten_holds_nothing_back() {
    let disk = FaultyLayer::new();
    let bus = open(&disk, options());
    bus.subscribe(TOPIC, "gone", Counter::new(|_| Handled::Retry))
        .await
        .unwrap()
        .shutdown()
        .await;
    let quick = Counter::new(|_| Handled::Ok);
    let _quick = bus.subscribe(TOPIC, "quick", quick.clone()).await.unwrap();
    publish(&bus, 0..20).await;
    quick.reaches(20).await;
    assert_eq!(bus.lowest_cursor(TOPIC).await.unwrap(), Some(0));
    bus.forget_group(TOPIC, "gone").await.unwrap();
    until("it is released", async || {
        bus.lowest_cursor(TOPIC).await.unwrap() == Some(20)
    })
    .await;
    bus.close().await;
    let bus = open(&disk, options());
    assert_eq!(bus.lowest_cursor(TOPIC).await.unwrap(), Some(20));
}

#[tokio::test]
async fn a_handler_that_panics_gets_its_batch_again() {
    let bus = open(&FaultyLayer::new(), options());
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let handler = Counter::new(move |_| {
        assert!(counted.fetch_add(1, SeqCst) > 0, "the first try fails");
        Handled::Ok
    });
    let _subscription = bus
        .subscribe(TOPIC, "group", handler.clone())
        .await
        .unwrap();
    publish(&bus, 0..1).await;
    handler.reaches(1).await;
    assert_eq!(tries.load(SeqCst), 2);
}

#[tokio::test]
async fn a_cursor_beyond_the_end_of_a_synced_topic_is_refused_with_the_file() {
    let disk = FaultyLayer::new();
    let bus = open(&disk, options());
    let handler = Counter::new(|_| Handled::Ok);
    let subscription = bus
        .subscribe(TOPIC, "group", handler.clone())
        .await
        .unwrap();
    publish(&bus, 0..3).await;
    handler.reaches(3).await;
    subscription.shutdown().await;
    bus.close().await;
    let log = Path::new("bus")
        .join(TOPIC)
        .join("00000000000000000000.seg");
    let mut bytes = disk.file(&log).unwrap();
    bytes[512..].fill(0);
    disk.put_file(&log, bytes);
    let error = open(&disk, options())
        .publish(TOPIC, Bytes::new(), Bytes::new())
        .await
        .unwrap_err();
    assert!(matches!(error, PublishError::Failed { .. }));
    let text = error.to_string();
    assert!(
        text.contains("00000000000000000000.seg, byte 512"),
        "{text}"
    );
    assert!(text.contains("group has read up to 3"), "{text}");
}

#[tokio::test]
async fn a_damaged_cursor_is_refused_with_the_file() {
    let disk = FaultyLayer::new();
    let bus = open(&disk, options());
    bus.subscribe(TOPIC, "group", Counter::new(|_| Handled::Ok))
        .await
        .unwrap()
        .shutdown()
        .await;
    bus.close().await;
    let file = Path::new("bus").join(TOPIC).join("group.cursor");
    disk.put_file(&file, b"flare-cursor 1 7 00000000\n".to_vec());
    let bus = open(&disk, options());
    match bus
        .subscribe(TOPIC, "group", Counter::new(|_| Handled::Ok))
        .await
    {
        Err(SubscribeError::Failed { reason, .. }) => {
            assert!(reason.contains("group.cursor"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_group_of_a_lazily_synced_topic_goes_back_to_its_end_after_a_power_loss() {
    let disk = FaultyLayer::new();
    let lazy = TopicOptions {
        durability: Durability::Lazy,
        ..TopicOptions::default()
    };
    let options = || {
        let mut options = options();
        options.topics.insert(TOPIC.to_owned(), lazy);
        options.log.sync_after = DEADLINE;
        options
    };
    let bus = open(&disk, options());
    let handler = Counter::new(|_| Handled::Ok);
    let _subscription = bus
        .subscribe(TOPIC, "group", handler.clone())
        .await
        .unwrap();
    publish(&bus, 0..3).await;
    handler.reaches(3).await;
    until("its position is kept", async || {
        bus.lowest_cursor(TOPIC).await.unwrap() == Some(3)
    })
    .await;
    let disk = disk.total_power_loss();
    let bus = open(&disk, options());
    assert_eq!(bus.lowest_cursor(TOPIC).await.unwrap(), Some(0));
    // Offsets are given again: had the position stayed, the group would miss these.
    publish(&bus, 0..5).await;
    let handler = Counter::new(|_| Handled::Ok);
    let _subscription = bus
        .subscribe(TOPIC, "group", handler.clone())
        .await
        .unwrap();
    handler.reaches(5).await;
}

#[tokio::test]
async fn records_removed_by_retention_are_passed_over_loudly() {
    let disk = FaultyLayer::new();
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut options = options();
    options.other_topics.retention = Retention {
        max_bytes: Some(2 * 4096),
        ..Retention::default()
    };
    let bus = open(&disk, options);
    bus.subscribe(TOPIC, "group", Counter::new(|_| Handled::Ok))
        .await
        .unwrap()
        .shutdown()
        .await;
    publish(&bus, 0..30).await;
    let first = Arc::new(Mutex::new(None));
    let noted = first.clone();
    let handler = Counter::new(move |batch| {
        noted.lock().unwrap().get_or_insert(batch[0].position);
        Handled::Ok
    });
    let _subscription = bus
        .subscribe(TOPIC, "group", handler.clone())
        .await
        .unwrap();
    handler.reaches(1).await;
    let floor = first.lock().unwrap().unwrap();
    assert!(floor > 0);
    let line =
        format!("flare_event_bus_passed_over_total{{topic=\"{TOPIC}\",group=\"group\"}} {floor}");
    assert!(metrics.render().contains(&line), "{}", metrics.render());
}

#[tokio::test]
async fn lag_is_shown_and_falls_to_zero() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let bus = open(&FaultyLayer::new(), options());
    publish(&bus, 0..9).await;
    let held = Arc::new(AtomicUsize::new(1));
    let holding = held.clone();
    let handler = Counter::new(move |_| {
        if holding.load(SeqCst) == 1 {
            Handled::Retry
        } else {
            Handled::Ok
        }
    });
    let _subscription = bus.subscribe(TOPIC, "group", handler).await.unwrap();
    let shows = async |lag: usize| {
        metrics.render().contains(&format!(
            "flare_event_bus_lag{{topic=\"{TOPIC}\",group=\"group\"}} {lag}\n"
        ))
    };
    until("a lag of 9", async || shows(9).await).await;
    held.store(0, SeqCst);
    until("no lag", async || shows(0).await).await;
}

#[tokio::test]
async fn a_second_bus_in_the_same_folder_is_refused() {
    let disk = FaultyLayer::new();
    let bus = open(&disk, options());
    let second = || EmbeddedEventBus::open(Arc::new(disk.clone()), Path::new("bus"), options());
    assert!(matches!(second().err(), Some(LogError::Locked { .. })));
    publish(&bus, 0..1).await;
    bus.close().await;
    assert!(matches!(
        bus.publish(TOPIC, Bytes::new(), Bytes::new()).await,
        Err(PublishError::Closed(_))
    ));
    assert!(matches!(
        bus.publish("another", Bytes::new(), Bytes::new()).await,
        Err(PublishError::Closed(_))
    ));
    second().unwrap();
}

#[tokio::test]
async fn whatever_a_topic_takes_fits_its_dead_letters() {
    let bus = open(&FaultyLayer::new(), options());
    let largest = (0..4096)
        .rev()
        .find(|bytes| 5 + bytes <= 4096 - 512 - 40 - 4 - 1_280)
        .unwrap();
    let too_large = Bytes::from(vec![1; largest + 1]);
    assert!(matches!(
        bus.publish(TOPIC, Bytes::new(), too_large).await,
        Err(PublishError::TooLarge { .. })
    ));
    bus.publish(TOPIC, Bytes::new(), Bytes::from(vec![1; largest]))
        .await
        .unwrap();
    let reject = Counter::new(|_| Handled::Reject {
        index: 0,
        reason: "x".repeat(5_000),
    });
    let _reject = bus
        .subscribe(TOPIC, &"g".repeat(128), reject)
        .await
        .unwrap();
    let letters = Counter::new(|_| Handled::Ok);
    let _letters = bus
        .subscribe(&format!("{TOPIC}.dlq"), "letters", letters.clone())
        .await
        .unwrap();
    letters.reaches(1).await;
}

/// A view of nothing.
struct Empty;

#[async_trait]
impl TopicView for Empty {
    async fn read(&self, from: u64, _max_records: usize) -> Result<ViewRead, ViewError> {
        Ok(ViewRead {
            records: Vec::new(),
            next: from,
        })
    }

    fn floor(&self) -> u64 {
        7
    }

    fn end(&self) -> u64 {
        7
    }

    async fn wait_beyond(&self, _position: u64) -> Result<(), ViewError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_declared_view_may_be_subscribed_to_before_it_is_registered() {
    let mut options = options();
    options.views.insert("flare.test.view".to_owned());
    let disk = FaultyLayer::new();
    let bus = open(&disk, options.clone());
    let handler = Counter::new(|_| Handled::Ok);
    let subscription = bus
        .subscribe("flare.test.view", "group", handler)
        .await
        .unwrap();
    assert!(matches!(
        bus.publish("flare.test.view", Bytes::new(), Bytes::new())
            .await,
        Err(PublishError::View(_))
    ));
    assert_eq!(bus.lowest_cursor("flare.test.view").await.unwrap(), Some(0));
    bus.register_view("flare.test.view", Arc::new(Empty))
        .await
        .unwrap();
    until("the group begins at the floor", async || {
        bus.lowest_cursor("flare.test.view").await.unwrap() == Some(7)
    })
    .await;
    subscription.shutdown().await;
    bus.close().await;
    let bus = open(&disk, options);
    assert_eq!(bus.lowest_cursor("flare.test.view").await.unwrap(), Some(7));
}

#[tokio::test]
async fn a_topic_with_records_of_its_own_cannot_become_a_view() {
    let bus = open(&FaultyLayer::new(), options());
    publish(&bus, 0..1).await;
    assert!(matches!(
        bus.register_view(TOPIC, Arc::new(Empty)).await,
        Err(RegisterError::Taken(_))
    ));
}
