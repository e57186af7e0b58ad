//! A partition a week.

use std::{collections::BTreeSet, sync::Arc};

use flare_server_core::postgres::PostgresConfig;
use flare_storage_model::{MessageQuery, MessageStore, StoreError, contract::Script};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tokio::task::JoinSet;

use crate::{
    database::{Database, open},
    log::{assert_holds, commit, events_of, log, soon},
};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

async fn partitions(beside: &mut PgConnection) -> BTreeSet<String> {
    let names =
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'event'::regclass";
    let rows: Vec<(String,)> = sqlx::query_as(names)
        .fetch_all(beside)
        .await
        .expect("it answers");
    rows.into_iter().map(|(name,)| name).collect()
}

#[tokio::test]
async fn partitions_are_made_as_events_need_them_and_one_ahead() {
    let database = Database::create().await;
    let store = database.open().await;
    let mut beside = database.connect().await;
    assert_eq!(partitions(&mut beside).await, BTreeSet::new());
    let mut script = Script::new();
    // From Tuesday, 2023-11-14 on: Sunday, then Friday.
    script.step_ms = 5 * DAY_MS;
    let events = script.messages("general", 2).expect("good events");
    commit(&store, &script.batch(events))
        .await
        .expect("it commits");
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|it| (*it).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let begun = names(&["event_2023_11_13", "event_2023_11_20"]);
    assert_eq!(partitions(&mut beside).await, begun);
    // Over the turn of the year.
    script.step_ms = 21 * DAY_MS;
    let events = script.messages("general", 3).expect("good events");
    commit(&store, &script.batch(events))
        .await
        .expect("it commits");
    let ought = names(&[
        "event_2023_11_13",
        "event_2023_11_20",
        "event_2023_12_04",
        "event_2023_12_25",
        "event_2024_01_15",
        "event_2024_01_22",
    ]);
    assert_eq!(partitions(&mut beside).await, ought);
}

#[tokio::test]
async fn an_event_that_is_refused_leaves_no_partition() {
    let database = Database::create().await;
    let store = database.open().await;
    let mut script = Script::new();
    let first = script.messages("general", 1).expect("good events");
    commit(&store, &script.batch(first))
        .await
        .expect("it commits");
    let mut beside = database.connect().await;
    let before = partitions(&mut beside).await;
    script.step_ms = 100 * DAY_MS;
    script.message("general", "lost").expect("a good event");
    let third = script.messages("general", 1).expect("good events");
    let refused = store.commit(script.batch(third)).await;
    assert!(
        matches!(refused, Err(StoreError::Broken { .. })),
        "{refused:?}"
    );
    assert_eq!(partitions(&mut beside).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_need_the_same_partition_make_it_once() {
    let database = Database::create().await;
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(Arc::new(database.open().await));
    }
    let mut writing = JoinSet::new();
    for index in 0..12 {
        let store = Arc::clone(&stores[index % stores.len()]);
        writing.spawn(async move {
            let mut script = Script::new();
            script.step_ms = 7 * DAY_MS;
            let batches = log(&mut script, 6);
            for batch in &batches {
                // Not one is refused, not even to try again.
                store.commit(Arc::clone(batch)).await.expect("it commits");
            }
            assert_holds(&*store, &script, &batches).await;
        });
    }
    while let Some(done) = writing.join_next().await {
        done.expect("no panic");
    }
}

#[tokio::test]
async fn a_partition_that_was_taken_away_is_made_again() {
    let database = Database::create().await;
    let store = database.open().await;
    let mut script = Script::new();
    let batches = log(&mut script, 2);
    let mut beside = database.connect().await;
    commit(&store, &batches[0]).await.expect("it commits");
    beside
        .execute("ALTER TABLE event DETACH PARTITION event_2023_11_20; DROP TABLE event_2023_11_20")
        .await
        .expect("it is taken away");
    script.step_ms = 7 * DAY_MS;
    let next = script.message("busy", "next week").expect("a good event");
    let next = script.batch(vec![next]);
    commit(&store, &batches[1]).await.expect("it commits");
    let missing = store.commit(Arc::clone(&next)).await;
    assert!(
        matches!(missing, Err(StoreError::Unavailable(_))),
        "{missing:?}"
    );
    commit(&store, &next).await.expect("it commits");
    assert!(partitions(&mut beside).await.contains("event_2023_11_20"));
}

#[tokio::test]
async fn what_an_archive_takes_away_raises_the_floor() {
    let database = Database::create().await;
    let store = database.open().await;
    let mut script = Script::new();
    script.step_ms = DAY_MS;
    let early = script.messages("early", 3).expect("good events");
    let early = script.batch(early);
    let late = script.messages("late", 10).expect("good events");
    let late = script.batch(late);
    for batch in [&early, &late] {
        commit(&store, batch).await.expect("it commits");
    }
    let mut beside = database.connect().await;
    // Up to Monday, 2023-11-20: six events of the late conversation and all of the early one.
    beside
        .execute(
            "ALTER TABLE event DETACH PARTITION event_2023_11_13; DELETE FROM run WHERE until_ms <= 1700438400000",
        )
        .await
        .expect("it is taken away");
    let (gone, kept) = (script.key("early"), script.key("late"));
    let floors = [store.floor(&gone).await, store.floor(&kept).await];
    assert_eq!(floors, [Ok(4), Ok(7)]);
    assert_eq!(store.range(&gone, 0, 10, usize::MAX).await, Ok(vec![]));
    let run = store.range(&kept, 0, 10, usize::MAX).await;
    let ought: Vec<_> = late.events[6..]
        .iter()
        .map(|it| it.event().clone())
        .collect();
    assert_eq!(run, Ok(ought));
    assert_eq!(store.event(&kept, 6).await, Ok(None));
    for query in [MessageQuery::Before(u64::MAX), MessageQuery::After(0)] {
        let page = store.messages(&kept, query, 10).await.expect("it reads");
        assert!(page.iter().map(|it| it.seq).eq(7..=10), "{query:?}");
        assert_eq!(store.messages(&gone, query, 10).await, Ok(vec![]));
    }
    // What is repeated cannot be compared any more; both go on.
    for batch in [early, late] {
        commit(&store, &batch).await.expect("it commits");
    }
    script.step_ms = 30 * DAY_MS;
    for name in ["early", "late"] {
        let next = script.messages(name, 1).expect("good events");
        commit(&store, &script.batch(next))
            .await
            .expect("it commits");
    }
    let seqs = [store.floor(&gone).await, store.floor(&kept).await];
    assert_eq!(seqs, [Ok(4), Ok(7)]);
    let next = store.messages(&gone, MessageQuery::After(0), 10).await;
    assert_eq!(next.map(|it| it.len()), Ok(1));
}

/// Every partition but one is locked, so that a read that needs it, or only plans with it, would wait.
#[tokio::test]
async fn a_read_touches_the_partitions_of_its_time_alone() {
    let database = Database::create().await;
    let store = open(&PostgresConfig {
        max_connections: 2,
        ..database.config()
    })
    .await;
    let mut script = Script::new();
    script.step_ms = DAY_MS;
    let batches = log(&mut script, 40);
    for batch in &batches {
        commit(&store, batch).await.expect("it commits");
    }
    let key = script.key("busy");
    let events = events_of(&batches, &key);
    let mut beside = database.connect().await;
    let all = partitions(&mut beside).await;
    assert!(all.len() > 15, "{all:?}");
    // The seqs of the week from Monday, 2024-01-01 on.
    let week = 1_704_067_200_000..1_704_067_200_000 + 7 * DAY_MS;
    let seqs: Vec<_> = events
        .iter()
        .filter(|it| week.contains(&it.header().time_ms))
        .map(|it| it.seq())
        .collect();
    let (first, last) = (seqs[0], seqs[seqs.len() - 1]);
    assert!(
        all.contains("event_2024_01_01") && seqs.len() == 7,
        "{seqs:?}"
    );
    let read = async || {
        let run = soon(
            "a range",
            store.range(&key, first - 1, seqs.len(), usize::MAX),
        )
        .await;
        assert_eq!(run.map(|it| it.len()), Ok(seqs.len()));
        let event = soon("an event", store.event(&key, last)).await;
        assert_eq!(event, Ok(Some(events[last as usize - 1].event().clone())));
        for query in [
            MessageQuery::After(first - 1),
            MessageQuery::Before(last + 1),
            MessageQuery::FromTime(week.start),
        ] {
            let page = soon("a page", store.messages(&key, query, 2)).await;
            assert_eq!(page.map(|it| it.len()), Ok(2), "{query:?}");
        }
    };
    // After five times on a connection PostgreSQL makes a plan for all values once, and compares.
    for _ in 0..40 {
        read().await;
    }
    beside.execute("BEGIN").await.expect("it begins");
    for other in all.iter().filter(|it| *it != "event_2024_01_01") {
        let lock = format!("LOCK TABLE {other} IN ACCESS EXCLUSIVE MODE");
        beside
            .execute(AssertSqlSafe(lock))
            .await
            .expect("it is locked");
    }
    for _ in 0..12 {
        read().await;
    }
}
