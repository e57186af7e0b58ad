//! Positions in SQLite.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use flare_storage_model::ConversationKey;

use super::{
    row_codec::{from_db, to_db},
    sqlite::{SqliteSession, bump},
};
use crate::{
    application::ports::{KEPT_DEVICES, MemberPositions, PositionBatch, PositionStore, StoreError},
    domain::inbox::ReadPosition,
};

#[async_trait]
impl PositionStore for SqliteSession {
    async fn put(&self, batch: &PositionBatch) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let mut gone = 0;
        for update in &batch.reads {
            let (tenant, conversation, user) = (
                &*update.key.tenant,
                &*update.key.conversation,
                &*update.user,
            );
            let moved = sqlx::query(
                "UPDATE member SET read_seq = ?4, read_ordinal = ?5
                 WHERE tenant = ?1 AND conversation = ?2 AND user = ?3 AND read_seq < ?4 AND joined_seq > 0",
            )
            .bind(tenant)
            .bind(conversation)
            .bind(user)
            .bind(to_db(update.position.seq))
            .bind(to_db(update.position.ordinal))
            .execute(&mut *tx)
            .await?;
            if moved.rows_affected() == 0 {
                continue;
            }
            let version = bump(&mut tx, tenant, user, false).await?;
            sqlx::query("UPDATE member SET version = ?4 WHERE tenant = ?1 AND conversation = ?2 AND user = ?3")
                .bind(tenant)
                .bind(conversation)
                .bind(user)
                .bind(version)
                .execute(&mut *tx)
                .await?;
            sqlx::query("DELETE FROM mention WHERE tenant = ? AND conversation = ? AND user = ? AND seq <= ?")
                .bind(tenant)
                .bind(conversation)
                .bind(user)
                .bind(to_db(update.position.seq))
                .execute(&mut *tx)
                .await?;
        }
        for update in &batch.delivered {
            sqlx::query(
                "INSERT INTO delivered (tenant, conversation, user, device, seq) VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT (tenant, conversation, user, device) DO UPDATE SET seq = max(seq, excluded.seq)",
            )
            .bind(&*update.key.tenant)
            .bind(&*update.key.conversation)
            .bind(&*update.user)
            .bind(&*update.device)
            .bind(to_db(update.seq))
            .execute(&mut *tx)
            .await?;
            let beyond = sqlx::query(
                "DELETE FROM delivered WHERE tenant = ?1 AND conversation = ?2 AND user = ?3 AND device NOT IN
                 (SELECT device FROM delivered WHERE tenant = ?1 AND conversation = ?2 AND user = ?3 ORDER BY seq DESC, device = ?4 DESC, device LIMIT ?5)",
            )
            .bind(&*update.key.tenant)
            .bind(&*update.key.conversation)
            .bind(&*update.user)
            .bind(&*update.device)
            .bind(to_db(KEPT_DEVICES as u64))
            .execute(&mut *tx)
            .await?;
            gone += beyond.rows_affected();
        }
        for (key, time_ms) in &batch.activity {
            sqlx::query("UPDATE conversation SET active_ms = ?3 WHERE tenant = ?1 AND conversation = ?2 AND active_ms < ?3")
                .bind(&*key.tenant)
                .bind(&*key.conversation)
                .bind(time_ms)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(gone)
    }

    async fn page(
        &self,
        key: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<MemberPositions>, StoreError> {
        let mut tx = self.read().await?;
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT user, read_seq, read_ordinal FROM member
             WHERE tenant = ? AND conversation = ? AND user > ? AND joined_seq > 0 AND left_seq = 0
             ORDER BY user LIMIT ?",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(after.unwrap_or_default())
        .bind(to_db(limit as u64))
        .fetch_all(&mut *tx)
        .await?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(Vec::new());
        };
        let delivered: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT user, device, seq FROM delivered
             WHERE tenant = ? AND conversation = ? AND user >= ? AND user <= ? ORDER BY user, device",
        )
        .bind(&*key.tenant)
        .bind(&*key.conversation)
        .bind(&first.0)
        .bind(&last.0)
        .fetch_all(&mut *tx)
        .await?;
        let mut devices: HashMap<String, Vec<(Arc<str>, u64)>> = HashMap::new();
        for (user, device, seq) in delivered {
            devices
                .entry(user)
                .or_default()
                .push((device.into(), from_db(seq)));
        }
        Ok(rows
            .into_iter()
            .map(|(user, seq, ordinal)| MemberPositions {
                delivered: devices.remove(&user).unwrap_or_default(),
                user: user.into(),
                read: ReadPosition {
                    seq: from_db(seq),
                    ordinal: from_db(ordinal),
                },
            })
            .collect())
    }
}
