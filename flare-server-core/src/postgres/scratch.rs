//! A place of one's own in a real server, for tests of adapters.

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use super::PostgresConfig;
use crate::config::Secret;

/// Names the server of the tests, as a url.
pub const VARIABLE: &str = "FLARE_TEST_POSTGRES";

/// Schemas that nobody else has, in the server that [`VARIABLE`] names. They go when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    config: PostgresConfig,
}

impl Scratch {
    /// A place that is still empty.
    ///
    /// # Errors
    /// If no server is named, or it does not answer. Says what to do.
    pub async fn new() -> Result<Self, String> {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests have no configuration: this is where they learn of the server"
        )]
        let url = std::env::var(VARIABLE).map_err(|_| {
            format!("{VARIABLE} is not set: `cargo xtask infra up` starts PostgreSQL and says how to set it")
        })?;
        let asked = async {
            let mut connection = url.parse::<PgConnectOptions>()?.connect().await?;
            let name: String =
                sqlx::query_scalar("SELECT left(replace(gen_random_uuid()::text, '-', ''), 16)")
                    .fetch_one(&mut connection)
                    .await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>(name)
        };
        let name = asked
            .await
            .map_err(|error| format!("the server of {VARIABLE}: {error}"))?;
        Ok(Self {
            config: PostgresConfig {
                url: Secret::new(url),
                schema_prefix: format!("test_{name}_"),
                max_connections: 8,
                ..PostgresConfig::default()
            },
        })
    }

    /// How to reach it.
    pub const fn config(&self) -> &PostgresConfig {
        &self.config
    }

    /// A connection that looks into the schema of a service.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn connection(&self, service: &str) -> Result<PgConnection, sqlx::Error> {
        let options = self.config.url.expose().parse::<PgConnectOptions>()?;
        let schema = format!("{}{service}", self.config.schema_prefix);
        options.options([("search_path", schema)]).connect().await
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let config = self.config.clone();
        // The test's own runtime may be ending.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.map_err(|error| error.to_string()).and_then(|it| {
                it.block_on(remove(&config))
                    .map_err(|error| error.to_string())
            })
        });
        if let Ok(Err(error)) = removed.join() {
            tracing::warn!(
                error,
                prefix = self.config.schema_prefix,
                "schemas of a test stay"
            );
        }
    }
}

async fn remove(config: &PostgresConfig) -> Result<(), sqlx::Error> {
    let options = config.url.expose().parse::<PgConnectOptions>()?;
    let mut connection = options.connect().await?;
    let schemas: Vec<String> = sqlx::query_scalar(
        "SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname::text, $1)",
    )
    .bind(&config.schema_prefix)
    .fetch_all(&mut connection)
    .await?;
    for schema in schemas {
        let statement = sqlx::AssertSqlSafe(format!("DROP SCHEMA \"{schema}\" CASCADE"));
        sqlx::query(statement).execute(&mut connection).await?;
    }
    connection.close().await
}
