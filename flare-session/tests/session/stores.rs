//! What the ports of the stores promise, for every adapter. The suites take adapters as the ports' traits: another database runs the same ones.

use std::sync::Arc;

use flare_server_core::telemetry::TraceId;
use flare_session::{
    application::ports::{
        CommandId, ConversationStore, InboxStore, KEPT_DEVICES, OutboxLine, Placed, PositionBatch,
        PositionStore, ReadUpdate, RosterStore,
    },
    domain::{
        caller::UserKey,
        change::{Change, NamedMember},
        inbox::ReadPosition,
        role::{History, Role},
    },
    infrastructure::{cached_rosters::CachedRosters, sqlite::SqliteSession},
};
use flare_storage_model::ConversationKey;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

mod outbox;
mod rows;

struct Stores {
    folder: TempDir,
    conversations: Arc<dyn ConversationStore>,
    rosters: Arc<dyn RosterStore>,
    inboxes: Arc<dyn InboxStore>,
    positions: Arc<dyn PositionStore>,
}

async fn sqlite() -> Stores {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(SqliteSession::open(folder.path(), 2).await.expect("opens"));
    Stores {
        folder,
        conversations: Arc::clone(&store) as _,
        rosters: Arc::clone(&store) as _,
        inboxes: Arc::clone(&store) as _,
        positions: store,
    }
}

async fn sqlite_cached() -> Stores {
    let stores = sqlite().await;
    Stores {
        rosters: Arc::new(CachedRosters::new(Arc::clone(&stores.rosters), 1_000)),
        ..stores
    }
}

fn key() -> ConversationKey {
    ConversationKey::new("t", "g")
}

fn at(seq: u64) -> Placed {
    Placed {
        seq,
        ordinal: seq,
        time_ms: 1_000 + i64::try_from(seq).expect("small"),
    }
}

fn named(user: &str, role: Role) -> NamedMember {
    NamedMember {
        user: user.into(),
        role,
    }
}

fn line(number: u64, change: Change) -> (OutboxLine, CommandId) {
    let line = OutboxLine {
        line: format!("{number:026}"),
        key: key(),
        sender: "olga".into(),
        change,
        trace_id: TraceId::from_bytes([9; 16]),
    };
    (
        line,
        CommandId {
            client_id: format!("c{number}").into(),
            fingerprint: [7; 16],
        },
    )
}

fn created() -> Change {
    Change::Created {
        title: "t".into(),
        members: vec![named("olga", Role::Owner), named("mia", Role::Member)],
        history: History::SinceJoin,
    }
}

fn added(user: &str) -> Change {
    Change::MembersAdded {
        members: vec![named(user, Role::Member)],
    }
}

impl Stores {
    /// Commits and settles a change at its number.
    async fn change(&self, number: u64, change: Change) {
        let (line, command) = line(number, change);
        self.conversations
            .commit(&line, &command, 10)
            .await
            .expect("commits");
        self.conversations
            .settle(&line, &at(number))
            .await
            .expect("settles");
        self.rosters.forget(&line.key);
    }

    async fn version(&self, user: &str) -> u64 {
        self.inboxes
            .version(&UserKey::new("t", user))
            .await
            .expect("answers")
            .version
    }

    async fn read(&self, user: &str, seq: u64) {
        let position = ReadPosition { seq, ordinal: seq };
        let reads = vec![ReadUpdate {
            key: key(),
            user: user.into(),
            position,
        }];
        self.positions
            .put(&PositionBatch {
                reads,
                ..PositionBatch::default()
            })
            .await
            .expect("writes");
    }

    async fn row(&self, user: &str) -> flare_session::domain::inbox::InboxRow {
        let rows = self
            .inboxes
            .rows(&UserKey::new("t", user), &["g".into()])
            .await
            .expect("answers");
        rows.into_iter().next().expect("he has a row")
    }

    async fn members(&self) -> Vec<String> {
        let roster = self.rosters.roster(&key()).await.expect("answers");
        roster
            .map(|it| it.members.keys().map(ToString::to_string).collect())
            .unwrap_or_default()
    }
}

/// Each promise as a test of each adapter.
macro_rules! suite {
    ($adapter:ident: $($file:ident $promise:ident),* $(,)?) => {
        mod $adapter {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::super::$file::$promise(super::super::$adapter().await).await;
                }
            )*
        }
    };
}

mod of {

    suite! { sqlite:
        outbox a_line_counts_when_it_is_settled,
        outbox settling_twice_changes_nothing,
        outbox a_command_is_answered_again,
        outbox what_is_withdrawn_was_never_there,
        outbox a_refused_commit_writes_nothing,
        rows rows_follow_the_changes,
        rows who_left_keeps_what_was,
        rows a_user_s_version_rises_with_each_change_of_his_rows,
        rows positions_rise_whatever_order_they_come_in,
        rows of_a_member_s_devices_the_foremost_are_kept,
        rows the_stream_may_repeat,
        rows a_count_goes_on_after_a_clean_end_only,
    }
    suite! { sqlite_cached:
        outbox a_line_counts_when_it_is_settled,
        outbox settling_twice_changes_nothing,
        outbox what_is_withdrawn_was_never_there,
        rows rows_follow_the_changes,
        rows who_left_keeps_what_was,
        rows a_user_s_version_rises_with_each_change_of_his_rows,
        rows the_stream_may_repeat,
    }
}

#[tokio::test]
async fn what_was_committed_is_there_when_the_file_is_opened_again() {
    let stores = sqlite().await;
    stores.change(1, created()).await;
    let (line, command) = line(2, added("max"));
    stores
        .conversations
        .commit(&line, &command, 10)
        .await
        .expect("commits");
    // Not closed: as after a crash.
    let again = SqliteSession::open(stores.folder.path(), 1)
        .await
        .expect("opens");
    let roster = RosterStore::roster(&again, &key())
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(roster.members.len(), 2);
    assert_eq!(again.pending(&key()).await, Ok(vec![line]));
}

/// Folders of the first version have a row for each device that ever was.
#[tokio::test]
async fn devices_beyond_those_that_are_kept_go_with_the_migration() {
    let stores = sqlite().await;
    let file = stores.folder.path().join("session/session.sqlite");
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
