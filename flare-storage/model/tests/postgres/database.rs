//! A database of a test's own, dropped with it: of a database all connections can be told, and ended.

use std::{
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use async_trait::async_trait;
use flare_server_core::{
    config::Secret,
    postgres::{PostgresConfig, scratch::VARIABLE},
};
use flare_storage_model::{
    MessageStore, PostgresMessageStore, PostgresStoreOptions, contract::Subject,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions,
};

static NEXT: AtomicU64 = AtomicU64::new(1);

fn server() -> PgConnectOptions {
    #[expect(
        clippy::disallowed_methods,
        reason = "not a setting: where the tests find the server"
    )]
    let url = env::var(VARIABLE);
    let url = url.unwrap_or_else(|_| {
        panic!(
            "{VARIABLE} is not set: `cargo xtask infra up` starts PostgreSQL and says how to set it"
        )
    });
    url.parse().expect("it is the url of a database")
}

/// An empty database.
pub(crate) struct Database {
    name: String,
}

impl Database {
    pub(crate) async fn create() -> Arc<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("flare_store_{}_{number}", std::process::id());
        let mut connection = server().connect().await.expect("PostgreSQL answers");
        let statement = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        connection.execute(statement).await.expect("it is made");
        connection.close().await.expect("it ends");
        Arc::new(Self { name })
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        server().database(&self.name)
    }

    /// A connection beside the store's, that sees the store's tables.
    pub(crate) async fn connect(&self) -> PgConnection {
        let options = self.options().options([("search_path", "message_store")]);
        options.connect().await.expect("PostgreSQL answers")
    }

    pub(crate) fn config(&self) -> PostgresConfig {
        config(&self.options())
    }

    pub(crate) async fn open(&self) -> PostgresMessageStore {
        open(&self.config()).await
    }

    /// Ends all connections to the database but this one, and says how many there were.
    pub(crate) async fn cut(&self, connection: &mut PgConnection) -> i64 {
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let (ended,): (i64,) = sqlx::query_as(ended)
            .fetch_one(connection)
            .await
            .expect("a superuser's right");
        ended
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The test's own runtime is about to end.
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let mut connection = server().connect().await.expect("PostgreSQL answers");
                connection.execute(AssertSqlSafe(statement)).await
            })
        });
        let dropped = dropping.join();
        if !thread::panicking() {
            dropped.expect("no panic").expect("it is dropped");
        }
    }
}

pub(crate) fn config(options: &PgConnectOptions) -> PostgresConfig {
    PostgresConfig {
        url: Secret::new(options.to_url_lossy().as_str()),
        max_connections: 6,
        ..PostgresConfig::default()
    }
}

pub(crate) async fn open(config: &PostgresConfig) -> PostgresMessageStore {
    let opened = PostgresMessageStore::open(config, PostgresStoreOptions::default()).await;
    opened.expect("the store opens")
}

/// A store in a new database.
pub(crate) async fn fresh() -> Arc<dyn Subject> {
    let database = Database::create().await;
    let store = Arc::new(database.open().await);
    Arc::new(OnPostgres {
        store: Mutex::new(Some(store)),
        database,
    })
}

struct OnPostgres {
    store: Mutex<Option<Arc<PostgresMessageStore>>>,
    database: Arc<Database>,
}

#[async_trait]
impl Subject for OnPostgres {
    fn store(&self) -> Arc<dyn MessageStore> {
        let store = self.store.lock().expect("no test panics here");
        Arc::clone(store.as_ref().expect("it is open")) as _
    }

    async fn crash(&self) -> Arc<dyn MessageStore> {
        let old = self.store.lock().expect("no test panics here").take();
        // Nobody closes it, and no connection of it ends as it ought to.
        drop(old);
        let mut connection = self.database.connect().await;
        self.database.cut(&mut connection).await;
        let new = Arc::new(self.database.open().await);
        *self.store.lock().expect("no test panics here") = Some(Arc::clone(&new));
        new
    }
}
