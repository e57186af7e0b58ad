//! Redis as this process reaches it: broken connections, silence, flushes, restarts and fail-overs, against real servers.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "registry/relay.rs"]
mod relay;

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use flare_server_core::{
    clock::IdSource,
    config::Secret,
    redis::{Redis, RedisConfig, RedisError},
};
use relay::Relay;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(15);

/// Where the tests' server answers, as host:port.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' servers are told by variables"
)]
fn server() -> String {
    let told = std::env::var("FLARE_TEST_REDIS").expect(
        "FLARE_TEST_REDIS names no server, such as redis://127.0.0.1:26379: `cargo xtask infra up` starts one",
    );
    told.trim_start_matches("redis://")
        .trim_end_matches('/')
        .to_owned()
}

fn config(url: &str) -> RedisConfig {
    RedisConfig {
        url: Secret::new(url),
        prefix: format!("test-{}", IdSource::from_os().random_u64()),
        response_ms: 500,
        check_ms: 50,
        ..RedisConfig::default()
    }
}

fn open(at: &str) -> Redis {
    open_as(&config(&format!("redis://{at}")))
}

fn open_as(config: &RedisConfig) -> Redis {
    Redis::open(config, Arc::new(IdSource::from_os())).unwrap()
}

async fn ping(redis: &Redis) -> Result<String, RedisError> {
    redis.command(&redis::cmd("PING")).await
}

async fn answers(redis: &Redis) {
    let pong = async {
        let mut tries = tokio::time::interval(Duration::from_millis(20));
        while ping(redis).await.is_err() {
            tries.tick().await;
        }
    };
    timeout(SOON, pong).await.expect("redis answers");
}

/// The epoch that is not this one.
async fn epoch_after(redis: &Redis, before: Option<u64>) -> u64 {
    let mut epochs = redis.epochs();
    let other = epochs.wait_for(|it| it.is_some() && *it != before);
    let other = timeout(SOON, other).await.expect("another epoch").unwrap();
    other.unwrap()
}

/// A server of one test, which it may kill.
struct Own {
    child: Child,
    at: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Own {
    /// It answers when this returns.
    async fn start(at: Option<SocketAddr>) -> Self {
        let free = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let at = at.unwrap_or_else(free);
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args([
                "--port",
                &at.port().to_string(),
                "--bind",
                "127.0.0.1",
                "--dir",
            ])
            .arg(folder.path())
            .args([
                "--save",
                "",
                "--appendonly",
                "no",
                "--repl-diskless-sync-delay",
                "0",
            ])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: `cargo xtask infra up` does it");
        let own = Self {
            child,
            at,
            _folder: folder,
        };
        let listens = async {
            let mut looks = tokio::time::interval(Duration::from_millis(5));
            while tokio::net::TcpStream::connect(at).await.is_err() {
                looks.tick().await;
            }
        };
        timeout(SOON, listens).await.expect("it listens");
        own
    }

    fn url(&self) -> String {
        format!("redis://{}", self.at)
    }

    /// At once; returns where it was.
    fn kill(self) -> SocketAddr {
        self.at
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_broke_is_made_again() {
    let relay = Relay::to(&server()).await;
    let redis = open(&relay.at);
    answers(&redis).await;
    let epoch = epoch_after(&redis, None).await;
    relay.cut(true);
    let refused = ping(&redis).await.unwrap_err();
    assert!(
        matches!(refused, RedisError::Unavailable { .. }),
        "{refused}"
    );
    relay.cut(false);
    answers(&redis).await;
    assert_eq!(*redis.epochs().borrow(), Some(epoch), "nothing was lost");
}

#[tokio::test]
async fn while_redis_is_away_nobody_waits_for_long() {
    let relay = Relay::to(&server()).await;
    let redis = open(&relay.at);
    answers(&redis).await;
    relay.cut(true);
    let begun = Instant::now();
    for _ in 0..200 {
        ping(&redis).await.unwrap_err();
    }
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_any_more_is_given_up_and_connected_to_anew() {
    let own = Own::start(None).await;
    let redis = open_as(&config(&own.url()));
    answers(&redis).await;
    let stop = |signal: &str| {
        let pid = own.child.id().to_string();
        let done = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(done.success());
    };
    stop("-STOP");
    let begun = Instant::now();
    let refused = ping(&redis).await.unwrap_err();
    assert!(
        matches!(refused, RedisError::Unavailable { .. }),
        "{refused}"
    );
    assert!(begun.elapsed() < Duration::from_secs(3));
    stop("-CONT");
    answers(&redis).await;
}

#[tokio::test]
async fn a_flush_begins_another_epoch_and_so_does_a_restart() {
    let own = Own::start(None).await;
    let settings = config(&own.url());
    let (redis, other) = (open_as(&settings), open_as(&settings));
    let first = epoch_after(&redis, None).await;
    assert_eq!(epoch_after(&other, None).await, first, "all see the same");
    let _: () = redis.command(&redis::cmd("FLUSHALL")).await.unwrap();
    let second = epoch_after(&redis, Some(first)).await;
    assert_eq!(epoch_after(&other, Some(first)).await, second);
    let again = Own::start(Some(own.kill())).await;
    let third = epoch_after(&redis, Some(second)).await;
    assert_eq!(epoch_after(&other, Some(second)).await, third);
    drop(again);
}

#[tokio::test]
async fn a_replica_that_takes_over_begins_another_epoch() {
    let (primary, replica) = (Own::start(None).await, Own::start(None).await);
    let at = Relay::to(&primary.at.to_string()).await;
    let mut settings = config(&format!("redis://{}", at.at));
    let redis = open_as(&settings);
    let first = epoch_after(&redis, None).await;

    settings.url = Secret::new(replica.url());
    let beside = redis::Client::open(replica.url()).unwrap();
    let mut beside = beside.get_multiplexed_async_connection().await.unwrap();
    let mut ask = redis::cmd("REPLICAOF");
    ask.arg("127.0.0.1").arg(primary.at.port());
    ask.exec_async(&mut beside).await.unwrap();
    let has_it = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            let known: Option<String> = redis::cmd("GET")
                .arg(redis.epoch_key())
                .query_async(&mut beside)
                .await
                .unwrap();
            if known.is_some_and(|it| it.starts_with(&first.to_string())) {
                return;
            }
            looks.tick().await;
        }
    };
    timeout(SOON, has_it).await.expect("replicated");

    // A replica takes no writes: whoever reaches it waits for its promotion.
    let moved = open_as(&settings);
    let written: Result<(), _> = moved
        .command(redis::cmd("SET").arg(moved.key("x")).arg(1))
        .await;
    assert!(
        matches!(written, Err(RedisError::Unavailable { .. })),
        "{written:?}"
    );
    assert_eq!(*moved.epochs().borrow(), None);
    primary.kill();
    let mut promote = redis::cmd("REPLICAOF");
    promote
        .arg("NO")
        .arg("ONE")
        .exec_async(&mut beside)
        .await
        .unwrap();
    let second = epoch_after(&moved, None).await;
    assert_ne!(second, first, "what the replica had not got is lost");
}

#[tokio::test]
async fn a_password_is_said_nowhere() {
    let own = Own::start(None).await;
    let plain = open_as(&config(&own.url()));
    answers(&plain).await;
    let mut set = redis::cmd("CONFIG");
    let set = set.arg("SET").arg("requirepass").arg("opensesame");
    let _: () = plain.command(set).await.unwrap();
    let with = |password: &str| open_as(&config(&format!("redis://:{password}@{}", own.at)));
    answers(&with("opensesame")).await;
    let wrong = ping(&with("letmein")).await.unwrap_err();
    let said = format!("{wrong} {wrong:?}");
    assert!(said.contains(&own.at.to_string()), "{said}");
    assert!(!said.contains("letmein"), "{said}");
    let nobody = ping(&open("letmein@127.0.0.1:1")).await.unwrap_err();
    let said = format!("{nobody} {nobody:?}");
    assert!(
        said.contains("127.0.0.1:1") && !said.contains("letmein"),
        "{said}"
    );
}
