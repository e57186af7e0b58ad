//! This service's tables in PostgreSQL, which several processes share.

use std::collections::{BTreeSet, HashSet};

use flare_server_core::postgres::{Postgres, PostgresConfig, is_transient};
use flare_storage_model::ConversationKey;
use sqlx::{PgConnection, postgres::PgDatabaseError};

use super::row_codec::{from_db, to_db};
use crate::application::ports::StoreError;

/// The schema of the service.
const SCHEMA: &str = "session";

/// The tables. Clones share one pool of connections.
///
/// Each method is one transaction, or one statement. What it locks, and in which order, stands at the head of the first migration.
#[derive(Clone, Debug)]
pub struct PostgresSession {
    pub(super) database: Postgres,
}

impl PostgresSession {
    /// Waits for the server, and brings the tables up to this version.
    ///
    /// # Errors
    /// Says what is wrong with the server or the tables.
    pub async fn open(config: &PostgresConfig) -> Result<Self, StoreError> {
        let migrations = sqlx::migrate!("migrations/postgres");
        let database = Postgres::open(config, SCHEMA, migrations).await;
        Ok(Self {
            database: database.map_err(|error| StoreError::Failed(error.to_string()))?,
        })
    }

    /// Tells the stream that these rows follow from any other: `new` by the first process that asks, the same to all.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn stream_epoch(&self, new: u64) -> Result<u64, StoreError> {
        let asked = async {
            // Of several that make it at the same time, the others wait for the first.
            sqlx::query("INSERT INTO stream (epoch) VALUES ($1) ON CONFLICT (one) DO NOTHING")
                .bind(to_db(new))
                .execute(self.database.pool())
                .await?;
            let epoch = sqlx::query_scalar("SELECT epoch FROM stream");
            Ok::<i64, StoreError>(epoch.fetch_one(self.database.pool()).await?)
        };
        self.database.within(asked).await.map(from_db)
    }

    /// Closes the connections; what was committed is kept.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// What an error means, if it is one of PostgreSQL.
pub(super) fn store_error(error: &sqlx::Error) -> Option<StoreError> {
    let is_ours = match error {
        sqlx::Error::Database(error) => error.try_downcast_ref::<PgDatabaseError>().is_some(),
        sqlx::Error::Tls(_) => true,
        _ => false,
    };
    is_ours.then(|| match is_transient(error) {
        true => StoreError::Unavailable(error.to_string()),
        false => StoreError::Failed(error.to_string()),
    })
}

/// Whether the row is there already.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// (tenant, user), in the order in which they are locked.
pub(super) type Users<'a> = BTreeSet<(&'a str, &'a str)>;

/// Two columns of rows, for `unnest`.
pub(super) fn columns<'a>(
    rows: impl IntoIterator<Item = &'a (&'a str, &'a str)>,
) -> (Vec<&'a str>, Vec<&'a str>) {
    rows.into_iter().copied().unzip()
}

/// Tenants and conversations, for `unnest`.
pub(super) fn key_columns<'a>(
    keys: impl IntoIterator<Item = &'a ConversationKey>,
) -> (Vec<&'a str>, Vec<&'a str>) {
    keys.into_iter()
        .map(|it| (&*it.tenant, &*it.conversation))
        .unzip()
}

/// Locks a conversation for a change of its row; false: it has none.
pub(super) async fn lock_conversation(
    tx: &mut PgConnection,
    key: &ConversationKey,
) -> Result<bool, sqlx::Error> {
    let locked = sqlx::query(
        "SELECT 1 FROM conversation WHERE tenant = $1 AND conversation = $2 FOR NO KEY UPDATE",
    )
    .bind(&*key.tenant)
    .bind(&*key.conversation)
    .fetch_optional(tx)
    .await?;
    Ok(locked.is_some())
}

/// Locks users until the transaction ends, and answers who is: whoever has no row yet is not, and had no other rows before.
///
/// Statements that follow see what the holders before have written.
pub(super) async fn lock_users(
    tx: &mut PgConnection,
    users: &Users<'_>,
) -> Result<HashSet<(String, String)>, sqlx::Error> {
    if users.is_empty() {
        return Ok(HashSet::new());
    }
    let (tenants, ids) = columns(users);
    let locked = sqlx::query_as(
        "SELECT s.tenant, s.user_id FROM user_state AS s JOIN unnest($1::text[], $2::text[]) AS u (tenant, user_id)
             ON s.tenant = u.tenant AND s.user_id = u.user_id
         ORDER BY s.tenant, s.user_id FOR NO KEY UPDATE OF s",
    )
    .bind(tenants)
    .bind(ids)
    .fetch_all(tx)
    .await?;
    Ok(locked.into_iter().collect())
}

/// Makes rows of users who have none. Before any user is locked.
pub(super) async fn make_users(
    tx: &mut PgConnection,
    users: &Users<'_>,
) -> Result<(), sqlx::Error> {
    if users.is_empty() {
        return Ok(());
    }
    let (tenants, ids) = columns(users);
    sqlx::query(
        "INSERT INTO user_state (tenant, user_id)
         SELECT tenant, user_id FROM unnest($1::text[], $2::text[]) AS u (tenant, user_id)
         ORDER BY tenant COLLATE \"C\", user_id COLLATE \"C\"
         ON CONFLICT DO NOTHING",
    )
    .bind(tenants)
    .bind(ids)
    .execute(tx)
    .await?;
    Ok(())
}
