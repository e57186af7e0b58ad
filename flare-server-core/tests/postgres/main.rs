//! PostgreSQL as this process reaches it, on a real server.
//!
//! `FLARE_TEST_POSTGRES` names it; `cargo xtask infra up` starts one.

#![expect(clippy::expect_used, reason = "tests: what fails is the test")]

mod link;

use std::{pin::pin, time::Duration};

use flare_server_core::{
    config::Secret,
    postgres::{Postgres, PostgresConfig, PostgresError, is_transient, scratch::Scratch},
};
use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

use crate::link::Link;

/// Long past any of this process; reached only by a test that fails.
const DEADLINE: Duration = Duration::from_secs(30);

fn migrations(versions: i64) -> Migrator {
    let statements = [
        "CREATE TABLE line (number bigint PRIMARY KEY, text text NOT NULL)",
        "ALTER TABLE line ADD COLUMN more text",
    ];
    let migrations = (1..=versions).zip(statements).map(|(version, statement)| {
        let kind = MigrationType::Simple;
        Migration::new(
            version,
            "step".into(),
            kind,
            statement.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

async fn scratch() -> Scratch {
    Scratch::new().await.expect("a PostgreSQL server")
}

async fn open(config: &PostgresConfig, versions: i64) -> Result<Postgres, PostgresError> {
    Postgres::open(config, "lines", migrations(versions)).await
}

async fn insert(database: &Postgres, number: i64) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO line (number, text) VALUES ($1, 'text')")
        .bind(number)
        .execute(database.pool());
    database.within(insert).await.map(drop)
}

async fn count(database: &Postgres) -> i64 {
    let counts = async {
        loop {
            let count = sqlx::query_scalar("SELECT count(*) FROM line").fetch_one(database.pool());
            let count: Result<i64, sqlx::Error> = database.within(count).await;
            match count {
                Err(error) if is_transient(&error) => {}
                count => break count.expect("counts"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, counts)
        .await
        .expect("in time")
}

/// Tries until it goes well; what goes wrong before may pass.
async fn insert_at_last(database: &Postgres, number: i64) {
    let tries = async {
        while let Err(error) = insert(database, number).await {
            assert!(is_transient(&error), "{error}");
        }
    };
    tokio::time::timeout(DEADLINE, tries)
        .await
        .expect("in time");
}

/// The server's process of one of the connections. One that was ended a moment ago is taken for alive until it is asked.
async fn backend_pid(database: &Postgres) -> i32 {
    let asks = async {
        loop {
            let asked = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(database.pool());
            match asked.await {
                Ok(pid) => return pid,
                Err(error) => assert!(is_transient(&error), "{error}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, asks).await.expect("in time")
}

/// The same server, by another way or with other settings.
fn with_url(config: &PostgresConfig, change: impl Fn(&str) -> String) -> PostgresConfig {
    PostgresConfig {
        url: Secret::new(change(config.url.expose())),
        ..config.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_processes_that_start_together_one_migrates_and_services_do_not_see_each_other() {
    let scratch = scratch().await;
    let opening: Vec<_> = (0..6)
        .map(|number| {
            let config = scratch.config().clone();
            tokio::spawn(async move {
                let database = open(&config, 2).await.expect("opens");
                insert(&database, number).await.expect("writes");
                database.close().await;
            })
        })
        .collect();
    for it in opening {
        it.await.expect("ends");
    }
    let database = open(scratch.config(), 2).await.expect("opens");
    assert_eq!(count(&database).await, 6);
    let other = Postgres::open(scratch.config(), "others", migrations(1)).await;
    assert_eq!(count(&other.expect("opens")).await, 0);
}

#[tokio::test]
async fn tables_of_a_later_version_are_refused_and_those_of_an_earlier_one_brought_up_to_date() {
    let scratch = scratch().await;
    open(scratch.config(), 1).await.expect("opens");
    open(scratch.config(), 2).await.expect("opens");
    let refused = open(scratch.config(), 1).await.expect_err("is refused");
    let said = refused.to_string();
    assert!(
        said.contains("schema 2, which only a later version knows"),
        "{said}"
    );
    assert!(said.contains("lines"), "{said}");
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_commits_is_refused_by_name() {
    let scratch = scratch().await;
    let careless = with_url(scratch.config(), |url| {
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}options=-c%20synchronous_commit%3Doff")
    });
    let refused = open(&careless, 1).await.expect_err("is refused");
    assert!(
        refused.to_string().contains("synchronous_commit is off"),
        "{refused}"
    );
    let accepted = PostgresConfig {
        allow_unsafe_durability: true,
        ..careless
    };
    open(&accepted, 1).await.expect("opens");
}

#[tokio::test]
async fn who_cannot_be_reached_or_refuses_us_is_named_without_the_password() {
    let scratch = scratch().await;
    let config = PostgresConfig {
        url: Secret::new("postgres://flare:geheim@127.0.0.1:1/im"),
        connect_timeout_ms: 300,
        ..scratch.config().clone()
    };
    let refused = open(&config, 1).await.expect_err("nobody is there");
    let said = format!("{refused} {refused:?}");
    assert!(
        said.contains("127.0.0.1:1/im") && !said.contains("geheim"),
        "{said}"
    );
    // Nothing to wait for: it will not be there later.
    let config = with_url(scratch.config(), |url| {
        let (server, _) = url.rsplit_once('/').expect("names a database");
        format!("{server}/no_such_database")
    });
    let refused = tokio::time::timeout(Duration::from_secs(10), open(&config, 1)).await;
    let refused = refused.expect("at once").expect_err("is refused");
    assert!(
        refused.to_string().contains("no_such_database"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_server_that_comes_later_is_waited_for() {
    let scratch = scratch().await;
    let mut link = Link::to(scratch.config()).await;
    let config = link.config.clone();
    link.cut().await;
    let mut opening = pin!(open(&config, 1));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut opening).await;
    assert!(early.is_err(), "nobody was there");
    link.mend().await;
    let opened = tokio::time::timeout(DEADLINE, opening).await;
    opened.expect("in time").expect("opens");
}

#[tokio::test]
async fn a_server_that_stops_during_the_greeting_is_waited_for() {
    let scratch = scratch().await;
    let mut link = Link::to(scratch.config()).await;
    let config = link.config.clone();
    link.cut().await;
    let mut opening = pin!(open(&config, 1));
    tokio::select! {
        opened = &mut opening => panic!("nobody was there: {opened:?}"),
        () = link.hang_up_on_one() => {}
    }
    link.mend().await;
    let opened = tokio::time::timeout(DEADLINE, opening).await;
    opened.expect("in time").expect("opens");
}

#[tokio::test]
async fn connections_that_the_server_ends_are_made_again() {
    let scratch = scratch().await;
    let database = open(scratch.config(), 1).await.expect("opens");
    insert(&database, 1).await.expect("writes");
    let mut beside = scratch.connection("lines").await.expect("connects");
    for number in 2..6 {
        let pid = backend_pid(&database).await;
        // Returns when it has ended.
        sqlx::query("SELECT pg_terminate_backend($1, 10000)")
            .bind(pid)
            .execute(&mut beside)
            .await
            .expect("ends it");
        insert_at_last(&database, number).await;
    }
    assert_eq!(count(&database).await, 5);
}

#[tokio::test]
async fn behind_a_link_that_is_silent_operations_end_and_others_go_on_when_it_is_mended() {
    let scratch = scratch().await;
    let mut link = Link::to(scratch.config()).await;
    let config = PostgresConfig {
        max_connections: 2,
        acquire_timeout_ms: 500,
        statement_timeout_ms: 500,
        ..link.config.clone()
    };
    let database = open(&config, 1).await.expect("opens");
    insert(&database, 1).await.expect("writes");
    link.silence(true);
    // More than there are connections: none of them is lost to the others.
    for _ in 0..4 {
        let ended = tokio::time::timeout(Duration::from_secs(5), insert(&database, 2)).await;
        let error = ended.expect("ends").expect_err("is not answered");
        assert!(is_transient(&error), "{error}");
    }
    link.silence(false);
    link.cut().await;
    link.mend().await;
    insert_at_last(&database, 3).await;
}

#[tokio::test]
async fn locks_of_a_process_that_was_stopped_in_the_middle_are_given_to_others() {
    let scratch = scratch().await;
    let config = PostgresConfig {
        statement_timeout_ms: 700,
        lock_timeout_ms: 300,
        ..scratch.config().clone()
    };
    let stopped = open(&config, 1).await.expect("opens");
    let other = open(&config, 1).await.expect("opens");
    insert(&other, 1).await.expect("writes");
    let mut tx = stopped.begin().await.expect("begins");
    sqlx::query("SELECT 1 FROM line WHERE number = 1 FOR UPDATE")
        .execute(&mut *tx)
        .await
        .expect("locks");
    let update = async || {
        let update = sqlx::query("UPDATE line SET text = 'other' WHERE number = 1");
        other.within(update.execute(other.pool())).await
    };
    let error = update().await.expect_err("waits in vain");
    assert!(is_transient(&error), "{error}");
    let tries = async { while update().await.is_err() {} };
    tokio::time::timeout(DEADLINE, tries)
        .await
        .expect("in time");
    let late = sqlx::query("UPDATE line SET text = 'late' WHERE number = 1");
    let error = late.execute(&mut *tx).await.expect_err("its time is over");
    assert!(is_transient(&error), "{error}");
}
