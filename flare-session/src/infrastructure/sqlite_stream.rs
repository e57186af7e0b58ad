//! What the stream of events does to the rows.

use flare_storage_model::ConversationKey;
use sqlx::SqliteConnection;

use super::{
    row_codec::{role_to_db, to_db},
    sqlite::{bump, json_list},
};
use crate::{
    application::ports::{DirectConversation, StoreError, StreamEffects, StreamStart},
    domain::role::Role,
};

/// Writes what a batch of events brings; answers the direct conversations that are new.
pub(super) async fn write_effects(
    tx: &mut SqliteConnection,
    effects: &StreamEffects,
) -> Result<Vec<DirectConversation>, StoreError> {
    let mut new = Vec::new();
    for direct in &effects.directs {
        if begin_direct(tx, direct).await? {
            new.push(direct.clone());
        }
    }
    for (key, seq, users) in &effects.mentions {
        // Also for one whose joining has its event but not yet its rows, and for one who left by a later event.
        sqlx::query(
                "INSERT OR IGNORE INTO mention (tenant, conversation, user, seq)
                 SELECT tenant, conversation, user, ?3 FROM member
                 WHERE tenant = ?1 AND conversation = ?2 AND user IN (SELECT value FROM json_each(?4))
                     AND ((joined_seq > 0 AND (left_seq = 0 OR left_seq > ?3)) OR pending_line IS NOT NULL)
                     AND read_seq < ?3",
            )
            .bind(&*key.tenant)
            .bind(&*key.conversation)
            .bind(to_db(*seq))
            .bind(json_list(users)?)
            .execute(&mut *tx)
            .await?;
    }
    for (key, seq, by) in &effects.recalls {
        for statement in [
                "INSERT OR IGNORE INTO recall (tenant, conversation, seq, by_seq) VALUES (?1, ?2, ?3, ?4)",
                "DELETE FROM mention WHERE tenant = ?1 AND conversation = ?2 AND seq = ?3 AND user NOT IN
                     (SELECT user FROM member
                      WHERE tenant = ?1 AND conversation = ?2 AND left_seq > 0 AND left_seq < ?4)",
                // It may be what was kept for one who left: asked for again, it comes without its content.
                "UPDATE member SET left_message = NULL
                 WHERE tenant = ?1 AND conversation = ?2 AND left_seq > ?3 AND left_seq < ?4 AND left_message IS NOT NULL",
            ] {
                sqlx::query(statement)
                    .bind(&*key.tenant)
                    .bind(&*key.conversation)
                    .bind(to_db(*seq))
                    .bind(to_db(*by))
                    .execute(&mut *tx)
                    .await?;
            }
    }
    for (key, seq) in &effects.changes {
        departed(tx, key, *seq).await?;
    }
    Ok(new)
}

/// Whoever left by the event at `seq` sees no later one, so his row says that all before it has come by.
async fn departed(
    tx: &mut SqliteConnection,
    key: &ConversationKey,
    seq: u64,
) -> Result<(), StoreError> {
    let users: Vec<(String,)> = sqlx::query_as(
        "SELECT user FROM member WHERE tenant = ? AND conversation = ? AND left_seq = ? AND left_seq > 0",
    )
    .bind(&*key.tenant)
    .bind(&*key.conversation)
    .bind(to_db(seq))
    .fetch_all(&mut *tx)
    .await?;
    for (user,) in users {
        let version = bump(tx, &key.tenant, &user, false).await?;
        sqlx::query(
            "UPDATE member SET version = ? WHERE tenant = ? AND conversation = ? AND user = ?",
        )
        .bind(version)
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(user)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Makes the rows of a direct conversation; false: they were there.
async fn begin_direct(
    tx: &mut SqliteConnection,
    direct: &DirectConversation,
) -> Result<bool, StoreError> {
    let [low, high] = &direct.participants;
    let members = if low == high { 1 } else { 2 };
    let inserted = sqlx::query(
        "INSERT INTO conversation (tenant, conversation, class, title, owner, history, created_seq, created_ms, as_of,
             disbanded_seq, member_count, active_ms, user_low, user_high)
         VALUES (?1, ?2, 1, '', '', 1, 1, ?3, 0, 0, ?4, ?3, ?5, ?6)
         ON CONFLICT (tenant, conversation) DO NOTHING",
    )
    .bind(&*direct.key.tenant)
    .bind(&*direct.key.conversation)
    .bind(direct.time_ms)
    .bind(members)
    .bind(&**low)
    .bind(&**high)
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    for user in &direct.participants[..usize::try_from(members).unwrap_or(1)] {
        let version = bump(tx, &direct.key.tenant, user, true).await?;
        sqlx::query(
            "INSERT INTO member (tenant, conversation, user, role, joined_seq, left_seq, pending_line, read_seq, read_ordinal,
                 mute_until_ms, pinned, hidden_at_seq, version, left_ordinal, left_ms, left_title, left_owner,
                 left_member_count)
             VALUES (?, ?, ?, ?, 1, 0, NULL, 0, 0, 0, 0, 0, ?, 0, 0, '', '', 0)",
        )
        .bind(&*direct.key.tenant)
        .bind(&*direct.key.conversation)
        .bind(&**user)
        .bind(role_to_db(Role::Member))
        .bind(version)
        .execute(&mut *tx)
        .await?;
    }
    Ok(true)
}

pub(super) async fn put_stream(
    tx: &mut SqliteConnection,
    at: StreamStart,
    clean: bool,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO stream (one, epoch, position, clean) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT (one) DO UPDATE SET epoch = ?1, position = ?2, clean = ?3",
    )
    .bind(to_db(at.epoch))
    .bind(to_db(at.position))
    .bind(clean)
    .execute(tx)
    .await?;
    Ok(())
}
