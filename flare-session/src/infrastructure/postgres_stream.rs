//! What the stream of events does to the rows.

use std::sync::Arc;

use flare_storage_model::ConversationKey;
use sqlx::PgConnection;

use super::{
    postgres::{Users, key_columns, lock_users, make_users},
    row_codec::{role_to_db, to_db},
};
use crate::{
    application::ports::{DirectConversation, StoreError, StreamEffects},
    domain::role::Role,
};

/// (conversation, seq, by).
type Recalls = [(ConversationKey, u64, u64)];

/// Writes what a batch of events brings; answers the direct conversations that are new.
pub(super) async fn write_effects(
    tx: &mut PgConnection,
    effects: &StreamEffects,
) -> Result<Vec<DirectConversation>, StoreError> {
    let new = make_directs(tx, &effects.directs).await?;
    lock_recalled(tx, &effects.recalls).await?;
    let (heard, left) = (
        who_hears_of_recalls(tx, &effects.recalls).await?,
        who_left(tx, &effects.changes).await?,
    );

    let beginning: Users<'_> = new
        .iter()
        .flat_map(|it| {
            it.participants
                .iter()
                .map(|user| (&*it.key.tenant, &**user))
        })
        .collect();
    make_users(tx, &beginning).await?;
    let mentioned = effects.mentions.iter();
    let mut users: Users<'_> = mentioned
        .flat_map(|(key, _, users)| users.iter().map(|user| (&*key.tenant, &**user)))
        .collect();
    users.extend(&beginning);
    users.extend(heard.iter().map(|(tenant, user)| (&**tenant, &**user)));
    users.extend(left.iter().map(|(tenant, user)| (&**tenant, &**user)));
    lock_users(tx, &users).await?;

    join_directs(tx, &new).await?;
    mention(tx, &effects.mentions).await?;
    recall(tx, &effects.recalls).await?;
    depart(tx, &effects.changes, &left).await?;
    Ok(new)
}

/// Makes the rows of direct conversations, and answers those that were not there.
async fn make_directs(
    tx: &mut PgConnection,
    directs: &[DirectConversation],
) -> Result<Vec<DirectConversation>, StoreError> {
    if directs.is_empty() {
        return Ok(Vec::new());
    }
    let (tenants, conversations) = key_columns(directs.iter().map(|it| &it.key));
    let lows: Vec<_> = directs.iter().map(|it| &*it.participants[0]).collect();
    let highs: Vec<_> = directs.iter().map(|it| &*it.participants[1]).collect();
    let times: Vec<_> = directs.iter().map(|it| it.time_ms).collect();
    let made: Vec<(String, String)> = sqlx::query_as(
        "INSERT INTO conversation (tenant, conversation, class, title, owner, history, created_seq, created_ms, as_of,
             changed_seq, disbanded_seq, member_count, active_ms, user_low, user_high)
         SELECT tenant, conversation, 1, '', '', 1, 1, time_ms, 0, 0, 0, CASE WHEN low = high THEN 1 ELSE 2 END, time_ms, low, high
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) AS d (tenant, conversation, low, high, time_ms)
         ORDER BY tenant COLLATE \"C\", conversation COLLATE \"C\"
         ON CONFLICT DO NOTHING
         RETURNING tenant, conversation",
    )
    .bind(tenants)
    .bind(conversations)
    .bind(lows)
    .bind(highs)
    .bind(times)
    .fetch_all(tx)
    .await?;
    let mut new: Vec<DirectConversation> = Vec::with_capacity(made.len());
    for direct in directs {
        let key = (&*direct.key.tenant, &*direct.key.conversation);
        let is_made = made.iter().any(|(tenant, id)| (&**tenant, &**id) == key);
        if is_made && new.iter().all(|it| it.key != direct.key) {
            new.push(direct.clone());
        }
    }
    Ok(new)
}

async fn join_directs(tx: &mut PgConnection, new: &[DirectConversation]) -> Result<(), StoreError> {
    let mut rows: Vec<(&ConversationKey, &str)> = Vec::new();
    for direct in new {
        let [low, high] = &direct.participants;
        rows.push((&direct.key, low));
        if low != high {
            rows.push((&direct.key, high));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let (tenants, conversations) = key_columns(rows.iter().map(|(key, _)| *key));
    let users: Vec<_> = rows.iter().map(|(_, user)| *user).collect();
    sqlx::query(
        "WITH joins AS (
             SELECT tenant, conversation, user_id FROM unnest($1::text[], $2::text[], $3::text[]) AS j (tenant, conversation, user_id)),
         bumped AS (
             UPDATE user_state AS s SET version = s.version + 1, memberships = s.version + 1
             FROM (SELECT DISTINCT tenant, user_id FROM joins) AS u
             WHERE s.tenant = u.tenant AND s.user_id = u.user_id
             RETURNING s.tenant, s.user_id, s.version)
         INSERT INTO member (tenant, conversation, user_id, role, joined_seq, version)
         SELECT j.tenant, j.conversation, j.user_id, $4, 1, b.version
         FROM joins AS j JOIN bumped AS b ON b.tenant = j.tenant AND b.user_id = j.user_id",
    )
    .bind(tenants)
    .bind(conversations)
    .bind(users)
    .bind(role_to_db(Role::Member))
    .execute(tx)
    .await?;
    Ok(())
}

/// Also for one whose joining has its event but not yet its rows, and for one who left by a later event.
async fn mention(
    tx: &mut PgConnection,
    mentions: &[(ConversationKey, u64, Vec<Arc<str>>)],
) -> Result<(), StoreError> {
    let rows: Vec<_> = mentions
        .iter()
        .flat_map(|(key, seq, users)| users.iter().map(move |user| (key, &**user, to_db(*seq))))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let (tenants, conversations) = key_columns(rows.iter().map(|(key, ..)| *key));
    let users: Vec<_> = rows.iter().map(|(_, user, _)| *user).collect();
    let seqs: Vec<_> = rows.iter().map(|(.., seq)| *seq).collect();
    sqlx::query(
        "INSERT INTO mention (tenant, conversation, user_id, seq)
         SELECT m.tenant, m.conversation, m.user_id, n.seq
         FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS n (tenant, conversation, user_id, seq)
         JOIN member AS m ON m.tenant = n.tenant AND m.conversation = n.conversation AND m.user_id = n.user_id
         WHERE ((m.joined_seq > 0 AND (m.left_seq = 0 OR m.left_seq > n.seq)) OR m.pending_line IS NOT NULL) AND m.read_seq < n.seq
         ORDER BY m.tenant, m.conversation, m.user_id, n.seq
         ON CONFLICT DO NOTHING",
    )
    .bind(tenants)
    .bind(conversations)
    .bind(users)
    .bind(seqs)
    .execute(tx)
    .await?;
    Ok(())
}

/// A message of a locked conversation is not kept for anybody who left, and nobody leaves.
async fn lock_recalled(tx: &mut PgConnection, recalls: &Recalls) -> Result<(), StoreError> {
    if recalls.is_empty() {
        return Ok(());
    }
    let (tenants, conversations) = key_columns(recalls.iter().map(|it| &it.0));
    sqlx::query(
        "SELECT 1 FROM conversation
         WHERE (tenant, conversation) IN (SELECT * FROM unnest($1::text[], $2::text[]))
         ORDER BY tenant, conversation FOR UPDATE",
    )
    .bind(tenants)
    .bind(conversations)
    .execute(tx)
    .await?;
    Ok(())
}

/// Users whose mentions may go, or whose kept messages.
async fn who_hears_of_recalls(
    tx: &mut PgConnection,
    recalls: &Recalls,
) -> Result<Vec<(String, String)>, StoreError> {
    if recalls.is_empty() {
        return Ok(Vec::new());
    }
    let (tenants, conversations) = key_columns(recalls.iter().map(|it| &it.0));
    let (seqs, bys) = recall_columns(recalls);
    let users = sqlx::query_as(
        "WITH recalled AS (
             SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS r (tenant, conversation, seq, by_seq))
         SELECT n.tenant, n.user_id FROM mention AS n
         JOIN recalled AS r ON n.tenant = r.tenant AND n.conversation = r.conversation AND n.seq = r.seq
         UNION
         SELECT m.tenant, m.user_id FROM member AS m
         JOIN recalled AS r ON m.tenant = r.tenant AND m.conversation = r.conversation
             AND m.left_seq > 0 AND m.left_seq > r.seq AND m.left_seq < r.by_seq",
    )
    .bind(tenants)
    .bind(conversations)
    .bind(seqs)
    .bind(bys)
    .fetch_all(tx)
    .await?;
    Ok(users)
}

async fn recall(tx: &mut PgConnection, recalls: &Recalls) -> Result<(), StoreError> {
    if recalls.is_empty() {
        return Ok(());
    }
    let (tenants, conversations) = key_columns(recalls.iter().map(|it| &it.0));
    let (seqs, bys) = recall_columns(recalls);
    for statement in [
        "INSERT INTO recall (tenant, conversation, seq, by_seq)
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
         ON CONFLICT DO NOTHING",
        "DELETE FROM mention AS n
         USING unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS r (tenant, conversation, seq, by_seq)
         WHERE n.tenant = r.tenant AND n.conversation = r.conversation AND n.seq = r.seq AND NOT EXISTS (
             SELECT 1 FROM member AS m
             WHERE m.tenant = n.tenant AND m.conversation = n.conversation AND m.user_id = n.user_id
                 AND m.left_seq > 0 AND m.left_seq < r.by_seq)",
        // It may be what was kept for one who left: asked for again, it comes without its content.
        "UPDATE member AS m SET left_message = NULL
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS r (tenant, conversation, seq, by_seq)
         WHERE m.tenant = r.tenant AND m.conversation = r.conversation AND m.left_seq > 0 AND m.left_seq > r.seq
             AND m.left_seq < r.by_seq AND m.left_message IS NOT NULL",
    ] {
        sqlx::query(statement)
            .bind(&tenants)
            .bind(&conversations)
            .bind(&seqs)
            .bind(&bys)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

fn recall_columns(recalls: &Recalls) -> (Vec<i64>, Vec<i64>) {
    let of = |(_, seq, by): &(ConversationKey, u64, u64)| (to_db(*seq), to_db(*by));
    recalls.iter().map(of).unzip()
}

async fn who_left(
    tx: &mut PgConnection,
    changes: &[(ConversationKey, u64)],
) -> Result<Vec<(String, String)>, StoreError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let (tenants, conversations) = key_columns(changes.iter().map(|it| &it.0));
    let seqs: Vec<_> = changes.iter().map(|it| to_db(it.1)).collect();
    let users = sqlx::query_as(
        "SELECT m.tenant, m.user_id FROM member AS m
         JOIN unnest($1::text[], $2::text[], $3::bigint[]) AS l (tenant, conversation, seq)
             ON m.tenant = l.tenant AND m.conversation = l.conversation AND m.left_seq = l.seq
         WHERE m.left_seq > 0",
    )
    .bind(tenants)
    .bind(conversations)
    .bind(seqs)
    .fetch_all(tx)
    .await?;
    Ok(users)
}

/// Whoever left by one of the events sees no later one, so his row says that all before it has come by.
async fn depart(
    tx: &mut PgConnection,
    changes: &[(ConversationKey, u64)],
    users: &[(String, String)],
) -> Result<(), StoreError> {
    if users.is_empty() {
        return Ok(());
    }
    let (tenants, conversations) = key_columns(changes.iter().map(|it| &it.0));
    let seqs: Vec<_> = changes.iter().map(|it| to_db(it.1)).collect();
    let (of, ids): (Vec<_>, Vec<_>) = users.iter().map(|(of, id)| (&**of, &**id)).unzip();
    sqlx::query(
        "WITH bumped AS (
             UPDATE user_state SET version = version + 1
             WHERE (tenant, user_id) IN (SELECT * FROM unnest($4::text[], $5::text[]))
             RETURNING tenant, user_id, version)
         UPDATE member AS m SET version = b.version
         FROM bumped AS b, unnest($1::text[], $2::text[], $3::bigint[]) AS l (tenant, conversation, seq)
         WHERE m.tenant = l.tenant AND m.conversation = l.conversation AND m.left_seq = l.seq AND m.left_seq > 0
             AND m.tenant = b.tenant AND m.user_id = b.user_id",
    )
    .bind(tenants)
    .bind(conversations)
    .bind(seqs)
    .bind(of)
    .bind(ids)
    .execute(tx)
    .await?;
    Ok(())
}
