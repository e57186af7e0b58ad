//! Groups and the outbox in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use flare_server_core::telemetry::TraceId;
use flare_storage_model::ConversationKey;
use sqlx::PgConnection;

use super::{
    change_codec::{decode_row, encode_row},
    postgres::{PostgresSession, Users, is_taken, lock_conversation, lock_users, make_users},
    postgres_settlement::apply,
    row_codec::{
        AnsweredRow, answered, class_from_db, class_to_db, from_db, history_from_db, history_to_db,
        role_from_db, role_to_db, to_db,
    },
};
use crate::{
    application::ports::{Answered, CommandId, ConversationStore, OutboxLine, Placed, StoreError},
    domain::{change::Change, conversation::Conversation, role::Role},
};

/// Conversations with lines that wait, of which is told at once.
const MAX_PENDING: i64 = 10_000;

/// Class, title, history, disbanded, changed, members; users with their roles.
type GroupRow = (i64, String, i64, bool, i64, i64, Vec<String>, Vec<i64>);
type LineRow = (String, String, Vec<u8>, Option<Vec<u8>>);

#[async_trait]
impl ConversationStore for PostgresSession {
    async fn conversation(
        &self,
        key: &ConversationKey,
        about: &[Arc<str>],
    ) -> Result<Option<Conversation>, StoreError> {
        let about: Vec<_> = about.iter().map(|it| &**it).collect();
        let row = sqlx::query_as(
            "SELECT class, title, history, disbanded_seq > 0, changed_seq, member_count,
                 coalesce(m.users, '{}'), coalesce(m.roles, '{}')
             FROM conversation AS c CROSS JOIN LATERAL (
                 SELECT array_agg(user_id ORDER BY user_id) AS users, array_agg(role ORDER BY user_id) AS roles
                 FROM member WHERE member.tenant = c.tenant AND member.conversation = c.conversation
                     AND user_id = ANY ($3 || c.owner) AND joined_seq > 0 AND left_seq = 0) AS m
             WHERE c.tenant = $1 AND c.conversation = $2 AND class > 1 AND created_seq > 0",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(&about)
        .fetch_optional(self.database.pool());
        let row: Option<GroupRow> = self.database.within(row).await?;
        let Some((class, title, history, disbanded, changed_seq, member_count, users, roles)) = row
        else {
            return Ok(None);
        };
        let members = users.into_iter().zip(roles);
        Ok(Some(Conversation {
            id: Arc::clone(&key.conversation),
            class: class_from_db(class)?,
            title,
            history: history_from_db(history)?,
            disbanded,
            as_of: from_db(changed_seq),
            member_count: usize::try_from(member_count).unwrap_or_default(),
            members: members
                .map(|(user, role)| Ok((user.into(), role_from_db(role)?)))
                .collect::<Result<_, StoreError>>()?,
        }))
    }

    async fn exists(&self, key: &ConversationKey) -> Result<bool, StoreError> {
        let row = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM conversation WHERE tenant = $1 AND conversation = $2)",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .fetch_one(self.database.pool());
        self.database.within(async { Ok(row.await?) }).await
    }

    async fn answered(
        &self,
        key: &ConversationKey,
        sender: &str,
        client_id: &str,
    ) -> Result<Option<Answered>, StoreError> {
        let row = sqlx::query_as(
            "SELECT fingerprint, seq FROM outbox
             WHERE tenant = $1 AND conversation = $2 AND sender = $3 AND client_id = $4",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(sender)
        .bind(client_id)
        .fetch_optional(self.database.pool());
        let row: Option<AnsweredRow> = self.database.within(row).await?;
        row.map(|row| answered(row, client_id)).transpose()
    }

    async fn commit(
        &self,
        line: &OutboxLine,
        command: &CommandId,
        decided_on: u64,
        max_conversations: u32,
    ) -> Result<(), StoreError> {
        let write = async {
            let mut tx = self.database.begin().await?;
            if !claim(&mut tx, line, decided_on).await? {
                return Err(StoreError::Moved(line.key.clone()));
            }
            let row = LineToBe {
                key: &line.key,
                sender: &line.sender,
                line: &line.line,
                command,
                change: Some(&line.change),
                trace_id: line.trace_id,
            };
            row.insert(&mut tx).await?;
            reserve(&mut tx, line, max_conversations).await?;
            Ok(tx.commit().await?)
        };
        self.database.within(write).await
    }

    async fn commit_nothing(
        &self,
        key: &ConversationKey,
        sender: &str,
        line: &str,
        command: &CommandId,
    ) -> Result<(), StoreError> {
        let row = LineToBe {
            key,
            sender,
            line,
            command,
            change: None,
            trace_id: None,
        };
        let write = async {
            let mut tx = self.database.begin().await?;
            row.insert(&mut tx).await?;
            Ok(tx.commit().await?)
        };
        self.database.within(write).await
    }

    async fn settle(&self, line: &OutboxLine, placed: &Placed) -> Result<(), StoreError> {
        let write = async {
            let mut tx = self.database.begin().await?;
            lock_conversation(&mut tx, &line.key).await?;
            if !lock_pending(&mut tx, &line.line).await? {
                return Ok(());
            }
            apply(&mut tx, line, placed).await?;
            sqlx::query(
                "UPDATE conversation SET active_ms = GREATEST(active_ms, $3), changed_seq = GREATEST(changed_seq, $5),
                     as_of = CASE WHEN $4 THEN GREATEST(as_of, $5) ELSE as_of END
                 WHERE tenant = $1 AND conversation = $2",
            )
            .bind(&*line.key.tenant)
            .bind(&*line.key.conversation)
            .bind(placed.time_ms)
            .bind(line.change.is_membership())
            .bind(to_db(placed.seq))
            .execute(&mut *tx)
            .await?;
            sqlx::query(
                "UPDATE outbox SET seq = $1, change = NULL, trace_id = NULL WHERE line = $2",
            )
            .bind(to_db(placed.seq))
            .bind(&line.line)
            .execute(&mut *tx)
            .await?;
            Ok(tx.commit().await?)
        };
        self.database.within(write).await
    }

    async fn withdraw(&self, line: &OutboxLine) -> Result<(), StoreError> {
        let write = async {
            let mut tx = self.database.begin().await?;
            lock_conversation(&mut tx, &line.key).await?;
            if lock_pending(&mut tx, &line.line).await? {
                take_back(&mut tx, line).await?;
                tx.commit().await?;
            }
            Ok(())
        };
        self.database.within(write).await
    }

    async fn pending(&self, key: &ConversationKey) -> Result<Vec<OutboxLine>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT line, sender, change, trace_id FROM outbox
             WHERE tenant = $1 AND conversation = $2 AND seq IS NULL ORDER BY line",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .fetch_all(self.database.pool());
        let rows: Vec<LineRow> = self.database.within(rows).await?;
        let lines = rows.into_iter().map(|(line, sender, change, trace_id)| {
            let change = decode_row(&change)
                .map_err(|cause| StoreError::Failed(format!("outbox line {line}: {cause}")))?;
            Ok(OutboxLine {
                line,
                key: key.clone(),
                sender: sender.into(),
                change,
                trace_id: trace_id.as_deref().and_then(TraceId::from_slice),
            })
        });
        lines.collect()
    }

    async fn pending_conversations(&self) -> Result<Vec<ConversationKey>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT tenant, conversation FROM outbox WHERE seq IS NULL ORDER BY line LIMIT $1",
        )
        .bind(MAX_PENDING)
        .fetch_all(self.database.pool());
        let rows: Vec<(String, String)> = self.database.within(rows).await?;
        Ok(rows
            .into_iter()
            .map(|(tenant, conversation)| ConversationKey::new(tenant, conversation))
            .collect())
    }
}

/// Takes the conversation for the change, or makes its row; false: the change was decided on what is no more.
async fn claim(
    tx: &mut PgConnection,
    line: &OutboxLine,
    decided_on: u64,
) -> Result<bool, StoreError> {
    let key = &line.key;
    let is_new = matches!(line.change, Change::Created { .. });
    if is_new != (decided_on == 0) {
        return Ok(false);
    }
    if let Change::Created {
        title,
        members,
        history,
        class,
    } = &line.change
    {
        let owner = members.iter().find(|it| it.role == Role::Owner);
        let made = sqlx::query(
            "INSERT INTO conversation (tenant, conversation, class, title, owner, history, created_seq, created_ms, as_of,
                 changed_seq, disbanded_seq, member_count, active_ms, user_low, user_high)
             VALUES ($1, $2, $6, $3, $4, $5, 0, 0, 0, 0, 0, 0, 0, '', '')
             ON CONFLICT DO NOTHING",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(title)
        .bind(owner.map_or("", |it| &*it.user))
        .bind(history_to_db(*history))
        .bind(class_to_db(*class))
        .execute(tx)
        .await?;
        return Ok(made.rows_affected() == 1);
    }
    let changed_seq: Option<i64> = sqlx::query_scalar(
        "SELECT changed_seq FROM conversation WHERE tenant = $1 AND conversation = $2 FOR NO KEY UPDATE",
    )
    .bind(&*key.tenant)
    .bind(&*key.conversation)
    .fetch_optional(tx)
    .await?;
    Ok(changed_seq == Some(to_db(decided_on)))
}

/// A row of the outbox. It waits if it bears a change; without one it is the memory of a command that had nothing to change.
struct LineToBe<'a> {
    key: &'a ConversationKey,
    sender: &'a str,
    line: &'a str,
    command: &'a CommandId,
    change: Option<&'a Change>,
    trace_id: Option<TraceId>,
}

impl LineToBe<'_> {
    /// Another change that waits, or the same command of another process, is in the way of it.
    async fn insert(&self, tx: &mut PgConnection) -> Result<(), StoreError> {
        let inserted = sqlx::query(
            "INSERT INTO outbox (line, tenant, conversation, sender, client_id, fingerprint, change, seq, trace_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $7 IS NULL THEN 0 END, $8)",
        )
        .bind(self.line)
        .bind(&*self.key.tenant)
        .bind(&*self.key.conversation)
        .bind(self.sender)
        .bind(&*self.command.client_id)
        .bind(&self.command.fingerprint[..])
        .bind(self.change.map(encode_row))
        .bind(self.trace_id.map(|it| it.as_bytes().to_vec()))
        .execute(tx)
        .await;
        match inserted {
            Ok(_) => Ok(()),
            Err(error) if is_taken(&error) => Err(StoreError::Moved(self.key.clone())),
            Err(error) => Err(error.into()),
        }
    }
}

/// Writes rows of who will join, and counts the group for them already: two commands at the same time cannot pass the limit.
async fn reserve(
    tx: &mut PgConnection,
    line: &OutboxLine,
    max_conversations: u32,
) -> Result<(), StoreError> {
    let joining = line.change.joining();
    if joining.is_empty() {
        return Ok(());
    }
    let tenant = &*line.key.tenant;
    let users: Users<'_> = joining.iter().map(|it| (tenant, &*it.user)).collect();
    make_users(tx, &users).await?;
    lock_users(tx, &users).await?;
    let ids: Vec<_> = joining.iter().map(|it| &*it.user).collect();
    let roles: Vec<_> = joining.iter().map(|it| role_to_db(it.role)).collect();
    let beyond: Vec<String> = sqlx::query_scalar(
        "WITH counted AS (
             UPDATE user_state SET conversations = conversations + 1
             WHERE tenant = $1 AND user_id = ANY ($2) RETURNING user_id, conversations)
         SELECT user_id FROM counted WHERE conversations > $3",
    )
    .bind(tenant)
    .bind(&ids)
    .bind(i64::from(max_conversations))
    .fetch_all(&mut *tx)
    .await?;
    if let Some(member) = joining
        .iter()
        .find(|it| beyond.iter().any(|user| **user == *it.user))
    {
        return Err(StoreError::TooManyConversations {
            user: Arc::clone(&member.user),
            max: max_conversations,
        });
    }
    sqlx::query(
        "INSERT INTO member (tenant, conversation, user_id, role, pending_line)
         SELECT $1, $2, user_id, role, $3 FROM unnest($4::text[], $5::bigint[]) AS j (user_id, role)
         ON CONFLICT (tenant, conversation, user_id) DO UPDATE SET pending_line = excluded.pending_line",
    )
    .bind(tenant)
    .bind(&*line.key.conversation)
    .bind(&line.line)
    .bind(&ids)
    .bind(&roles)
    .execute(tx)
    .await?;
    Ok(())
}

/// Undoes what [`reserve`] and [`claim`] wrote, and forgets the line.
async fn take_back(tx: &mut PgConnection, line: &OutboxLine) -> Result<(), StoreError> {
    let (tenant, conversation) = (&*line.key.tenant, &*line.key.conversation);
    let joining = line.change.joining();
    let users: Users<'_> = joining.iter().map(|it| (tenant, &*it.user)).collect();
    lock_users(tx, &users).await?;
    for statement in [
        "UPDATE user_state SET conversations = conversations - 1 WHERE tenant = $1 AND user_id IN
             (SELECT user_id FROM member WHERE tenant = $1 AND conversation = $2 AND pending_line = $3)",
        "DELETE FROM member WHERE tenant = $1 AND conversation = $2 AND pending_line = $3 AND joined_seq = 0",
        "UPDATE member SET pending_line = NULL WHERE tenant = $1 AND conversation = $2 AND pending_line = $3",
        "DELETE FROM outbox WHERE tenant = $1 AND conversation = $2 AND line = $3",
    ] {
        sqlx::query(statement)
            .bind(tenant)
            .bind(conversation)
            .bind(&line.line)
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query(
        "DELETE FROM conversation WHERE tenant = $1 AND conversation = $2 AND created_seq = 0",
    )
    .bind(tenant)
    .bind(conversation)
    .execute(tx)
    .await?;
    Ok(())
}

/// Locks the line if it has no seq; false: it is settled or gone.
async fn lock_pending(tx: &mut PgConnection, line: &str) -> Result<bool, sqlx::Error> {
    let pending =
        sqlx::query_scalar("SELECT seq IS NULL FROM outbox WHERE line = $1 FOR NO KEY UPDATE")
            .bind(line)
            .fetch_optional(tx)
            .await?;
    Ok(pending.unwrap_or(false))
}
