//! API keys in a SQLite file.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use flare_server_core::database::DatabaseFile;
use sqlx::{
    Row, SqlitePool,
    migrate::MigrateError,
    sqlite::{SqlitePoolOptions, SqliteRow},
};
use ulid::Ulid;

use crate::{
    application::ports::{ApiKeyStore, ApiKeyStoreError},
    domain::{
        api_key::{ApiKey, SecretDigest},
        scope::Scopes,
    },
};

/// Tables of the store, from the beginning on.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// The database's name in the data folder.
const FILE: &str = "gateway/api_keys.sqlite";
/// How long an open waits for another process's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Rows of a SQLite file, each commit synced. A server and commands beside it may have it open at once.
#[derive(Clone, Debug)]
pub struct SqliteApiKeyStore {
    file: Arc<DatabaseFile>,
    pool: SqlitePool,
}

impl SqliteApiKeyStore {
    /// Opens the database of a data folder, makes it if it never was there, and brings its tables up to date.
    ///
    /// # Errors
    /// Says what the file or its system does not allow, such as that it is not what was left there.
    pub async fn open(data: &Path) -> Result<Self, ApiKeyStoreError> {
        let database = DatabaseFile::open(data, FILE)
            .await
            .map_err(|error| ApiKeyStoreError {
                why: error.to_string(),
            })?;
        let (file, options) = (database.path(), database.options());
        let failed = |error: &dyn std::fmt::Display| ApiKeyStoreError {
            why: format!("{}: {error}", file.display()),
        };
        let open = || async {
            let pool = SqlitePoolOptions::new()
                .max_connections(4)
                .connect_with(options.clone())
                .await
                .map_err(MigrateError::Execute)?;
            MIGRATIONS.run(&pool).await?;
            Ok(pool)
        };
        // Another process may be making the same step: SQLite waits for it in most places, but neither when it turns a file to its
        // write-ahead log nor when two look at the tables before one of them changes them.
        let tries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(5))
            .with_max_delay(Duration::from_millis(200))
            .with_total_delay(Some(BUSY_TIMEOUT))
            .without_max_times()
            .with_jitter();
        let pool = open
            .retry(tries)
            .when(may_pass)
            .await
            .map_err(|error| match error {
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

/// Whether another process's doing explains the error: the file is busy, or a table or row that was to be made is there by now.
fn may_pass(error: &MigrateError) -> bool {
    const ERROR: u32 = 1;
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const CONSTRAINT: u32 = 19;
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(|it| it.code());
    // The low byte of an extended code is the code.
    let code = code
        .and_then(|it| it.parse::<u32>().ok())
        .map(|it| it & 0xff);
    matches!(code, Some(ERROR | BUSY | LOCKED | CONSTRAINT))
}

impl From<sqlx::Error> for ApiKeyStoreError {
    fn from(error: sqlx::Error) -> Self {
        Self {
            why: error.to_string(),
        }
    }
}

fn key(row: &SqliteRow) -> Result<ApiKey, ApiKeyStoreError> {
    let id: &str = row.try_get("key_id")?;
    let scopes: &str = row.try_get("scopes")?;
    let revoked_ms: i64 = row.try_get("revoked_ms")?;
    let damaged = |why: String| ApiKeyStoreError {
        why: format!("the row of key {id:?}: {why}"),
    };
    Ok(ApiKey {
        id: Ulid::from_string(id).map_err(|error| damaged(error.to_string()))?,
        tenant: row.try_get("tenant_id")?,
        name: row.try_get("name")?,
        scopes: Scopes::parse(scopes.split(' ')).map_err(|error| damaged(error.to_string()))?,
        created_ms: row.try_get("created_ms")?,
        revoked_ms: (revoked_ms != 0).then_some(revoked_ms),
    })
}

#[async_trait]
impl ApiKeyStore for SqliteApiKeyStore {
    async fn add(
        &self,
        key: &ApiKey,
        digest: SecretDigest,
        most: usize,
    ) -> Result<bool, ApiKeyStoreError> {
        // One statement: it has the file to itself.
        let done = sqlx::query(
            "INSERT INTO api_key (key_id, tenant_id, name, scopes, secret_sha256, created_ms, revoked_ms) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 \
             WHERE (SELECT count(*) FROM api_key WHERE tenant_id = ?2 AND revoked_ms = 0) < ?8",
        )
        .bind(key.id.to_string())
        .bind(&key.tenant)
        .bind(&key.name)
        .bind(key.scopes.to_string())
        .bind(&digest.0[..])
        .bind(key.created_ms)
        .bind(key.revoked_ms.unwrap_or_default())
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn find(&self, digest: SecretDigest) -> Result<Option<ApiKey>, ApiKeyStoreError> {
        let row = sqlx::query("SELECT * FROM api_key WHERE secret_sha256 = ?")
            .bind(&digest.0[..])
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(key).transpose()
    }

    async fn list(
        &self,
        tenant: &str,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, ApiKeyStoreError> {
        let rows = sqlx::query(
            "SELECT * FROM api_key WHERE tenant_id = ? AND key_id > ? ORDER BY key_id LIMIT ?",
        )
        .bind(tenant)
        .bind(after.map(|it| it.to_string()).unwrap_or_default())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(key).collect()
    }

    async fn revoke(&self, tenant: &str, id: Ulid, now_ms: i64) -> Result<bool, ApiKeyStoreError> {
        let done = sqlx::query(
            "UPDATE api_key SET revoked_ms = CASE revoked_ms WHEN 0 THEN ? ELSE revoked_ms END \
             WHERE tenant_id = ? AND key_id = ?",
        )
        .bind(now_ms.max(1))
        .bind(tenant)
        .bind(id.to_string())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}
