//! Users' rows in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flare_storage_model::ConversationKey;
use sqlx::FromRow;

use super::{
    inbox_columns::InboxColumns,
    postgres::{PostgresSession, Users, lock_users},
    postgres_stream::write_effects,
    row_codec::{from_db, to_db},
};
use crate::{
    application::ports::{DirectConversation, InboxStore, StoreError, StreamEffects, UserVersion},
    domain::{
        caller::UserKey,
        inbox::{InboxRow, MAX_COUNTED_MENTIONS, Settings, SettingsPatch},
    },
};

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    columns: InboxColumns,
    mentions: Vec<i64>,
}

#[async_trait]
impl InboxStore for PostgresSession {
    async fn version(&self, user: &UserKey) -> Result<UserVersion, StoreError> {
        let row = sqlx::query_as(
            "SELECT version, memberships FROM user_state WHERE tenant = $1 AND user_id = $2",
        )
        .bind(&*user.tenant)
        .bind(&*user.user)
        .fetch_optional(self.database.pool());
        let row: Option<(i64, i64)> = self.database.within(row).await?;
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
        let rows = sqlx::query_scalar(
            "SELECT conversation FROM member
             WHERE tenant = $1 AND user_id = $2 AND version > $3 AND joined_seq > 0 ORDER BY conversation",
        )
        .bind(&*user.tenant)
        .bind(&*user.user)
        .bind(to_db(version))
        .fetch_all(self.database.pool());
        let rows: Vec<String> = self.database.within(rows).await?;
        Ok(rows.into_iter().map(Arc::from).collect())
    }

    async fn activity(&self, user: &UserKey) -> Result<Vec<(Arc<str>, i64)>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT m.conversation, CASE WHEN m.left_seq > 0 THEN m.left_ms ELSE c.active_ms END
             FROM member AS m JOIN conversation AS c ON c.tenant = m.tenant AND c.conversation = m.conversation
             WHERE m.tenant = $1 AND m.user_id = $2 AND m.joined_seq > 0",
        )
        .bind(&*user.tenant)
        .bind(&*user.user)
        .fetch_all(self.database.pool());
        let rows: Vec<(String, i64)> = self.database.within(rows).await?;
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
        let list: Vec<_> = conversations.iter().map(|it| &**it).collect();
        let rows = sqlx::query_as(
            "SELECT m.conversation, c.class, c.title, c.owner, c.history, c.created_ms, c.as_of, c.disbanded_seq > 0 AS disbanded,
                 c.member_count, c.user_low, c.user_high, m.role, m.left_seq, m.left_ordinal, m.left_ms, m.left_title,
                 m.left_owner, m.left_member_count, m.left_message, m.read_seq, m.read_ordinal, m.mute_until_ms,
                 m.pinned, m.hidden_at_seq,
                 ARRAY(SELECT n.seq FROM mention AS n
                       WHERE n.tenant = m.tenant AND n.conversation = m.conversation AND n.user_id = m.user_id AND n.seq > m.read_seq
                       ORDER BY n.seq DESC LIMIT $4) AS mentions
             FROM member AS m JOIN conversation AS c ON c.tenant = m.tenant AND c.conversation = m.conversation
             WHERE m.tenant = $1 AND m.user_id = $2 AND m.joined_seq > 0 AND m.conversation = ANY ($3)",
        )
        .bind(&*user.tenant)
        .bind(&*user.user)
        .bind(&list)
        .bind(to_db(MAX_COUNTED_MENTIONS as u64))
        .fetch_all(self.database.pool());
        let rows: Vec<Row> = self.database.within(rows).await?;
        let into_domain = |row: Row| {
            let mentions = row.mentions.into_iter().map(from_db).collect();
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
        let count = sqlx::query_scalar(
            "SELECT count(*) FROM recall
             WHERE tenant = $1 AND conversation = $2 AND seq > $3 AND seq <= $4 AND by_seq <= $5",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(to_db(after))
        .bind(to_db(up_to))
        .bind(to_db(by))
        .fetch_one(self.database.pool());
        let count: i64 = self.database.within(count).await?;
        Ok(from_db(count))
    }

    async fn update_settings(
        &self,
        user: &UserKey,
        conversation: &str,
        patch: &SettingsPatch,
    ) -> Result<Option<Settings>, StoreError> {
        let write = async {
            let mut tx = self.database.begin().await?;
            lock_users(&mut tx, &Users::from([(&*user.tenant, &*user.user)])).await?;
            let row: Option<(i64, bool, i64)> = sqlx::query_as(
                "SELECT mute_until_ms, pinned, hidden_at_seq FROM member
                 WHERE tenant = $1 AND conversation = $2 AND user_id = $3 AND joined_seq > 0",
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
            sqlx::query(
                "WITH bumped AS (
                     UPDATE user_state SET version = version + 1 WHERE tenant = $4 AND user_id = $6 RETURNING version)
                 UPDATE member SET mute_until_ms = $1, pinned = $2, hidden_at_seq = $3, version = bumped.version FROM bumped
                 WHERE tenant = $4 AND conversation = $5 AND user_id = $6",
            )
            .bind(settings.mute_until_ms)
            .bind(settings.pinned)
            .bind(to_db(settings.hidden_at_seq))
            .bind(&*user.tenant)
            .bind(conversation)
            .bind(&*user.user)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(Some(settings))
        };
        self.database.within(write).await
    }

    async fn keep_farewell(
        &self,
        user: &UserKey,
        conversation: &str,
        last_message: &Bytes,
    ) -> Result<(), StoreError> {
        let write = async {
            let mut tx = self.database.begin().await?;
            // Nothing of it is taken back meanwhile: that locks the whole conversation.
            sqlx::query(
                "SELECT 1 FROM conversation WHERE tenant = $1 AND conversation = $2 FOR KEY SHARE",
            )
            .bind(&*user.tenant)
            .bind(conversation)
            .execute(&mut *tx)
            .await?;
            sqlx::query(
                "UPDATE member SET left_message = $1
                 WHERE tenant = $2 AND conversation = $3 AND user_id = $4 AND left_seq > 0 AND left_message IS NULL
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
        };
        self.database.within(write).await
    }

    async fn record(&self, effects: &StreamEffects) -> Result<Vec<DirectConversation>, StoreError> {
        let write = async {
            let mut tx = self.database.begin().await?;
            let new = write_effects(&mut tx, effects).await?;
            tx.commit().await?;
            Ok(new)
        };
        self.database.within(write).await
    }
}
