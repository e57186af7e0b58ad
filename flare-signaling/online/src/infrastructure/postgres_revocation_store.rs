//! Revocations in PostgreSQL, which several processes share.

use async_trait::async_trait;
use flare_server_core::postgres::{Postgres, PostgresConfig};

use crate::{
    application::ports::{PortError, RevocationStore},
    domain::revocation::{DeviceKey, KEPT_S},
};

/// The schema of the service.
const SCHEMA: &str = "online";

/// Rows of (tenant, user, device) → not before, or the latest time of issue.
///
/// Rows that are of no use any more are deleted unless somebody else has them in hand, so nobody waits for another in a circle.
#[derive(Clone, Debug)]
pub struct PostgresRevocationStore {
    database: Postgres,
}

impl PostgresRevocationStore {
    /// Waits for the server, and brings the tables up to this version.
    ///
    /// # Errors
    /// Says what is wrong with the server or the tables.
    pub async fn open(config: &PostgresConfig) -> Result<Self, PortError> {
        let migrations = sqlx::migrate!("migrations/postgres");
        let database = Postgres::open(config, SCHEMA, migrations).await;
        let database = database.map_err(|error| unavailable(&error))?;
        Ok(Self { database })
    }

    /// Closes the connections; what was committed is kept.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

fn unavailable(error: &dyn std::error::Error) -> PortError {
    PortError {
        what: "revocation store",
        why: error.to_string(),
    }
}

#[async_trait]
impl RevocationStore for PostgresRevocationStore {
    async fn revoke(&self, device: &DeviceKey, now_s: i64) -> Result<i64, PortError> {
        let revoke = async {
            let mut tx = self.database.begin().await?;
            let stands: i64 = sqlx::query_scalar(
                "INSERT INTO revocation AS r (tenant_id, user_id, device_id, not_before_s)
                 SELECT $1, $2, $3, GREATEST($4, max(issued_s)) FROM issued_ahead
                 WHERE tenant_id = $1 AND user_id = $2 AND $3 IN ('', device_id)
                 ON CONFLICT (tenant_id, user_id, device_id) DO UPDATE SET not_before_s = GREATEST(r.not_before_s, excluded.not_before_s)
                 RETURNING not_before_s",
            )
            .bind(&device.tenant)
            .bind(&device.user)
            .bind(&device.device)
            .bind(now_s)
            .fetch_one(&mut *tx)
            .await?;
            // One comes and two go: the table does not grow, and a clock that was wrong for a moment costs little.
            sqlx::query(
                "DELETE FROM revocation WHERE (tenant_id, user_id, device_id) IN (
                     SELECT tenant_id, user_id, device_id FROM revocation
                     WHERE not_before_s < $1 ORDER BY not_before_s LIMIT 2 FOR UPDATE SKIP LOCKED)",
            )
            .bind(now_s - KEPT_S)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(stands)
        };
        let revoked: Result<_, sqlx::Error> = self.database.within(revoke).await;
        revoked.map_err(|error| unavailable(&error))
    }

    async fn note_issued(&self, tokens: &[(DeviceKey, i64)], now_s: i64) -> Result<(), PortError> {
        let column = |of: fn(&DeviceKey) -> &String| {
            let values = tokens.iter().map(move |(device, _)| of(device).as_str());
            values.collect::<Vec<_>>()
        };
        let times: Vec<_> = tokens.iter().map(|(_, issued_s)| *issued_s).collect();
        let note = async {
            let mut tx = self.database.begin().await?;
            sqlx::query(
                "INSERT INTO issued_ahead AS i (tenant_id, user_id, device_id, issued_s)
                 SELECT tenant_id, user_id, device_id, max(issued_s)
                 FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS t (tenant_id, user_id, device_id, issued_s)
                 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
                 ON CONFLICT (tenant_id, user_id, device_id) DO UPDATE SET issued_s = GREATEST(i.issued_s, excluded.issued_s)",
            )
            .bind(column(|it| &it.tenant))
            .bind(column(|it| &it.user))
            .bind(column(|it| &it.device))
            .bind(&times)
            .execute(&mut *tx)
            .await?;
            sqlx::query(
                "DELETE FROM issued_ahead WHERE (tenant_id, user_id, device_id) IN (
                     SELECT tenant_id, user_id, device_id FROM issued_ahead WHERE issued_s <= $1 FOR UPDATE SKIP LOCKED)",
            )
            .bind(now_s)
            .execute(&mut *tx)
            .await?;
            tx.commit().await
        };
        let noted: Result<_, sqlx::Error> = self.database.within(note).await;
        noted.map_err(|error| unavailable(&error))
    }

    async fn not_before(&self, devices: &[DeviceKey]) -> Result<Vec<i64>, PortError> {
        let column = |of: fn(&DeviceKey) -> &String| {
            let values = devices.iter().map(move |it| of(it).as_str());
            values.collect::<Vec<_>>()
        };
        let answers = sqlx::query_scalar(
            "SELECT coalesce((SELECT max(not_before_s) FROM revocation AS r
                              WHERE r.tenant_id = d.tenant_id AND r.user_id = d.user_id AND r.device_id IN ('', d.device_id)), 0)
             FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS d (tenant_id, user_id, device_id, place)
             ORDER BY place",
        )
        .bind(column(|it| &it.tenant))
        .bind(column(|it| &it.user))
        .bind(column(|it| &it.device))
        .fetch_all(self.database.pool());
        let answers: Result<_, sqlx::Error> = self.database.within(answers).await;
        answers.map_err(|error| unavailable(&error))
    }
}
