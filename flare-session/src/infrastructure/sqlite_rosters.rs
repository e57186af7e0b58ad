//! Rosters in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use flare_storage_model::ConversationKey;

use super::{
    row_codec::{from_db, history_from_db, role_from_db, summary},
    sqlite::SqliteSession,
};
use crate::{
    application::ports::{RosterStore, StoreError},
    domain::{
        caller::UserKey,
        membership::{FormerMember, Roster, RosterMember},
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
        let members: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT user, role, joined_seq FROM member
             WHERE tenant = ? AND conversation = ? AND joined_seq > 0 AND left_seq = 0",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .fetch_all(&mut *tx)
        .await?;
        let members = members
            .into_iter()
            .map(|(user, role, joined_seq)| {
                let member = RosterMember {
                    role: role_from_db(role)?,
                    joined_seq: from_db(joined_seq),
                };
                Ok((user.into(), member))
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Some(Arc::new(Roster {
            summary: summary(class, title, owner, count, created_ms, low, high)?,
            history: history_from_db(history)?,
            as_of: from_db(as_of),
            disbanded,
            members,
        })))
    }

    async fn former(
        &self,
        key: &ConversationKey,
        user: &str,
    ) -> Result<Option<FormerMember>, StoreError> {
        let mut tx = self.read().await?;
        let row: Option<(i64, i64)> = sqlx::query_as(
            "SELECT joined_seq, left_seq FROM member
             WHERE tenant = ? AND conversation = ? AND user = ? AND left_seq > 0",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(user)
        .fetch_optional(&mut *tx)
        .await?;
        Ok(row.map(|(joined_seq, left_seq)| FormerMember {
            joined_seq: from_db(joined_seq),
            left_seq: from_db(left_seq),
        }))
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
