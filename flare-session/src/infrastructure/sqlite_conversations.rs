//! Groups and the outbox in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use flare_server_core::telemetry::TraceId;
use flare_storage_model::ConversationKey;
use sqlx::SqliteConnection;

use super::{
    change_codec::{decode_row, encode_row},
    row_codec::{
        AnsweredRow, answered, class_from_db, class_to_db, from_db, history_from_db, history_to_db,
        role_from_db, to_db,
    },
    sqlite::{SqliteSession, json_list, json_members},
    sqlite_settlement::apply,
};
use crate::{
    application::ports::{Answered, CommandId, ConversationStore, OutboxLine, Placed, StoreError},
    domain::{change::Change, conversation::Conversation, role::Role},
};

/// Class, title, history, disbanded, changed, members, owner.
type GroupRow = (i64, String, i64, bool, i64, i64, String);
type Line = (String, String, String, String, Vec<u8>, Option<Vec<u8>>);

#[async_trait]
impl ConversationStore for SqliteSession {
    async fn conversation(
        &self,
        key: &ConversationKey,
        about: &[Arc<str>],
    ) -> Result<Option<Conversation>, StoreError> {
        let about = json_list(about)?;
        let mut tx = self.read().await?;
        let row: Option<GroupRow> = sqlx::query_as(
            "SELECT class, title, history, disbanded_seq > 0, changed_seq, member_count, owner FROM conversation
             WHERE tenant = ? AND conversation = ? AND class > 1 AND created_seq > 0",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((class, title, history, disbanded, changed_seq, member_count, owner)) = row else {
            return Ok(None);
        };
        let members: Vec<(String, i64)> = sqlx::query_as(
            "SELECT user, role FROM member
             WHERE tenant = ?1 AND conversation = ?2 AND joined_seq > 0 AND left_seq = 0
                 AND user IN (SELECT value FROM json_each(?3) UNION SELECT ?4)",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(&about)
        .bind(&owner)
        .fetch_all(&mut *tx)
        .await?;
        Ok(Some(Conversation {
            id: Arc::clone(&key.conversation),
            class: class_from_db(class)?,
            title,
            history: history_from_db(history)?,
            disbanded,
            as_of: from_db(changed_seq),
            member_count: usize::try_from(member_count).unwrap_or_default(),
            members: members
                .into_iter()
                .map(|(user, role)| Ok((user.into(), role_from_db(role)?)))
                .collect::<Result<_, StoreError>>()?,
        }))
    }

    async fn exists(&self, key: &ConversationKey) -> Result<bool, StoreError> {
        let mut tx = self.read().await?;
        let row: Option<(i64,)> =
            sqlx::query_as("SELECT class FROM conversation WHERE tenant = ? AND conversation = ?")
                .bind(&*key.tenant)
                .bind(&*key.conversation)
                .fetch_optional(&mut *tx)
                .await?;
        Ok(row.is_some())
    }

    async fn answered(
        &self,
        key: &ConversationKey,
        sender: &str,
        client_id: &str,
    ) -> Result<Option<Answered>, StoreError> {
        let mut tx = self.read().await?;
        let row: Option<AnsweredRow> = sqlx::query_as(
            "SELECT fingerprint, seq FROM outbox
             WHERE tenant = ? AND conversation = ? AND sender = ? AND client_id = ?",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(sender)
        .bind(client_id)
        .fetch_optional(&mut *tx)
        .await?;
        row.map(|row| answered(row, client_id)).transpose()
    }

    async fn commit(
        &self,
        line: &OutboxLine,
        command: &CommandId,
        decided_on: u64,
        max_conversations: u32,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        if !is_as_decided(&mut tx, &line.key, decided_on).await? {
            return Err(StoreError::Moved(line.key.clone()));
        }
        insert_line(
            &mut tx,
            &line.key,
            &line.sender,
            &line.line,
            command,
            Some(&line.change),
            line.trace_id,
        )
        .await?;
        if let Change::Created {
            title,
            members,
            history,
            class,
        } = &line.change
        {
            let owner = members
                .iter()
                .find(|it| it.role == Role::Owner)
                .map_or("", |it| &*it.user);
            sqlx::query(
                "INSERT INTO conversation (tenant, conversation, class, title, owner, history, created_seq, created_ms,
                     as_of, disbanded_seq, member_count, active_ms, user_low, user_high)
                 VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, '', '')",
            )
            .bind(&*line.key.tenant)
            .bind(&*line.key.conversation)
            .bind(class_to_db(*class))
            .bind(title)
            .bind(owner)
            .bind(history_to_db(*history))
            .execute(&mut *tx)
            .await?;
        }
        reserve(&mut tx, line, max_conversations).await?;
        Ok(tx.commit().await?)
    }

    async fn commit_nothing(
        &self,
        key: &ConversationKey,
        sender: &str,
        line: &str,
        command: &CommandId,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        insert_line(&mut tx, key, sender, line, command, None, None).await?;
        Ok(tx.commit().await?)
    }

    async fn settle(&self, line: &OutboxLine, placed: &Placed) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        if !is_pending(&mut tx, &line.line).await? {
            return Ok(());
        }
        apply(&mut tx, line, placed).await?;
        sqlx::query(
            "UPDATE conversation SET active_ms = max(active_ms, ?3), as_of = iif(?4, max(as_of, ?5), as_of), changed_seq = max(changed_seq, ?5)
             WHERE tenant = ?1 AND conversation = ?2",
        )
        .bind(&*line.key.tenant)
        .bind(&*line.key.conversation)
        .bind(placed.time_ms)
        .bind(line.change.is_membership())
        .bind(to_db(placed.seq))
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE outbox SET seq = ?, change = NULL, trace_id = NULL WHERE line = ?")
            .bind(to_db(placed.seq))
            .bind(&line.line)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn withdraw(&self, line: &OutboxLine) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        if !is_pending(&mut tx, &line.line).await? {
            return Ok(());
        }
        let (tenant, conversation) = (&*line.key.tenant, &*line.key.conversation);
        for statement in [
            "UPDATE user_state SET conversations = conversations - 1 WHERE tenant = ?1 AND user IN
                 (SELECT user FROM member WHERE tenant = ?1 AND conversation = ?2 AND pending_line = ?3)",
            "DELETE FROM member WHERE tenant = ?1 AND conversation = ?2 AND pending_line = ?3 AND joined_seq = 0",
            "UPDATE member SET pending_line = NULL WHERE tenant = ?1 AND conversation = ?2 AND pending_line = ?3",
            "DELETE FROM outbox WHERE tenant = ?1 AND conversation = ?2 AND line = ?3",
        ] {
            sqlx::query(statement).bind(tenant).bind(conversation).bind(&line.line).execute(&mut *tx).await?;
        }
        sqlx::query(
            "DELETE FROM conversation WHERE tenant = ? AND conversation = ? AND created_seq = 0",
        )
        .bind(tenant)
        .bind(conversation)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn pending(&self, key: &ConversationKey) -> Result<Vec<OutboxLine>, StoreError> {
        let mut tx = self.read().await?;
        let rows: Vec<Line> = sqlx::query_as(
            "SELECT line, tenant, conversation, sender, change, trace_id FROM outbox
             WHERE tenant = ? AND conversation = ? AND seq IS NULL ORDER BY line",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .fetch_all(&mut *tx)
        .await?;
        rows.into_iter().map(line_from_row).collect()
    }

    async fn pending_conversations(&self) -> Result<Vec<ConversationKey>, StoreError> {
        let mut tx = self.read().await?;
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT DISTINCT tenant, conversation FROM outbox WHERE seq IS NULL")
                .fetch_all(&mut *tx)
                .await?;
        Ok(rows
            .into_iter()
            .map(|(tenant, conversation)| ConversationKey::new(tenant, conversation))
            .collect())
    }
}

fn line_from_row(
    (line, tenant, conversation, sender, change, trace_id): Line,
) -> Result<OutboxLine, StoreError> {
    let change = decode_row(&change)
        .map_err(|cause| StoreError::Failed(format!("outbox line {line}: {cause}")))?;
    Ok(OutboxLine {
        line,
        key: ConversationKey::new(tenant, conversation),
        sender: sender.into(),
        change,
        trace_id: trace_id.as_deref().and_then(TraceId::from_slice),
    })
}

/// A line waits if it bears a change; without one it is the memory of a command that had nothing to change.
async fn insert_line(
    tx: &mut SqliteConnection,
    key: &ConversationKey,
    sender: &str,
    line: &str,
    command: &CommandId,
    change: Option<&Change>,
    trace_id: Option<TraceId>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO outbox (line, tenant, conversation, sender, client_id, fingerprint, change, seq, trace_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, iif(?7 IS NULL, 0, NULL), ?8)",
    )
    .bind(line)
    .bind(&*key.tenant)
    .bind(&*key.conversation)
    .bind(sender)
    .bind(&*command.client_id)
    .bind(&command.fingerprint[..])
    .bind(change.map(encode_row))
    .bind(trace_id.map(|it| it.as_bytes().to_vec()))
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes rows of who will join, and counts the group for them already: two commands at the same time cannot pass the limit.
async fn reserve(
    tx: &mut SqliteConnection,
    line: &OutboxLine,
    max_conversations: u32,
) -> Result<(), StoreError> {
    let joining = line.change.joining();
    if joining.is_empty() {
        return Ok(());
    }
    let members = json_members(joining)?;
    sqlx::query(
        "INSERT INTO user_state (tenant, user, version, memberships, conversations)
         SELECT ?1, value ->> 0, 0, 0, 1 FROM json_each(?2) WHERE true
         ON CONFLICT (tenant, user) DO UPDATE SET conversations = conversations + 1",
    )
    .bind(&*line.key.tenant)
    .bind(&members)
    .execute(&mut *tx)
    .await?;
    let beyond: Option<(String,)> = sqlx::query_as(
        "SELECT s.user FROM json_each(?2) AS j CROSS JOIN user_state AS s ON s.tenant = ?1 AND s.user = j.value ->> 0
         WHERE s.conversations > ?3 ORDER BY j.key LIMIT 1",
    )
    .bind(&*line.key.tenant)
    .bind(&members)
    .bind(i64::from(max_conversations))
    .fetch_optional(&mut *tx)
    .await?;
    if let Some((user,)) = beyond {
        return Err(StoreError::TooManyConversations {
            user: user.into(),
            max: max_conversations,
        });
    }
    sqlx::query(
        "INSERT INTO member (tenant, conversation, user, role, joined_seq, left_seq, pending_line, read_seq, read_ordinal,
             mute_until_ms, pinned, hidden_at_seq, version, left_ordinal, left_ms, left_title, left_owner, left_member_count)
         SELECT ?1, ?2, value ->> 0, value ->> 1, 0, 0, ?4, 0, 0, 0, 0, 0, 0, 0, 0, '', '', 0 FROM json_each(?3) WHERE true
         ON CONFLICT (tenant, conversation, user) DO UPDATE SET pending_line = excluded.pending_line",
    )
    .bind(&*line.key.tenant)
    .bind(&*line.key.conversation)
    .bind(&members)
    .bind(&line.line)
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether the group is as of the change `decided_on`, or for 0 not there, and nothing of it waits.
async fn is_as_decided(
    tx: &mut SqliteConnection,
    key: &ConversationKey,
    decided_on: u64,
) -> Result<bool, StoreError> {
    let row: Option<(i64, bool)> = sqlx::query_as(
        "SELECT changed_seq, EXISTS (SELECT 1 FROM outbox WHERE tenant = ?1 AND conversation = ?2 AND seq IS NULL)
         FROM conversation WHERE tenant = ?1 AND conversation = ?2",
    )
    .bind(&*key.tenant)
    .bind(&*key.conversation)
    .fetch_optional(tx)
    .await?;
    Ok(match row {
        Some((changed_seq, waits)) => decided_on > 0 && changed_seq == to_db(decided_on) && !waits,
        None => decided_on == 0,
    })
}

async fn is_pending(tx: &mut SqliteConnection, line: &str) -> Result<bool, StoreError> {
    let row: Option<(bool,)> = sqlx::query_as("SELECT seq IS NULL FROM outbox WHERE line = ?")
        .bind(line)
        .fetch_optional(tx)
        .await?;
    Ok(row.is_some_and(|(pending,)| pending))
}
