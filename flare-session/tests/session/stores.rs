//! What is special to the rows in SQLite, beside what every database promises.

use flare_session::application::ports::{KEPT_DEVICES, StreamCount, StreamStart};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{contract::plain, place::Place};

/// Folders of the first version have a row for each device that ever was.
#[tokio::test]
async fn devices_beyond_those_that_are_kept_go_with_the_migration() {
    let stores = plain().await;
    let file = stores.place.path().join("session/session.sqlite");
    let options = SqliteConnectOptions::new().filename(file);
    let mut database = SqliteConnection::connect_with(&options)
        .await
        .expect("opens");
    for (user, devices) in [("mia", KEPT_DEVICES + 2), ("olga", 2)] {
        for device in 0..devices {
            sqlx::query("INSERT INTO delivered VALUES ('t', 'g', ?, ?, ?)")
                .bind(user)
                .bind(format!("device-{device:02}"))
                .bind(device as i64)
                .execute(&mut database)
                .await
                .expect("writes");
        }
    }
    let migration = include_str!("../../migrations/0003_kept_devices.sql");
    sqlx::raw_sql(migration)
        .execute(&mut database)
        .await
        .expect("migrates");
    let left: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT user, count(*), min(device) FROM delivered GROUP BY user ORDER BY user",
    )
    .fetch_all(&mut database)
    .await
    .expect("answers");
    let kept = KEPT_DEVICES as i64;
    assert_eq!(
        left,
        [
            ("mia".to_owned(), kept, "device-02".to_owned()),
            ("olga".to_owned(), 2, "device-00".to_owned())
        ]
    );
}

#[tokio::test]
async fn a_count_goes_on_after_a_clean_end_only() {
    let place = Place::fresh().await;
    let store = place.open().await;
    let begin = async |epoch| store.begins(epoch).await.expect("begins");
    let at = |epoch, position| StreamStart { epoch, position };
    assert_eq!(begin(11).await, at(11, 0));
    store.ended(at(11, 42)).await.expect("ends");
    assert_eq!(begin(12).await, at(11, 42));
    assert_eq!(begin(13).await, at(13, 0));
}
