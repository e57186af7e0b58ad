//! Rosters in PostgreSQL.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use flare_storage_model::ConversationKey;
use sqlx::FromRow;

use super::{
    postgres::PostgresSession,
    row_codec::{
        LargeRow, MemberRow, belonging, from_db, history_from_db, large_memberships, member,
        summary, to_db,
    },
};
use crate::{
    application::ports::{LargeMemberships, RosterStore, StoreError},
    domain::{
        caller::UserKey,
        membership::{Belonging, Roster, RosterMember},
        role::Class,
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
                 FROM member WHERE c.changed_seq IS DISTINCT FROM $3 AND c.class < 3 AND member.tenant = c.tenant
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

    async fn belonging(
        &self,
        key: &ConversationKey,
        users: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Belonging>, StoreError> {
        let users: Vec<_> = users.iter().map(|it| &**it).collect();
        let rows = sqlx::query_as(
            "SELECT user_id, role, joined_seq, left_seq FROM member
             WHERE tenant = $1 AND conversation = $2 AND user_id = ANY ($3) AND joined_seq > 0",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(&users)
        .fetch_all(self.database.pool());
        let rows: Vec<(String, i64, i64, i64)> = self.database.within(rows).await?;
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
        let rows = sqlx::query_as(
            "SELECT user_id, role, joined_seq FROM member
             WHERE tenant = $1 AND conversation = $2 AND user_id > $3 AND joined_seq > 0 AND left_seq = 0
             ORDER BY user_id LIMIT $4",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        // Before every id.
        .bind(after.unwrap_or_default())
        .bind(to_db(limit as u64))
        .fetch_all(self.database.pool());
        let rows: Vec<MemberRow> = self.database.within(rows).await?;
        rows.into_iter().map(member).collect()
    }

    async fn large_memberships(
        &self,
        users: &[UserKey],
        max: usize,
    ) -> Result<LargeMemberships, StoreError> {
        let (tenants, ids): (Vec<_>, Vec<_>) =
            users.iter().map(|it| (&*it.tenant, &*it.user)).unzip();
        let read = async {
            // Before the rows: a line that is settled in between shows in those.
            let unsettled: Vec<i64> = sqlx::query_scalar(
                "SELECT DISTINCT u.place - 1 FROM outbox AS o
                     JOIN unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (tenant, user_id, place) ON u.tenant = o.tenant
                     JOIN member AS m ON m.tenant = o.tenant AND m.conversation = o.conversation AND m.user_id = u.user_id
                 WHERE o.seq IS NULL",
            )
            .bind(&tenants)
            .bind(&ids)
            .fetch_all(self.database.pool())
            .await?;
            let rows: Vec<LargeRow> = sqlx::query_as(
                "SELECT u.place - 1, m.conversation, m.joined_seq, c.as_of
                 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (tenant, user_id, place)
                     JOIN member AS m ON m.tenant = u.tenant AND m.user_id = u.user_id
                     JOIN conversation AS c ON c.tenant = m.tenant AND c.conversation = m.conversation
                 WHERE m.large AND m.joined_seq > 0 AND m.left_seq = 0 AND c.disbanded_seq = 0
                 ORDER BY u.place LIMIT $3",
            )
            .bind(&tenants)
            .bind(&ids)
            .bind(to_db(max as u64) + 1)
            .fetch_all(self.database.pool())
            .await?;
            Ok::<_, sqlx::Error>((rows, unsettled))
        };
        let (rows, unsettled) = self.database.within(read).await?;
        Ok(large_memberships(rows, max, users.len(), unsettled))
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
        let summary = summary(
            self.class,
            self.title,
            self.owner,
            self.member_count,
            self.created_ms,
            self.user_low,
            self.user_high,
        )?;
        let rows = self.users.into_iter().zip(self.roles).zip(self.joined);
        let members = rows.map(|((user, role), joined_seq)| member((user, role, joined_seq)));
        Ok(Roster {
            members: match summary.class {
                Class::Large => None,
                Class::Direct | Class::Group => Some(members.collect::<Result<_, StoreError>>()?),
            },
            summary,
            history: history_from_db(self.history)?,
            as_of: from_db(self.as_of),
            disbanded: self.disbanded,
        })
    }
}
