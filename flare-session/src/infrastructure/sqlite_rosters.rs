//! Rosters in SQLite.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use flare_storage_model::ConversationKey;

use super::{
    row_codec::{
        LargeRow, MemberRow, belonging, from_db, history_from_db, large_memberships, member,
        summary, to_db,
    },
    sqlite::{SqliteSession, json_list},
};
use crate::{
    application::ports::{LargeMemberships, RosterStore, StoreError},
    domain::{
        caller::UserKey,
        membership::{Belonging, Roster, RosterMember},
        role::Class,
    },
};

type ConversationRow = (
    i64,
    String,
    String,
    i64,
    i64,
    i64,
    bool,
    i64,
    String,
    String,
);

#[async_trait]
impl RosterStore for SqliteSession {
    async fn roster(&self, key: &ConversationKey) -> Result<Option<Arc<Roster>>, StoreError> {
        let mut tx = self.read().await?;
        let row: Option<ConversationRow> = sqlx::query_as(
            "SELECT class, title, owner, history, created_ms, as_of, disbanded_seq > 0, member_count, user_low, user_high
             FROM conversation WHERE tenant = ? AND conversation = ? AND created_seq > 0",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((class, title, owner, history, created_ms, as_of, disbanded, count, low, high)) =
            row
        else {
            return Ok(None);
        };
        let summary = summary(class, title, owner, count, created_ms, low, high)?;
        let members = match summary.class {
            Class::Large => None,
            Class::Direct | Class::Group => {
                let rows: Vec<MemberRow> = sqlx::query_as(
                    "SELECT user, role, joined_seq FROM member
                     WHERE tenant = ? AND conversation = ? AND joined_seq > 0 AND left_seq = 0",
                )
                .bind(&*key.tenant)
                .bind(&*key.conversation)
                .fetch_all(&mut *tx)
                .await?;
                let members = rows.into_iter().map(member);
                Some(members.collect::<Result<_, StoreError>>()?)
            }
        };
        Ok(Some(Arc::new(Roster {
            summary,
            history: history_from_db(history)?,
            as_of: from_db(as_of),
            disbanded,
            members,
        })))
    }

    async fn belonging(
        &self,
        key: &ConversationKey,
        users: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Belonging>, StoreError> {
        let users = json_list(users)?;
        let mut tx = self.read().await?;
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT user, role, joined_seq, left_seq FROM member
             WHERE tenant = ? AND conversation = ? AND user IN (SELECT value FROM json_each(?)) AND joined_seq > 0",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(&users)
        .fetch_all(&mut *tx)
        .await?;
        let rows = rows.into_iter();
        rows.map(|(user, role, joined_seq, left_seq)| {
            Ok((user.into(), belonging(role, joined_seq, left_seq)?))
        })
        .collect()
    }

    async fn members_after(
        &self,
        key: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Arc<str>, RosterMember)>, StoreError> {
        let mut tx = self.read().await?;
        let rows: Vec<MemberRow> = sqlx::query_as(
            "SELECT user, role, joined_seq FROM member
             WHERE tenant = ? AND conversation = ? AND user > ? AND joined_seq > 0 AND left_seq = 0
             ORDER BY user LIMIT ?",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        // Before every id.
        .bind(after.unwrap_or_default())
        .bind(to_db(limit as u64))
        .fetch_all(&mut *tx)
        .await?;
        rows.into_iter().map(member).collect()
    }

    async fn large_memberships(
        &self,
        users: &[UserKey],
        max: usize,
    ) -> Result<LargeMemberships, StoreError> {
        let pairs: Vec<_> = users.iter().map(|it| (&*it.tenant, &*it.user)).collect();
        let pairs =
            serde_json::to_string(&pairs).map_err(|error| StoreError::Failed(error.to_string()))?;
        let mut tx = self.read().await?;
        // Left to itself SQLite reads all members of the tenant for each user.
        let rows: Vec<LargeRow> = sqlx::query_as(
            "SELECT j.key, m.conversation, m.joined_seq, c.as_of
             FROM json_each(?1) AS j
                 CROSS JOIN member AS m INDEXED BY member_of_large ON m.tenant = j.value ->> 0 AND m.user = j.value ->> 1
                 CROSS JOIN conversation AS c ON c.tenant = m.tenant AND c.conversation = m.conversation
             WHERE m.large = 1 AND m.joined_seq > 0 AND m.left_seq = 0 AND c.disbanded_seq = 0
             ORDER BY j.key LIMIT ?2",
        )
        .bind(&pairs)
        .bind(to_db(max as u64) + 1)
        .fetch_all(&mut *tx)
        .await?;
        let unsettled: Vec<(i64,)> = sqlx::query_as(
            "SELECT DISTINCT j.key FROM outbox AS o CROSS JOIN json_each(?1) AS j
                 CROSS JOIN member AS m
                     ON m.tenant = o.tenant AND m.conversation = o.conversation AND m.user = j.value ->> 1
             WHERE o.seq IS NULL AND o.tenant = j.value ->> 0",
        )
        .bind(&pairs)
        .fetch_all(&mut *tx)
        .await?;
        let unsettled = unsettled.into_iter().map(|(user,)| user);
        Ok(large_memberships(rows, max, users.len(), unsettled))
    }

    async fn conversations_of(
        &self,
        user: &UserKey,
        _memberships: u64,
    ) -> Result<Arc<[Arc<str>]>, StoreError> {
        let mut tx = self.read().await?;
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT conversation FROM member WHERE tenant = ? AND user = ? AND joined_seq > 0 AND left_seq = 0",
        )
        .bind(&*user.tenant)
        .bind(&*user.user)
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(conversation,)| conversation.into())
            .collect())
    }

    fn forget(&self, _key: &ConversationKey) {
        // Every answer is read anew.
    }
}
