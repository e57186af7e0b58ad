//! Users' rows in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flare_storage_model::ConversationKey;
use sqlx::FromRow;

use super::{
    inbox_columns::InboxColumns,
    row_codec::{from_db, to_db},
    sqlite::{SqliteSession, bump, json_list},
    sqlite_stream::{put_stream, write_effects},
};
use crate::{
    application::ports::{
        DirectConversation, InboxStore, StoreError, StreamCount, StreamEffects, StreamStart,
        UserVersion,
    },
    domain::{
        caller::UserKey,
        inbox::{InboxRow, MAX_COUNTED_MENTIONS, Settings, SettingsPatch},
    },
};

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    columns: InboxColumns,
    /// A JSON list of seqs.
    mentions: String,
}

#[async_trait]
impl InboxStore for SqliteSession {
    async fn version(&self, user: &UserKey) -> Result<UserVersion, StoreError> {
        let mut tx = self.read().await?;
        let row: Option<(i64, i64)> = sqlx::query_as(
            "SELECT version, memberships FROM user_state WHERE tenant = ? AND user = ?",
        )
        .bind(&*user.tenant)
        .bind(&*user.user)
        .fetch_optional(&mut *tx)
        .await?;
        Ok(
            row.map_or_else(UserVersion::default, |(version, memberships)| UserVersion {
                version: from_db(version),
                memberships: from_db(memberships),
            }),
        )
    }

    async fn changed_since(
        &self,
        user: &UserKey,
        version: u64,
    ) -> Result<Vec<Arc<str>>, StoreError> {
        let mut tx = self.read().await?;
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT conversation FROM member
             WHERE tenant = ? AND user = ? AND version > ? AND joined_seq > 0 ORDER BY conversation",
        )
        .bind(&*user.tenant)
        .bind(&*user.user)
        .bind(to_db(version))
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(conversation,)| conversation.into())
            .collect())
    }

    async fn activity(&self, user: &UserKey) -> Result<Vec<(Arc<str>, i64)>, StoreError> {
        let mut tx = self.read().await?;
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT m.conversation, iif(m.left_seq > 0, m.left_ms, c.active_ms)
             FROM member AS m JOIN conversation AS c ON c.tenant = m.tenant AND c.conversation = m.conversation
             WHERE m.tenant = ? AND m.user = ? AND m.joined_seq > 0",
        )
        .bind(&*user.tenant)
        .bind(&*user.user)
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(conversation, time_ms)| (conversation.into(), time_ms))
            .collect())
    }

    async fn rows(
        &self,
        user: &UserKey,
        conversations: &[Arc<str>],
    ) -> Result<Vec<InboxRow>, StoreError> {
        let list = json_list(conversations)?;
        let mut tx = self.read().await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT m.conversation, c.class, c.title, c.owner, c.history, c.created_ms, c.as_of, c.disbanded_seq > 0 AS disbanded,
                 c.member_count, c.user_low, c.user_high, m.role, m.left_seq, m.left_ordinal, m.left_ms, m.left_title,
                 m.left_owner, m.left_member_count, m.left_message, m.read_seq, m.read_ordinal, m.mute_until_ms,
                 m.pinned, m.hidden_at_seq,
                 (SELECT json_group_array(seq) FROM (
                     SELECT n.seq FROM mention AS n
                     WHERE n.tenant = m.tenant AND n.conversation = m.conversation AND n.user = m.user AND n.seq > m.read_seq
                     ORDER BY n.seq DESC LIMIT ?4)) AS mentions
             FROM member AS m JOIN conversation AS c ON c.tenant = m.tenant AND c.conversation = m.conversation
             WHERE m.tenant = ?1 AND m.user = ?2 AND m.joined_seq > 0
                 AND m.conversation IN (SELECT value FROM json_each(?3))",
        )
        .bind(&*user.tenant)
        .bind(&*user.user)
        .bind(&list)
        .bind(to_db(MAX_COUNTED_MENTIONS as u64))
        .fetch_all(&mut *tx)
        .await?;
        let into_domain = |row: Row| {
            let mentions = serde_json::from_str(&row.mentions)
                .map_err(|error| StoreError::Failed(error.to_string()))?;
            row.columns.into_domain(mentions)
        };
        rows.into_iter().map(into_domain).collect()
    }

    async fn recalled_between(
        &self,
        key: &ConversationKey,
        after: u64,
        up_to: u64,
        by: u64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.read().await?;
        let (count,): (i64,) = sqlx::query_as(
            "SELECT count(*) FROM recall
             WHERE tenant = ? AND conversation = ? AND seq > ? AND seq <= ? AND by_seq <= ?",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(to_db(after))
        .bind(to_db(up_to))
        .bind(to_db(by))
        .fetch_one(&mut *tx)
        .await?;
        Ok(from_db(count))
    }

    async fn update_settings(
        &self,
        user: &UserKey,
        conversation: &str,
        patch: &SettingsPatch,
    ) -> Result<Option<Settings>, StoreError> {
        let mut tx = self.write().await?;
        let row: Option<(i64, bool, i64)> = sqlx::query_as(
            "SELECT mute_until_ms, pinned, hidden_at_seq FROM member
             WHERE tenant = ? AND conversation = ? AND user = ? AND joined_seq > 0",
        )
        .bind(&*user.tenant)
        .bind(conversation)
        .bind(&*user.user)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((mute_until_ms, pinned, hidden_at_seq)) = row else {
            return Ok(None);
        };
        let before = Settings {
            mute_until_ms,
            pinned,
            hidden_at_seq: from_db(hidden_at_seq),
        };
        let settings = before.patched(patch);
        if settings == before {
            return Ok(Some(settings));
        }
        let version = bump(&mut tx, &user.tenant, &user.user, false).await?;
        sqlx::query(
            "UPDATE member SET mute_until_ms = ?, pinned = ?, hidden_at_seq = ?, version = ?
             WHERE tenant = ? AND conversation = ? AND user = ?",
        )
        .bind(settings.mute_until_ms)
        .bind(settings.pinned)
        .bind(to_db(settings.hidden_at_seq))
        .bind(version)
        .bind(&*user.tenant)
        .bind(conversation)
        .bind(&*user.user)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(settings))
    }

    async fn keep_farewell(
        &self,
        user: &UserKey,
        conversation: &str,
        last_message: &Bytes,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE member SET left_message = ?
             WHERE tenant = ? AND conversation = ? AND user = ? AND left_seq > 0 AND left_message IS NULL
                 AND NOT EXISTS (SELECT 1 FROM recall
                                 WHERE recall.tenant = member.tenant AND recall.conversation = member.conversation
                                     AND recall.seq < member.left_seq AND recall.by_seq > member.left_seq)",
        )
        .bind(&last_message[..])
        .bind(&*user.tenant)
        .bind(conversation)
        .bind(&*user.user)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn record(&self, effects: &StreamEffects) -> Result<Vec<DirectConversation>, StoreError> {
        let mut tx = self.write().await?;
        let new = write_effects(&mut tx, effects).await?;
        tx.commit().await?;
        Ok(new)
    }
}

#[async_trait]
impl StreamCount for SqliteSession {
    async fn begins(&self, new_epoch: u64) -> Result<StreamStart, StoreError> {
        let mut tx = self.write().await?;
        let row: Option<(i64, i64)> =
            sqlx::query_as("SELECT epoch, position FROM stream WHERE one = 1 AND clean = 1")
                .fetch_optional(&mut *tx)
                .await?;
        let start = match row {
            Some((epoch, position)) => StreamStart {
                epoch: from_db(epoch),
                position: from_db(position),
            },
            None => StreamStart {
                epoch: new_epoch,
                position: 0,
            },
        };
        put_stream(&mut tx, start, false).await?;
        tx.commit().await?;
        Ok(start)
    }

    async fn ended(&self, at: StreamStart) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        put_stream(&mut tx, at, true).await?;
        Ok(tx.commit().await?)
    }
}
