//! Connections are lost: before, within and after a commit.

use std::{pin::pin, sync::Arc};

use flare_storage_model::{MessageStore, StoreError, contract::Script};
use sqlx::{AssertSqlSafe, Executor};
use tokio::{join, select, time::Instant};

use crate::{
    cable::Cable,
    database::{Database, open},
    log::{DEADLINE, assert_holds, commit, events_of, log, soon},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_connection_is_killed_in_the_middle_can_be_repeated() {
    let database = Database::create().await;
    let store = database.open().await;
    let mut script = Script::new();
    let batches = log(&mut script, 8);
    commit(&store, &batches[0]).await.expect("it commits");
    let mut beside = database.connect().await;
    // Each table in turn is out of reach, so that the commit stands still where it needs it.
    let tables = ["log_cursor", "head", "place", "event", "recalled", "run"];
    for (table, batch) in tables.into_iter().zip(&batches[1..]) {
        let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        beside
            .execute(AssertSqlSafe(lock))
            .await
            .expect("it is locked");
        let mut committing = pin!(store.commit(Arc::clone(batch)));
        let begun = Instant::now();
        let killed = loop {
            let waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                           WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'";
            let (killed,): (i64,) = select! {
                biased;
                early = &mut committing => break early,
                killed = sqlx::query_as(waiting).fetch_one(&mut beside) => killed.expect("it answers"),
            };
            assert!(
                killed <= 1 && begun.elapsed() < DEADLINE,
                "{table}: {killed}"
            );
        };
        assert!(
            matches!(killed, Err(StoreError::Unavailable(_))),
            "{table}: {killed:?}"
        );
        beside.execute("ROLLBACK").await.expect("it is free again");
        assert_eq!(commit(&store, batch).await, Ok(()), "{table}");
    }
    commit(&store, &batches[7]).await.expect("it commits");
    assert_holds(&store, &script, &batches).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_which_nobody_hears_is_found_by_its_repetition() {
    let database = Database::create().await;
    let cable = Cable::to(&database).await;
    let store = open(&cable.config(&database)).await;
    let mut script = Script::new();
    let batches = log(&mut script, 12);
    // Partitions are made in transactions of their own.
    commit(&store, &batches[0]).await.expect("it commits");
    for batch in &batches[1..] {
        cable.swallow_answers(1);
        let unheard = store.commit(Arc::clone(batch)).await;
        assert!(
            matches!(unheard, Err(StoreError::Unavailable(_))),
            "{unheard:?}"
        );
        assert_eq!(cable.unswallowed(), 0);
        let cursor = commit_of(&database, &script).await;
        assert_eq!(cursor, batch.to.next_offset, "the server has committed it");
        commit(&store, batch).await.expect("it is there");
    }
    assert_holds(&store, &script, &batches).await;
}

/// The cursor as another process sees it.
async fn commit_of(database: &Database, script: &Script) -> u64 {
    let mut beside = database.connect().await;
    let (offset,): (i64,) =
        sqlx::query_as("SELECT next_offset FROM log_cursor WHERE partition = $1")
            .bind(i64::from(script.partition))
            .fetch_one(&mut beside)
            .await
            .expect("it is there");
    u64::try_from(offset).expect("it is an offset")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_goes_on_when_the_server_is_back() {
    let database = Database::create().await;
    let cable = Cable::to(&database).await;
    let store = open(&cable.config(&database)).await;
    let mut script = Script::new();
    let batches = log(&mut script, 30);
    for (index, part) in batches.chunks(10).enumerate() {
        match index {
            1 => cable.cut(),
            2 => cable.hush(),
            _ => {}
        }
        if index > 0 {
            let away = soon("an answer", store.commit(Arc::clone(&part[0]))).await;
            assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
            let key = part[0].events[0].key();
            let read = soon("an answer", store.range(key, 0, 1, usize::MAX)).await;
            assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
            cable.mend();
        }
        for batch in part {
            soon("a commit", commit(&store, batch))
                .await
                .expect("it commits");
        }
    }
    assert_holds(&store, &script, &batches).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_torn_while_connections_are_killed() {
    let database = Database::create().await;
    let (store, reader) = (database.open().await, database.open().await);
    let mut script = Script::new();
    let batches = log(&mut script, 400);
    let key = script.key("busy");
    let ought: Vec<_> = events_of(&batches, &key)
        .into_iter()
        .map(|it| it.event().clone())
        .collect();
    let writing = async {
        for batch in &batches {
            commit(&store, batch).await?;
        }
        Ok::<_, StoreError>(())
    };
    let mut writing = pin!(writing);
    let mut beside = database.connect().await;
    let mut killed = 0;
    let mut read = 0;
    let done = loop {
        select! {
            biased;
            done = &mut writing => break done,
            (ended, run) = async { join!(database.cut(&mut beside), reader.range(&key, 0, usize::MAX, usize::MAX)) } => {
                killed += ended;
                match run {
                    Ok(run) => {
                        read += 1;
                        assert!(ought.starts_with(&run), "{} events", run.len());
                    }
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            }
        }
    };
    assert_eq!(done, Ok(()));
    assert!(killed > 10 && read > 0, "{killed} killed, {read} reads");
    assert_holds(&database.open().await, &script, &batches).await;
}
