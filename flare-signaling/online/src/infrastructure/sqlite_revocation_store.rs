//! Revocations in a SQLite file.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use flare_server_core::database::DatabaseFile;
use sqlx::{SqlitePool, migrate::MigrateError, sqlite::SqlitePoolOptions};

use crate::{
    application::ports::{PortError, RevocationStore},
    domain::revocation::{DeviceKey, KEPT_S},
};

/// The database's name in the data folder.
const FILE: &str = "online/online.sqlite";

/// Tables of the service, from the beginning on.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Rows of (tenant, user, device) → not before, or the latest time of issue; each commit synced.
#[derive(Clone, Debug)]
pub struct SqliteRevocationStore {
    file: Arc<DatabaseFile>,
    pool: SqlitePool,
}

impl SqliteRevocationStore {
    /// Opens the database of a data folder, makes it if it never was there, and brings its tables up to date.
    ///
    /// # Errors
    /// Says what is wrong with the file, such as that it is not what was left there.
    pub async fn open(data: &Path) -> Result<Self, PortError> {
        let refused = |why: String| PortError {
            what: "revocation store",
            why,
        };
        let database = DatabaseFile::open(data, FILE)
            .await
            .map_err(|error| refused(error.to_string()))?;
        let (file, options) = (database.path(), database.options());
        let failed =
            |error: &dyn std::fmt::Display| refused(format!("{}: {error}", file.display()));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .map_err(|error| failed(&error))?;
        MIGRATIONS.run(&pool).await.map_err(|error| match error {
            MigrateError::VersionMissing(found) => failed(&format_args!(
                "its tables are of schema {found}, which only a later version knows"
            )),
            error => failed(&error),
        })?;
        Ok(Self {
            file: Arc::new(database),
            pool,
        })
    }

    /// Closes the file; what was committed is on disk before.
    pub async fn close(&self) {
        self.pool.close().await;
        self.file.close().await;
    }
}

fn unavailable(error: sqlx::Error) -> PortError {
    PortError {
        what: "revocation store",
        why: error.to_string(),
    }
}

#[async_trait]
impl RevocationStore for SqliteRevocationStore {
    async fn revoke(&self, device: &DeviceKey, now_s: i64) -> Result<i64, PortError> {
        let mut transaction = self.pool.begin().await.map_err(unavailable)?;
        let stands = sqlx::query_scalar(
            "INSERT INTO revocation (tenant_id, user_id, device_id, not_before_s) VALUES (?1, ?2, ?3, max(?4, coalesce( \
             (SELECT max(issued_s) FROM issued_ahead WHERE tenant_id = ?1 AND user_id = ?2 AND ?3 IN ('', device_id)), ?4))) \
             ON CONFLICT (tenant_id, user_id, device_id) DO UPDATE SET not_before_s = max(not_before_s, excluded.not_before_s) \
             RETURNING not_before_s",
        )
        .bind(&device.tenant)
        .bind(&device.user)
        .bind(&device.device)
        .bind(now_s)
        .fetch_one(&mut *transaction)
        .await
        .map_err(unavailable)?;
        // One comes and two go: the table does not grow, and a clock that was wrong for a moment costs little.
        sqlx::query(
            "DELETE FROM revocation WHERE (tenant_id, user_id, device_id) IN ( \
             SELECT tenant_id, user_id, device_id FROM revocation WHERE not_before_s < ? ORDER BY not_before_s LIMIT 2)",
        )
        .bind(now_s - KEPT_S)
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)?;
        Ok(stands)
    }

    async fn note_issued(&self, tokens: &[(DeviceKey, i64)], now_s: i64) -> Result<(), PortError> {
        let mut transaction = self.pool.begin().await.map_err(unavailable)?;
        for (device, issued_s) in tokens {
            sqlx::query(
                "INSERT INTO issued_ahead (tenant_id, user_id, device_id, issued_s) VALUES (?, ?, ?, ?) \
                 ON CONFLICT (tenant_id, user_id, device_id) DO UPDATE SET issued_s = max(issued_s, excluded.issued_s)",
            )
            .bind(&device.tenant)
            .bind(&device.user)
            .bind(&device.device)
            .bind(issued_s)
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        }
        sqlx::query("DELETE FROM issued_ahead WHERE issued_s <= ?")
            .bind(now_s)
            .execute(&mut *transaction)
            .await
            .map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)
    }

    async fn not_before(&self, devices: &[DeviceKey]) -> Result<Vec<i64>, PortError> {
        let mut connection = self.pool.acquire().await.map_err(unavailable)?;
        let mut answers = Vec::with_capacity(devices.len());
        for device in devices {
            let stands: Option<i64> = sqlx::query_scalar(
                "SELECT max(not_before_s) FROM revocation WHERE tenant_id = ? AND user_id = ? AND device_id IN ('', ?)",
            )
            .bind(&device.tenant)
            .bind(&device.user)
            .bind(&device.device)
            .fetch_one(&mut *connection)
            .await
            .map_err(unavailable)?;
            answers.push(stands.unwrap_or_default());
        }
        Ok(answers)
    }
}
