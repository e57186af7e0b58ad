//! A member whose process is killed.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use flare_server_core::event_bus::{BatchHandler, BusRecord, EventBus, Handled, KafkaEventBus};

use crate::kafka::{DEADLINE, TOPIC, bus_with_topic, config, quick};
use crate::recorder::{Recorder, publish};

/// Set for the process that is killed: the prefix of its names.
const MEMBER: &str = "FLARE_TEST_KAFKA_MEMBER";
const KEYS: u64 = 40;
/// After a kill, others have its lanes by then: the session, and the joining.
const SESSION: Duration = Duration::from_secs(12);

/// Says that it was given something, and never answers.
struct Stuck;

#[async_trait]
impl BatchHandler for Stuck {
    async fn handle(&self, _: &[BusRecord]) -> Handled {
        println!("in hand");
        std::future::pending().await
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_member_had_comes_to_another_within_its_session() {
    #[expect(
        clippy::disallowed_methods,
        reason = "tells the process that is killed from the one that kills it"
    )]
    let member = std::env::var(MEMBER);
    if let Ok(prefix) = member {
        let bus = KafkaEventBus::open(&config(prefix), quick()).unwrap();
        let _subscription = bus
            .subscribe(TOPIC, "group", Arc::new(Stuck))
            .await
            .unwrap();
        std::future::pending::<()>().await;
    }
    let (config, bus) = bus_with_topic().await;
    publish(&bus, 0..KEYS, KEYS).await;
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "killed::what_a_killed_member_had_comes_to_another_within_its_session",
        ])
        .env(MEMBER, &config.prefix)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Killed(child.unwrap());
    let mut output = child.0.stdout.take().unwrap();
    let has_some = tokio::task::spawn_blocking(move || {
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !said.ends_with(b"in hand") && output.read(&mut byte).unwrap() > 0 {
            said.push(byte[0]);
        }
        assert!(
            said.ends_with(b"in hand"),
            "{}",
            String::from_utf8_lossy(&said)
        );
    });
    tokio::time::timeout(DEADLINE, has_some)
        .await
        .unwrap()
        .unwrap();
    let begun = Instant::now();
    drop(child);
    let recorder = Recorder::new();
    let _subscription = bus
        .subscribe(TOPIC, "group", recorder.clone())
        .await
        .unwrap();
    recorder.reaches(KEYS as usize).await;
    let taken = begun.elapsed();
    let mut numbers = recorder.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..KEYS).collect::<Vec<_>>());
    assert!(taken < SESSION, "it took {taken:?}");
}
