//! Commits to the message store on PostgreSQL: batches of one, a hundred and a thousand events of some 300 bytes, one after the other as the
//! storage-writer of one partition commits them, and of four partitions at once. All is read back at the end: every event must be there,
//! in its place, with its conversation's head.
//!
//! `cargo bench -p flare-storage-model --features cluster --bench postgres_store -- postgres://postgres@127.0.0.1:25432/postgres`; the schema
//! `bench_message_store` of that database is made, and dropped at the end. The server's settings decide with what is measured: a commit
//! is as durable as they say.

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use flare_server_core::{config::Secret, postgres::PostgresConfig};
use flare_storage_model::{
    MessageStore, PostgresMessageStore, PostgresStoreOptions, StoreBatch, contract::Script,
};
use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;

const PREFIX: &str = "bench_";
const CONVERSATIONS: usize = 100;
/// Makes events of 300 bytes with their headers.
const TEXT_BYTES: usize = 205;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args()
        .skip(1)
        .find(|it| !it.starts_with("--"))
        .context("name the database: postgres://user@host:port/database")?;
    let mut beside = PgConnection::connect(&url).await?;
    let drop_schema = "DROP SCHEMA IF EXISTS bench_message_store CASCADE";
    beside.execute(drop_schema).await?;
    let config = PostgresConfig {
        url: Secret::new(url),
        schema_prefix: PREFIX.to_owned(),
        ..PostgresConfig::default()
    };
    let store = PostgresMessageStore::open(&config, PostgresStoreOptions::default()).await?;
    let store: Arc<dyn MessageStore> = Arc::new(store);
    // Partitions of the log, batches of each, events of each.
    for (partitions, batches, events) in [
        (1, 2_000, 1),
        (1, 500, 100),
        (1, 100, 1_000),
        (4, 1_000, 1),
        (4, 100, 100),
        (4, 50, 1_000),
    ] {
        measure(&store, partitions, batches, events).await?;
    }
    tell_sizes(&mut beside).await?;
    drop(store);
    beside.execute(drop_schema).await?;
    Ok(())
}

async fn measure(
    store: &Arc<dyn MessageStore>,
    partitions: usize,
    batches: usize,
    events: usize,
) -> anyhow::Result<()> {
    let logs = (0..partitions)
        .map(|_| log(batches, events))
        .collect::<Result<Vec<_>, _>>()
        .map_err(anyhow::Error::msg)?;
    let begun = Instant::now();
    let mut committing = JoinSet::new();
    for (script, batches) in logs {
        let store = Arc::clone(store);
        committing.spawn(async move {
            let mut took = Vec::with_capacity(batches.len());
            for batch in &batches {
                let begun = Instant::now();
                store.commit(Arc::clone(batch)).await?;
                took.push(begun.elapsed());
            }
            anyhow::Ok((script, batches, took))
        });
    }
    let (mut took, mut committed) = (Vec::new(), Vec::new());
    while let Some(of_partition) = committing.join_next().await {
        let (script, batches, of_partition) = of_partition??;
        took.extend(of_partition);
        committed.push((script, batches));
    }
    let per_s = (partitions * batches * events) as f64 / begun.elapsed().as_secs_f64();
    for (script, batches) in committed {
        check(&**store, &script, &batches).await?;
    }
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 100).copied();
    let ms = |it: Option<Duration>| it.unwrap_or_default().as_secs_f64() * 1_000.0;
    writeln!(
        std::io::stdout(),
        "{partitions} at once, {events:>5} events a batch: {per_s:>8.0} events/s, a commit p50 {:>6.2} ms, p99 {:>7.2} ms; all read back",
        ms(at(50)),
        ms(at(99))
    )?;
    Ok(())
}

fn log(batches: usize, events: usize) -> Result<(Script, Vec<Arc<StoreBatch>>), String> {
    let mut script = Script::new();
    let text = "x".repeat(TEXT_BYTES);
    let mut log = Vec::with_capacity(batches);
    let mut count = 0;
    for _ in 0..batches {
        let mut batch = Vec::with_capacity(events);
        for _ in 0..events {
            batch.push(script.message(&format!("conversation-{}", count % CONVERSATIONS), &text)?);
            count += 1;
        }
        log.push(script.batch(batch));
    }
    Ok((script, log))
}

async fn check(
    store: &dyn MessageStore,
    script: &Script,
    batches: &[Arc<StoreBatch>],
) -> anyhow::Result<()> {
    ensure!(
        store.cursor(script.partition).await? == script.cursor,
        "the cursor is not where the log ends"
    );
    for number in 0..CONVERSATIONS {
        let name = format!("conversation-{number}");
        let key = script.key(&name);
        let run = store.range(&key, 0, usize::MAX, usize::MAX).await?;
        let ought = batches.iter().flat_map(|it| &it.events);
        let ought = ought.filter(|it| *it.key() == key).map(|it| it.event());
        ensure!(
            run.iter().eq(ought),
            "{key} is not what was committed of it"
        );
        let head = store.heads(&[key]).await?.pop().flatten();
        ensure!(
            head.is_none_or(|it| it == script.head(&name)),
            "the head of {name} is not that of its events"
        );
    }
    Ok(())
}

/// Bytes an event, with indexes.
async fn tell_sizes(beside: &mut PgConnection) -> anyhow::Result<()> {
    let sizes: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT coalesce(parent.relname, it.relname)::text, sum(pg_table_size(it.oid))::bigint, sum(pg_indexes_size(it.oid))::bigint
         FROM pg_class it
         LEFT JOIN pg_inherits ON inhrelid = it.oid LEFT JOIN pg_class parent ON parent.oid = inhparent
         WHERE it.relnamespace = 'bench_message_store'::regnamespace AND it.relkind = 'r'
         GROUP BY 1 ORDER BY 2 DESC",
    )
    .fetch_all(&mut *beside)
    .await?;
    let (events,): (i64,) = sqlx::query_as("SELECT count(*) FROM bench_message_store.event")
        .fetch_one(beside)
        .await?;
    for (table, rows, indexes) in sizes {
        let each = |bytes: i64| bytes as f64 / events.max(1) as f64;
        writeln!(
            std::io::stdout(),
            "{table:>16}: {:>6.1} bytes an event, and {:>5.1} of indexes",
            each(rows),
            each(indexes)
        )?;
    }
    Ok(())
}
