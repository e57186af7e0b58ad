//! The SQLite file of this service, with its one writer.

use std::{path::Path, sync::Arc};

use flare_server_core::database::DatabaseFile;
use sqlx::{
    Sqlite, SqliteConnection, SqlitePool, Transaction, migrate::MigrateError,
    sqlite::SqlitePoolOptions,
};

use super::row_codec::role_to_db;
use crate::{application::ports::StoreError, domain::change::NamedMember};

/// The database's name in the data folder.
const FILE: &str = "session/session.sqlite";

/// The database. Clones share one state.
///
/// All writes go through one connection, so a transaction never waits for another process or fails for a lock. A commit returns when
/// it is on disk (WAL, `synchronous=FULL`).
#[derive(Clone, Debug)]
pub struct SqliteSession {
    file: Arc<DatabaseFile>,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteSession {
    /// Opens the database of a data folder, makes it if it never was there, and brings its tables up to this version.
    ///
    /// # Errors
    /// Says what is wrong with the file, such as that it is not what was left there.
    pub async fn open(data: &Path, readers: u32) -> Result<Self, StoreError> {
        let database = DatabaseFile::open(data, FILE)
            .await
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let (file, options) = (database.path(), database.options());
        let named = |error: sqlx::Error| StoreError::Failed(format!("{}: {error}", file.display()));
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await
            .map_err(named)?;
        sqlx::migrate!()
            .run(&writer)
            .await
            .map_err(|error| match error {
                MigrateError::VersionMissing(found) => StoreError::Failed(format!(
                    "{}: its tables are of schema {found}, which only a later version knows",
                    file.display()
                )),
                error => named(error.into()),
            })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(readers.max(1))
            .connect_with(options.pragma("query_only", "on"))
            .await
            .map_err(named)?;
        Ok(Self {
            file: Arc::new(database),
            writer,
            readers,
        })
    }

    /// Closes the file; what was committed is on disk before.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        self.file.close().await;
    }

    pub(super) async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin().await?)
    }

    /// A transaction that sees one state of the database.
    pub(super) async fn read(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.readers.begin().await?)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        #[cfg(feature = "cluster")]
        if let Some(of_postgres) = super::postgres::store_error(&error) {
            return of_postgres;
        }
        if is_ours(&error) {
            Self::Failed(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}

/// Whether a mistake of ours, or damage, explains the error: it will come again.
fn is_ours(error: &sqlx::Error) -> bool {
    // SQLite's result codes, https://sqlite.org/rescode.html
    const ERROR: u32 = 1;
    const CORRUPT: u32 = 11;
    const CONSTRAINT: u32 = 19;
    const MISMATCH: u32 = 20;
    const MISUSE: u32 = 21;
    const RANGE: u32 = 25;
    const NOT_A_DATABASE: u32 = 26;
    match error {
        sqlx::Error::Database(error) => {
            // The low byte of an extended code is the code.
            let code = error.code().and_then(|it| it.parse::<u32>().ok());
            matches!(
                code.map(|it| it & 0xff),
                Some(ERROR | CORRUPT | CONSTRAINT | MISMATCH | MISUSE | RANGE | NOT_A_DATABASE)
            )
        }
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => false,
        _ => true,
    }
}

/// Raises a user's version and answers it. `joins`: it is the version at which he joined or left.
pub(super) async fn bump(
    connection: &mut SqliteConnection,
    tenant: &str,
    user: &str,
    joins: bool,
) -> Result<i64, StoreError> {
    let (version,): (i64,) = sqlx::query_as(
        "INSERT INTO user_state (tenant, user, version, memberships, conversations) VALUES (?1, ?2, 1, ?3, 0)
         ON CONFLICT (tenant, user) DO UPDATE SET version = version + 1, memberships = iif(?3, version + 1, memberships)
         RETURNING version",
    )
    .bind(tenant)
    .bind(user)
    .bind(joins)
    .fetch_one(connection)
    .await?;
    Ok(version)
}

/// A list of ids, for `json_each`.
pub(super) fn json_list(ids: &[impl AsRef<str>]) -> Result<String, StoreError> {
    serde_json::to_string(&ids.iter().map(AsRef::as_ref).collect::<Vec<&str>>())
        .map_err(|error| StoreError::Failed(error.to_string()))
}

/// A list of [user, role], for `json_each`.
pub(super) fn json_members(members: &[NamedMember]) -> Result<String, StoreError> {
    let rows: Vec<(&str, i64)> = members
        .iter()
        .map(|it| (&*it.user, role_to_db(it.role)))
        .collect();
    serde_json::to_string(&rows).map_err(|error| StoreError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_without_room_is_no_mistake_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteSession::open(folder.path(), 1).await.unwrap();
        sqlx::query("PRAGMA max_page_count = 1")
            .execute(&store.writer)
            .await
            .unwrap();
        let statement = async |sql: &'static str| {
            let failed = sqlx::query(sql).execute(&store.writer).await;
            StoreError::from(failed.unwrap_err())
        };
        let full = statement("CREATE TABLE big AS SELECT zeroblob(1000000)").await;
        assert!(matches!(full, StoreError::Unavailable(_)), "{full:?}");
        let wrong = statement("SELECT nothing FROM nowhere").await;
        assert!(matches!(wrong, StoreError::Failed(_)), "{wrong:?}");
    }
}
