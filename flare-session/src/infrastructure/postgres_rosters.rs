//! Rosters in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use flare_storage_model::ConversationKey;
use sqlx::FromRow;

use super::{
    postgres::PostgresSession,
    row_codec::{from_db, history_from_db, role_from_db, summary},
};
use crate::{
    application::ports::{RosterStore, StoreError},
    domain::{
        caller::UserKey,
        membership::{FormerMember, Roster, RosterMember},
    },
};

#[derive(FromRow)]
struct Row {
    changed_seq: i64,
    class: i64,
    title: String,
    owner: String,
    history: i64,
    created_ms: i64,
    as_of: i64,
    disbanded: bool,
    member_count: i64,
    user_low: String,
    user_high: String,
    /// Of active members, all in one order. Empty if nothing has changed.
    users: Vec<String>,
    roles: Vec<i64>,
    joined: Vec<i64>,
}

/// A roster, and the change that it is as of.
pub(super) type Revision = (i64, Arc<Roster>);

impl PostgresSession {
    /// The roster as it is; the one that is known costs a look at one row.
    pub(super) async fn newest_roster(
        &self,
        key: &ConversationKey,
        known: Option<Revision>,
    ) -> Result<Option<Revision>, StoreError> {
        // One statement: it sees one state.
        let row = sqlx::query_as(
            "SELECT changed_seq, class, title, owner, history, created_ms, as_of, disbanded_seq > 0 AS disbanded, member_count, user_low,
                 user_high, coalesce(m.users, '{}') AS users, coalesce(m.roles, '{}') AS roles, coalesce(m.joined, '{}') AS joined
             FROM conversation AS c CROSS JOIN LATERAL (
                 SELECT array_agg(user_id ORDER BY user_id) AS users, array_agg(role ORDER BY user_id) AS roles,
                     array_agg(joined_seq ORDER BY user_id) AS joined
                 FROM member WHERE c.changed_seq IS DISTINCT FROM $3 AND member.tenant = c.tenant
                     AND member.conversation = c.conversation AND joined_seq > 0 AND left_seq = 0) AS m
             WHERE c.tenant = $1 AND c.conversation = $2 AND created_seq > 0",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(known.as_ref().map(|it| it.0))
        .fetch_optional(self.database.pool());
        let row: Option<Row> = self.database.within(row).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let revision = row.changed_seq;
        match known.filter(|it| it.0 == revision) {
            Some(known) => Ok(Some(known)),
            None => Ok(Some((revision, Arc::new(row.into_domain()?)))),
        }
    }
}

#[async_trait]
impl RosterStore for PostgresSession {
    async fn roster(&self, key: &ConversationKey) -> Result<Option<Arc<Roster>>, StoreError> {
        let roster = self.newest_roster(key, None).await?;
        Ok(roster.map(|it| it.1))
    }

    async fn former(
        &self,
        key: &ConversationKey,
        user: &str,
    ) -> Result<Option<FormerMember>, StoreError> {
        let row = sqlx::query_as(
            "SELECT joined_seq, left_seq FROM member
             WHERE tenant = $1 AND conversation = $2 AND user_id = $3 AND left_seq > 0",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(user)
        .fetch_optional(self.database.pool());
        let row: Option<(i64, i64)> = self.database.within(row).await?;
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
        let rows = sqlx::query_scalar(
            "SELECT conversation FROM member WHERE tenant = $1 AND user_id = $2 AND joined_seq > 0 AND left_seq = 0",
        )
        .bind(&*user.tenant)
        .bind(&*user.user)
        .fetch_all(self.database.pool());
        let rows: Vec<String> = self.database.within(rows).await?;
        Ok(rows.into_iter().map(Arc::from).collect())
    }

    fn forget(&self, _key: &ConversationKey) {
        // Every answer is read anew.
    }
}

impl Row {
    fn into_domain(self) -> Result<Roster, StoreError> {
        let members = self.users.into_iter().zip(self.roles).zip(self.joined);
        let members = members.map(|((user, role), joined_seq)| {
            let member = RosterMember {
                role: role_from_db(role)?,
                joined_seq: from_db(joined_seq),
            };
            Ok((user.into(), member))
        });
        Ok(Roster {
            members: members.collect::<Result<_, StoreError>>()?,
            summary: summary(
                self.class,
                self.title,
                self.owner,
                self.member_count,
                self.created_ms,
                self.user_low,
                self.user_high,
            )?,
            history: history_from_db(self.history)?,
            as_of: from_db(self.as_of),
            disbanded: self.disbanded,
        })
    }
}
