//! Servers of the tests.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use flare_server_core::{clock::IdSource, config::Secret, redis::RedisConfig};

/// The one that is there for all tests.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' servers are told by variables"
)]
pub(crate) fn shared() -> String {
    std::env::var("FLARE_TEST_REDIS").expect(
        "FLARE_TEST_REDIS names no server, such as redis://127.0.0.1:26379: `cargo xtask infra up` starts one",
    )
}

/// An installation of its own.
pub(crate) fn config(url: &str) -> RedisConfig {
    RedisConfig {
        url: Secret::new(url),
        prefix: format!("test-{}", IdSource::from_os().random_u64()),
        ..RedisConfig::default()
    }
}

/// A server of one test, which it may kill.
pub(crate) struct Own {
    child: Child,
    pub(crate) at: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Own {
    pub(crate) fn start(at: Option<SocketAddr>) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let at = at.unwrap_or_else(|| free().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", &at.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--repl-diskless-sync-delay", "0", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: `cargo xtask infra up` does it");
        Self {
            child,
            at,
            _folder: folder,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.at)
    }

    /// A connection beside those that are tested.
    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        let connected = async {
            let mut tries = tokio::time::interval(Duration::from_millis(20));
            loop {
                tries.tick().await;
                if let Ok(connection) = client.get_multiplexed_async_connection().await {
                    return connection;
                }
            }
        };
        let connected = tokio::time::timeout(Duration::from_secs(10), connected).await;
        connected.expect("redis answers")
    }

    /// At once; returns where it was.
    pub(crate) fn kill(self) -> SocketAddr {
        self.at
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
