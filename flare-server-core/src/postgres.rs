//! How this process reaches PostgreSQL, and what it demands of that server.
//!
//! Each service has a schema of its own in one database: its connections look for tables there and nowhere else, and its migrations keep
//! their list there. What is committed must survive a loss of power, so a server that says it does without is refused, whenever a
//! connection is made.

mod config;
pub mod scratch;

use std::{io, sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use futures::FutureExt;
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgPool, Postgres as Dialect, Transaction,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub use config::PostgresConfig;

/// The oldest server that is taken, as it numbers itself.
const MIN_VERSION: i32 = 140_000;
/// A connection that is given back, or was idle for [`TRUSTED`], has to answer within this.
const PATIENCE: Duration = Duration::from_secs(2);
/// A connection that was idle for less is taken without asking whether it lives.
const TRUSTED: Duration = Duration::from_secs(1);
/// Connections that nobody needs are closed after this.
const IDLE: Duration = Duration::from_secs(300);
/// How long a process waits for another one's migration of the same tables.
const MIGRATION_LOCK_MS: u64 = 600_000;

/// Why a service has no database. Names the server and the database, and no password.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The configuration has no url, or one that is none.
    #[error("postgres: the url {0}")]
    Url(String),
    /// It does not answer, or refuses us.
    #[error("postgres at {at}: {source}")]
    Server {
        /// Which.
        at: Arc<str>,
        /// What it says.
        source: sqlx::Error,
    },
    /// It is older than what the tables need.
    #[error("postgres at {at} is of version {}.{}: want 14 or later", version / 10_000, version % 10_000)]
    Old {
        /// Which.
        at: Arc<str>,
        /// As the server numbers itself.
        version: i32,
    },
    /// It may lose what it has committed.
    #[error(
        "postgres at {at} may lose what it has committed: {setting} is off (allow_unsafe_durability takes it all the same)"
    )]
    Unsafe {
        /// Which.
        at: Arc<str>,
        /// The setting that is off.
        setting: &'static str,
    },
    /// It takes no writes.
    #[error("postgres at {at} is a standby: it takes no writes")]
    Standby {
        /// Which.
        at: Arc<str>,
    },
    /// The tables cannot be brought up to this version.
    #[error("postgres at {at}, schema {schema}: {why}")]
    Migration {
        /// Which.
        at: Arc<str>,
        /// Whose tables.
        schema: String,
        /// What is in the way.
        why: String,
    },
}

impl PostgresError {
    /// Whether it may be otherwise when the server has come up, or another one has taken its place.
    fn may_pass(&self) -> bool {
        match self {
            Self::Server { source, .. } => is_transient(source),
            Self::Standby { .. } => true,
            _ => false,
        }
    }
}

/// Tables of one service in PostgreSQL. Clones share one pool of connections.
#[derive(Clone, Debug)]
pub struct Postgres {
    pool: PgPool,
    at: Arc<str>,
    deadline: Duration,
}

impl Postgres {
    /// Waits for the server, checks it, and brings the tables of the service up to this version, in the schema of its name.
    ///
    /// `migrations` is `sqlx::migrate!("migrations/postgres")`; their statements name tables without a schema. Of several processes one
    /// migrates, the others wait for it.
    ///
    /// # Errors
    /// Says what is wrong with the url, the server or the tables.
    pub async fn open(
        config: &PostgresConfig,
        service: &str,
        migrations: Migrator,
    ) -> Result<Self, PostgresError> {
        let options = config.options()?;
        let demands = Arc::new(Demands {
            at: place(&options).into(),
            allow_unsafe: config.allow_unsafe_durability,
        });
        let schema = format!("{}{service}", config.schema_prefix);
        let options = options.options([("search_path", schema.as_str())]);
        migrate(config, &options, &demands, &schema, migrations).await?;
        Ok(Self {
            at: Arc::clone(&demands.at),
            deadline: Duration::from_millis(
                config.acquire_timeout_ms + config.statement_timeout_ms,
            ),
            pool: pool(config, options, demands),
        })
    }

    /// The connections.
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A transaction in which each statement sees what was committed before it (READ COMMITTED).
    pub async fn begin(&self) -> Result<Transaction<'static, Dialect>, sqlx::Error> {
        self.pool.begin().await
    }

    /// Gives an operation up that takes longer than waiting for a connection and one statement may: behind a link that is cut no
    /// statement ends. Whether it wrote is not known then.
    pub async fn within<T, E: From<sqlx::Error>>(
        &self,
        operation: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Ok(outcome) = tokio::time::timeout(self.deadline, operation).await else {
            let why = format!("{} did not answer within {:?}", self.at, self.deadline);
            return Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why)).into());
        };
        outcome
    }

    /// Closes the connections; what was committed is kept.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Whether the same may go well later: the server is away, starting, stopping or without room, or others were in the way. Whether
/// something was written is not known. One that hangs up in the middle of what it says is taken for one that speaks another protocol.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|it| is_transient_state(&it)),
        _ => false,
    }
}

/// By SQLSTATE, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn is_transient_state(state: &str) -> bool {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    // A server that another has taken the place of.
    const READ_ONLY: &str = "25006";
    const IDLE_IN_TRANSACTION: &str = "25P03";
    // Connection, rollback (serialization, deadlock), resources, intervention (shutdown, start, timeout), system (disk).
    const CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];
    [LOCK_NOT_AVAILABLE, READ_ONLY, IDLE_IN_TRANSACTION].contains(&state)
        || CLASSES.iter().any(|class| state.starts_with(class))
}

/// What a server has to be.
#[derive(Debug)]
struct Demands {
    at: Arc<str>,
    allow_unsafe: bool,
}

impl Demands {
    async fn check(&self, connection: &mut PgConnection) -> Result<(), PostgresError> {
        let (version, standby, fsync, full_pages, commits): (i32, bool, String, String, String) =
            sqlx::query_as(
                "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('fsync'),
                     current_setting('full_page_writes'), current_setting('synchronous_commit')",
            )
            .fetch_one(connection)
            .await
            .map_err(self.says())?;
        let at = || Arc::clone(&self.at);
        if version < MIN_VERSION {
            return Err(PostgresError::Old { at: at(), version });
        }
        if standby {
            return Err(PostgresError::Standby { at: at() });
        }
        let settings = [
            ("fsync", fsync),
            ("full_page_writes", full_pages),
            ("synchronous_commit", commits),
        ];
        match settings.into_iter().find(|(_, value)| value == "off") {
            Some((setting, _)) if !self.allow_unsafe => {
                Err(PostgresError::Unsafe { at: at(), setting })
            }
            _ => Ok(()),
        }
    }

    fn says(&self) -> impl Fn(sqlx::Error) -> PostgresError {
        let at = Arc::clone(&self.at);
        move |source| PostgresError::Server {
            at: Arc::clone(&at),
            source,
        }
    }
}

/// The server and the database, for messages.
fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{}/{database}", socket.display()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

fn pool(config: &PostgresConfig, options: PgConnectOptions, demands: Arc<Demands>) -> PgPool {
    PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        .idle_timeout(IDLE)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let demands = Arc::clone(&demands);
            async move {
                let checked = demands.check(connection).await;
                checked.map_err(|error| match error {
                    PostgresError::Server { source, .. } => source,
                    error => sqlx::Error::Configuration(error.into()),
                })
            }
            .boxed()
        })
        .before_acquire(|connection, past| {
            async move {
                match past.idle_for > TRUSTED {
                    true => answers(connection).await,
                    false => Ok(true),
                }
            }
            .boxed()
        })
        .after_release(|connection, _| answers(connection).boxed())
        .connect_lazy_with(options)
}

/// A connection over a link that is cut would neither answer nor end.
async fn answers(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(PATIENCE, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(late) => Err(io::Error::from(late).into()),
    }
}

/// Brings the tables up to date on a connection of its own: a migration may take its time, and its lock goes with the connection.
async fn migrate(
    config: &PostgresConfig,
    options: &PgConnectOptions,
    demands: &Demands,
    schema: &str,
    mut migrations: Migrator,
) -> Result<(), PostgresError> {
    let options = options.clone().options([
        ("statement_timeout", 0),
        ("lock_timeout", MIGRATION_LOCK_MS),
    ]);
    let mut connection = first_connection(config, &options, demands).await?;
    let failed = |error: MigrateError| PostgresError::Migration {
        at: Arc::clone(&demands.at),
        schema: schema.to_owned(),
        why: match error {
            MigrateError::VersionMissing(found) => {
                format!("its tables are of schema {found}, which only a later version knows")
            }
            error => error.to_string(),
        },
    };
    let prepared = begin_schema(&mut connection, schema).await;
    prepared.map_err(|error| failed(error.into()))?;
    // The schema's own lock is held: services need not wait for each other.
    migrations.set_locking(false);
    migrations
        .run_direct(None, &mut connection, false)
        .await
        .map_err(failed)?;
    connection.close().await.map_err(demands.says())
}

/// Waits for a server that is starting, or not there yet.
async fn first_connection(
    config: &PostgresConfig,
    options: &PgConnectOptions,
    demands: &Demands,
) -> Result<PgConnection, PostgresError> {
    let connect = || async {
        let patience = Duration::from_millis(config.acquire_timeout_ms);
        let connected = tokio::time::timeout(patience, async {
            let mut connection = options.connect().await.map_err(demands.says())?;
            demands.check(&mut connection).await?;
            Ok(connection)
        });
        let late = |it| demands.says()(io::Error::from(it).into());
        connected.await.unwrap_or_else(|it| Err(late(it)))
    };
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_total_delay(Some(Duration::from_millis(config.connect_timeout_ms)))
        .without_max_times()
        .with_jitter();
    connect
        .retry(pauses)
        .when(PostgresError::may_pass)
        .notify(|error, _| tracing::debug!(%error, "waiting for the database"))
        .await
}

/// Takes the schema's lock for as long as the connection lives, and makes the schema if it is not there.
async fn begin_schema(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_lock(hashtext('flare migration'), hashtext($1))")
        .bind(schema)
        .execute(&mut *connection)
        .await?;
    let (is_there,): (bool,) =
        sqlx::query_as("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)")
            .bind(schema)
            .fetch_one(&mut *connection)
            .await?;
    // Where somebody else has made it, we need not be allowed to.
    if !is_there {
        let statement = sqlx::AssertSqlSafe(format!("CREATE SCHEMA \"{schema}\""));
        connection.execute(statement).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        let transient = [
            "08006", "40001", "40P01", "53100", "53300", "57014", "57P01", "57P03", "55P03",
            "25006", "25P03", "58030",
        ];
        for state in transient {
            assert!(is_transient_state(state), "{state}");
        }
        for state in [
            "23505", "42P01", "22P02", "28P01", "0A000", "XX001", "25P02",
        ] {
            assert!(!is_transient_state(state), "{state}");
        }
        assert!(is_transient(&sqlx::Error::PoolTimedOut));
        assert!(is_transient(&sqlx::Error::Protocol("cut short".to_owned())));
        assert!(!is_transient(&sqlx::Error::RowNotFound));
    }
}
