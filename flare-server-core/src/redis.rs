//! How this process reaches Redis: one connection that is made again when it breaks, and the epoch, which says when Redis has lost what it held.

use std::{sync::Arc, time::Duration};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline,
    Script, ScriptInvocation, ServerErrorKind, aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::servers::RedisConfig;
use crate::{clock::IdSource, config::Secret};

/// Between attempts to connect, at first and in the long run. Commands in between fail at once.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Commands of this process that wait for their answers.
const IN_FLIGHT: usize = 1_024;
/// Commands that wait to be sent.
const QUEUE: usize = 256;

/// Defines `epoch_of(key, fresh)` for scripts: the epoch as it is now, and a new one if the server is not what it was. Its key is
/// [`Redis::epoch_key`]; `fresh` comes from [`Redis::fresh`].
pub const EPOCH_LUA: &str = include_str!("redis/epoch.lua");

/// Why Redis did not do it. Names the server, never how one signs in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RedisError {
    /// The configuration names no server.
    #[error("redis.url is not redis://[user:password@]host[:port][/database]")]
    Url,
    /// It does not answer; it may later. What was asked for may have been done.
    #[error("redis at {at} is unavailable: {why}")]
    Unavailable {
        /// Host and port.
        at: String,
        /// Why.
        why: String,
    },
    /// It does not do this.
    #[error("redis at {at} refuses: {why}")]
    Refused {
        /// Host and port.
        at: String,
        /// Why.
        why: String,
    },
}

/// A Redis server. Clones share one connection.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
    _end: Arc<DropGuard>,
}

struct Shared {
    client: Client,
    at: String,
    prefix: String,
    options: AsyncConnectionConfig,
    ids: Arc<IdSource>,
    link: Mutex<Link>,
    epochs: watch::Sender<Option<u64>>,
    epoch: Script,
}

struct Link {
    connection: Option<MultiplexedConnection>,
    /// How many connections there have been.
    generation: u64,
    failed: Option<(RedisError, Instant)>,
    pauses: ExponentialBackoff,
}

fn client(url: &Secret) -> Result<Client, RedisError> {
    if !url.expose().starts_with("redis://") {
        return Err(RedisError::Url);
    }
    let info = url.expose().into_connection_info();
    // Else a question in two packets waits for the delayed acknowledgement of the first, 40 ms.
    let settings = TcpSettings::default().set_nodelay(true);
    info.and_then(|it| Client::open(it.set_tcp_settings(settings)))
        .map_err(|_| RedisError::Url)
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(SHORTEST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times()
        .build()
}

impl Redis {
    /// Begins to look at the server's epoch, whether it answers already or not.
    ///
    /// # Errors
    /// If the configuration names no server.
    pub fn open(config: &RedisConfig, ids: Arc<IdSource>) -> Result<Self, RedisError> {
        let client = client(&config.url)?;
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(config.connect_ms.into())))
            .set_response_timeout(Some(Duration::from_millis(config.response_ms.into())))
            .set_pipeline_buffer_size(QUEUE)
            .set_concurrency_limit(IN_FLIGHT);
        let shared = Arc::new(Shared {
            at: client.get_connection_info().addr().to_string(),
            client,
            prefix: config.prefix.clone(),
            options,
            ids,
            link: Mutex::new(Link {
                connection: None,
                generation: 0,
                failed: None,
                pauses: pauses(),
            }),
            epochs: watch::Sender::new(None),
            epoch: Script::new(&format!("{EPOCH_LUA}return epoch_of(KEYS[1], ARGV[1])")),
        });
        let end = CancellationToken::new();
        let every = Duration::from_millis(config.check_ms.into());
        let (until_end, looking) = (end.clone(), Arc::clone(&shared));
        tokio::spawn(async move { until_end.run_until_cancelled(looking.look(every)).await });
        Ok(Self {
            shared,
            _end: Arc::new(end.drop_guard()),
        })
    }

    /// The key of this installation that is called `name`. All of them stand in one slot.
    pub fn key(&self, name: &str) -> String {
        self.shared.key(name)
    }

    /// The epoch's key.
    pub fn epoch_key(&self) -> String {
        self.shared.key("epoch")
    }

    /// A number for `epoch_of` and the like: random, above 0.
    pub fn fresh(&self) -> u64 {
        self.shared.ids.random_u64().max(1)
    }

    /// The epoch, once it is known. It changes when Redis was flushed, restarted or has failed over: what stood there may be lost in part, and
    /// whoever wrote it writes it again.
    pub fn epochs(&self) -> watch::Receiver<Option<u64>> {
        self.shared.epochs.subscribe()
    }

    /// Calls a script.
    ///
    /// # Errors
    /// If Redis does not answer, or does not do it.
    pub async fn script<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        self.shared.script(call).await
    }

    /// Sends a command.
    ///
    /// # Errors
    /// If Redis does not answer, or does not do it.
    pub async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let (generation, mut connection) = self.shared.connection().await?;
        let outcome = command.query_async(&mut connection).await;
        self.shared.judged(generation, outcome).await
    }

    /// Sends commands together.
    ///
    /// # Errors
    /// If Redis does not answer, or does not do one of them.
    pub async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, RedisError> {
        let (generation, mut connection) = self.shared.connection().await?;
        let outcome = pipeline.query_async(&mut connection).await;
        self.shared.judged(generation, outcome).await
    }
}

impl Shared {
    fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.prefix)
    }

    async fn script<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        let (generation, mut connection) = self.connection().await?;
        let outcome = call.invoke_async(&mut connection).await;
        self.judged(generation, outcome).await
    }

    /// The connection, with its number. While Redis is away it is tried again with growing pauses, and in between nobody waits.
    async fn connection(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        let mut link = self.link.lock().await;
        if let Some(connection) = &link.connection {
            return Ok((link.generation, connection.clone()));
        }
        if let Some((error, until)) = &link.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let attempt = self
            .client
            .get_multiplexed_async_connection_with_config(&self.options);
        match attempt.await {
            Ok(connection) => {
                link.generation += 1;
                link.connection = Some(connection.clone());
                link.failed = None;
                link.pauses = pauses();
                Ok((link.generation, connection))
            }
            Err(error) => {
                let error = self.unavailable(&error);
                let pause = link.pauses.next().unwrap_or(LONGEST_PAUSE);
                link.failed = Some((error.clone(), Instant::now() + pause));
                Err(error)
            }
        }
    }

    /// Gives a connection up that is of no use any more: broken, without an answer, or to a server that is not the primary now.
    async fn judged<T>(
        &self,
        generation: u64,
        outcome: Result<T, ::redis::RedisError>,
    ) -> Result<T, RedisError> {
        let error = match outcome {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let is_elsewhere = matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::BusyLoading
            )
        );
        if !(is_elsewhere || error.is_io_error() || error.is_unrecoverable_error()) {
            return Err(RedisError::Refused {
                at: self.at.clone(),
                why: error.to_string(),
            });
        }
        let mut link = self.link.lock().await;
        if link.generation == generation {
            link.connection = None;
        }
        Err(self.unavailable(&error))
    }

    fn unavailable(&self, error: &::redis::RedisError) -> RedisError {
        RedisError::Unavailable {
            at: self.at.clone(),
            why: error.to_string(),
        }
    }

    async fn look(&self, every: Duration) {
        let mut was_there = true;
        let mut looked_at = 0;
        loop {
            match self.epoch_now().await {
                Ok(epoch) => {
                    was_there = true;
                    self.epochs.send_if_modified(|known| {
                        let is_new = *known != Some(epoch);
                        if is_new && known.is_some() {
                            metrics::counter!("flare_redis_losses_total").increment(1);
                            tracing::warn!(redis = %self.at, "redis was flushed, restarted or failed over: what it held is written again");
                        }
                        *known = Some(epoch);
                        is_new
                    });
                    self.look_at_eviction(&mut looked_at).await;
                }
                Err(error) => {
                    if was_there {
                        tracing::warn!(%error, "redis is not reached");
                    }
                    was_there = false;
                }
            }
            sleep(every).await;
        }
    }

    async fn epoch_now(&self) -> Result<u64, RedisError> {
        let mut call = self.epoch.key(self.key("epoch"));
        call.arg(self.ids.random_u64().max(1));
        self.script(&call).await
    }

    /// Once a connection: a server that evicts takes away what nobody writes again.
    async fn look_at_eviction(&self, looked_at: &mut u64) {
        let Ok((generation, mut connection)) = self.connection().await else {
            return;
        };
        if generation == *looked_at {
            return;
        }
        *looked_at = generation;
        let asked: Result<String, _> = ::redis::cmd("INFO")
            .arg("memory")
            .query_async(&mut connection)
            .await;
        let policy = asked.ok().and_then(|memory| eviction(&memory));
        if let Some(policy) = policy {
            tracing::error!(redis = %self.at, %policy, "redis may evict what it holds: devices would be taken for offline; set maxmemory-policy noeviction");
        }
    }
}

/// The policy by which a server would evict, if it has one.
fn eviction(memory: &str) -> Option<String> {
    let policy = memory
        .lines()
        .find_map(|line| line.strip_prefix("maxmemory_policy:"))?;
    (policy != "noeviction").then(|| policy.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::mistakes_of;

    fn with(url: &str) -> RedisConfig {
        RedisConfig {
            url: Secret::new(url),
            ..RedisConfig::default()
        }
    }

    #[test]
    fn no_word_of_how_one_signs_in_is_said() {
        let config = with("redis://alice:opensesame@127.0.0.1:1/x");
        assert!(matches!(client(&config.url), Err(RedisError::Url)));
        let said = format!("{:?} {config:?} {}", mistakes_of(&config), RedisError::Url);
        assert!(
            said.contains("url") && !said.contains("opensesame"),
            "{said}"
        );
    }

    #[test]
    fn no_question_waits_for_an_acknowledgement() {
        let client = client(&Secret::new("redis://127.0.0.1:1")).unwrap();
        assert!(client.get_connection_info().tcp_settings().nodelay());
    }

    #[test]
    fn a_server_that_evicts_is_known_by_its_policy() {
        assert_eq!(eviction("a:1\r\nmaxmemory_policy:noeviction\r\n"), None);
        let evicts = eviction("maxmemory_policy:allkeys-lru\r\nb:2\r\n");
        assert_eq!(evicts.as_deref(), Some("allkeys-lru"));
    }
}
