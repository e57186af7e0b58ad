//! Positions in PostgreSQL.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use flare_storage_model::ConversationKey;
use sqlx::PgConnection;

use super::{
    postgres::{PostgresSession, Users, key_columns, lock_users},
    row_codec::{from_db, to_db},
};
use crate::{
    application::ports::{
        DeliveredUpdate, KEPT_DEVICES, MemberPositions, PositionBatch, PositionStore, ReadUpdate,
        StoreError,
    },
    domain::inbox::ReadPosition,
};

type PageRow = (String, i64, i64, Vec<String>, Vec<i64>);

#[async_trait]
impl PositionStore for PostgresSession {
    async fn put(&self, batch: &PositionBatch) -> Result<u64, StoreError> {
        let write = async {
            let mut tx = self.database.begin().await?;
            raise_activity(&mut tx, &batch.activity).await?;
            let readers = batch.reads.iter().map(|it| (&*it.key.tenant, &*it.user));
            let receivers = batch.delivered.iter();
            let receivers = receivers.map(|it| (&*it.key.tenant, &*it.user));
            let users: Users<'_> = readers.chain(receivers).collect();
            let locked = lock_users(&mut tx, &users).await?;
            let has_rows = |key: &ConversationKey, user: &Arc<str>| {
                // All of them, mostly.
                locked.len() == users.len()
                    || locked.contains(&(key.tenant.to_string(), user.to_string()))
            };
            let reads = batch.reads.iter().filter(|it| has_rows(&it.key, &it.user));
            raise_reads(&mut tx, &reads.collect::<Vec<_>>()).await?;
            let delivered = batch.delivered.iter();
            let delivered = delivered.filter(|it| has_rows(&it.key, &it.user));
            let gone = raise_delivered(&mut tx, &delivered.collect::<Vec<_>>()).await?;
            tx.commit().await?;
            Ok(gone)
        };
        self.database.within(write).await
    }

    async fn page(
        &self,
        key: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<MemberPositions>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT m.user_id, read_seq, read_ordinal, coalesce(d.devices, '{}'), coalesce(d.seqs, '{}')
             FROM member AS m CROSS JOIN LATERAL (
                 SELECT array_agg(device ORDER BY device) AS devices, array_agg(seq ORDER BY device) AS seqs FROM delivered
                 WHERE delivered.tenant = m.tenant AND delivered.conversation = m.conversation AND delivered.user_id = m.user_id) AS d
             WHERE m.tenant = $1 AND m.conversation = $2 AND m.user_id > $3 AND joined_seq > 0 AND left_seq = 0
             ORDER BY m.user_id LIMIT $4",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(after.unwrap_or_default())
        .bind(to_db(limit as u64))
        .fetch_all(self.database.pool());
        let rows: Vec<PageRow> = self.database.within(rows).await?;
        let positions = rows.into_iter().map(|(user, seq, ordinal, devices, seqs)| {
            let delivered = devices.into_iter().zip(seqs);
            MemberPositions {
                user: user.into(),
                read: ReadPosition {
                    seq: from_db(seq),
                    ordinal: from_db(ordinal),
                },
                delivered: delivered
                    .map(|(device, seq)| (device.into(), from_db(seq)))
                    .collect(),
            }
        });
        Ok(positions.collect())
    }
}

async fn raise_activity(
    tx: &mut PgConnection,
    activity: &[(ConversationKey, i64)],
) -> Result<(), StoreError> {
    let mut newest: HashMap<&ConversationKey, i64> = HashMap::with_capacity(activity.len());
    for (key, time_ms) in activity {
        let known = newest.entry(key).or_insert(*time_ms);
        *known = (*known).max(*time_ms);
    }
    if newest.is_empty() {
        return Ok(());
    }
    let (tenants, conversations) = key_columns(newest.keys().copied());
    let times: Vec<_> = newest.values().copied().collect();
    sqlx::query(
        "WITH behind AS MATERIALIZED (
             SELECT c.tenant, c.conversation, a.time_ms
             FROM conversation AS c JOIN unnest($1::text[], $2::text[], $3::bigint[]) AS a (tenant, conversation, time_ms)
                 ON c.tenant = a.tenant AND c.conversation = a.conversation
             WHERE c.active_ms < a.time_ms
             ORDER BY c.tenant, c.conversation FOR NO KEY UPDATE OF c)
         UPDATE conversation AS c SET active_ms = GREATEST(c.active_ms, b.time_ms) FROM behind AS b
         WHERE c.tenant = b.tenant AND c.conversation = b.conversation",
    )
    .bind(tenants)
    .bind(conversations)
    .bind(times)
    .execute(tx)
    .await?;
    Ok(())
}

/// The users are locked, so their versions and rows stand still meanwhile.
async fn raise_reads(tx: &mut PgConnection, reads: &[&ReadUpdate]) -> Result<(), StoreError> {
    if reads.is_empty() {
        return Ok(());
    }
    let (tenants, conversations) = key_columns(reads.iter().map(|it| &it.key));
    let users: Vec<_> = reads.iter().map(|it| &*it.user).collect();
    let seqs: Vec<_> = reads.iter().map(|it| to_db(it.position.seq)).collect();
    let ordinals: Vec<_> = reads.iter().map(|it| to_db(it.position.ordinal)).collect();
    // All rows of one user get the same version: they become visible at once.
    sqlx::query(
        "WITH wanted AS (
             SELECT DISTINCT ON (tenant, conversation, user_id) tenant, conversation, user_id, seq, ordinal
             FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
                 AS r (tenant, conversation, user_id, seq, ordinal)
             ORDER BY tenant, conversation, user_id, seq DESC),
         moved AS (
             UPDATE member AS m SET read_seq = w.seq, read_ordinal = w.ordinal, version = s.version + 1
             FROM wanted AS w JOIN user_state AS s ON s.tenant = w.tenant AND s.user_id = w.user_id
             WHERE m.tenant = w.tenant AND m.conversation = w.conversation AND m.user_id = w.user_id
                 AND m.read_seq < w.seq AND m.joined_seq > 0
             RETURNING m.tenant, m.conversation, m.user_id, m.read_seq),
         bumped AS (
             UPDATE user_state AS s SET version = s.version + 1 FROM (SELECT DISTINCT tenant, user_id FROM moved) AS u
             WHERE s.tenant = u.tenant AND s.user_id = u.user_id)
         DELETE FROM mention AS n USING moved AS m
         WHERE n.tenant = m.tenant AND n.conversation = m.conversation AND n.user_id = m.user_id AND n.seq <= m.read_seq",
    )
    .bind(tenants)
    .bind(conversations)
    .bind(users)
    .bind(seqs)
    .bind(ordinals)
    .execute(tx)
    .await?;
    Ok(())
}

/// Answers how many positions went, of devices beyond those that are kept.
async fn raise_delivered(
    tx: &mut PgConnection,
    delivered: &[&DeliveredUpdate],
) -> Result<u64, StoreError> {
    if delivered.is_empty() {
        return Ok(0);
    }
    let (tenants, conversations) = key_columns(delivered.iter().map(|it| &it.key));
    let users: Vec<_> = delivered.iter().map(|it| &*it.user).collect();
    let devices: Vec<_> = delivered.iter().map(|it| &*it.device).collect();
    let seqs: Vec<_> = delivered.iter().map(|it| to_db(it.seq)).collect();
    sqlx::query(
        "INSERT INTO delivered (tenant, conversation, user_id, device, seq)
         SELECT d.tenant, d.conversation, d.user_id, d.device, max(d.seq)
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
             AS d (tenant, conversation, user_id, device, seq)
         JOIN member AS m ON m.tenant = d.tenant AND m.conversation = d.conversation AND m.user_id = d.user_id
         GROUP BY 1, 2, 3, 4
         ON CONFLICT (tenant, conversation, user_id, device) DO UPDATE SET seq = GREATEST(delivered.seq, excluded.seq)",
    )
    .bind(&tenants)
    .bind(&conversations)
    .bind(&users)
    .bind(&devices)
    .bind(&seqs)
    .execute(&mut *tx)
    .await?;
    let gone = sqlx::query(
        "WITH told AS (
             SELECT DISTINCT tenant, conversation, user_id, device
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS t (tenant, conversation, user_id, device)),
         ranked AS (
             SELECT d.tenant, d.conversation, d.user_id, d.device,
                 row_number() OVER (PARTITION BY d.tenant, d.conversation, d.user_id
                                    ORDER BY d.seq DESC, t.device IS NOT NULL DESC, d.device) AS place
             FROM (SELECT DISTINCT tenant, conversation, user_id FROM told) AS w
             JOIN delivered AS d ON d.tenant = w.tenant AND d.conversation = w.conversation AND d.user_id = w.user_id
             LEFT JOIN told AS t ON t.tenant = d.tenant AND t.conversation = d.conversation AND t.user_id = d.user_id
                 AND t.device = d.device)
         DELETE FROM delivered AS d USING ranked AS r
         WHERE r.place > $5 AND d.tenant = r.tenant AND d.conversation = r.conversation AND d.user_id = r.user_id
             AND d.device = r.device",
    )
    .bind(&tenants)
    .bind(&conversations)
    .bind(&users)
    .bind(&devices)
    .bind(to_db(KEPT_DEVICES as u64))
    .execute(tx)
    .await?;
    Ok(gone.rows_affected())
}
