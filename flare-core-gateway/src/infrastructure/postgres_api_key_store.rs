//! API keys in PostgreSQL, which several processes share.

use async_trait::async_trait;
use flare_server_core::postgres::{Postgres, PostgresConfig};
use sqlx::FromRow;
use ulid::Ulid;

use crate::{
    application::ports::{ApiKeyStore, ApiKeyStoreError},
    domain::{
        api_key::{ApiKey, SecretDigest},
        scope::Scopes,
    },
};

/// The schema of the service.
const SCHEMA: &str = "gateway";

/// Rows of PostgreSQL. Servers and commands beside them may have it open at once.
#[derive(Clone, Debug)]
pub struct PostgresApiKeyStore {
    database: Postgres,
}

#[derive(FromRow)]
struct Row {
    key_id: String,
    tenant_id: String,
    name: String,
    scopes: String,
    created_ms: i64,
    revoked_ms: i64,
}

impl PostgresApiKeyStore {
    /// Waits for the server, and brings the tables up to this version.
    ///
    /// # Errors
    /// Says what is wrong with the server or the tables.
    pub async fn open(config: &PostgresConfig) -> Result<Self, ApiKeyStoreError> {
        let migrations = sqlx::migrate!("migrations/postgres");
        let database = Postgres::open(config, SCHEMA, migrations).await;
        let database = database.map_err(|error| ApiKeyStoreError {
            why: error.to_string(),
        })?;
        Ok(Self { database })
    }

    /// Closes the connections; what was committed is kept.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

#[async_trait]
impl ApiKeyStore for PostgresApiKeyStore {
    async fn add(
        &self,
        key: &ApiKey,
        digest: SecretDigest,
        most: usize,
    ) -> Result<bool, ApiKeyStoreError> {
        let add = async {
            let mut tx = self.database.begin().await?;
            // Of those who add keys of one tenant each counts what the others have added.
            sqlx::query("SELECT pg_advisory_xact_lock(hashtext('flare api keys'), hashtext(current_schema() || $1))")
                .bind(&key.tenant)
                .execute(&mut *tx)
                .await?;
            let done = sqlx::query(
                "INSERT INTO api_key (key_id, tenant_id, name, scopes, secret_sha256, created_ms, revoked_ms)
                 SELECT $1, $2, $3, $4, $5, $6, $7
                 WHERE (SELECT count(*) FROM api_key WHERE tenant_id = $2 AND revoked_ms = 0) < $8",
            )
            .bind(key.id.to_string())
            .bind(&key.tenant)
            .bind(&key.name)
            .bind(key.scopes.to_string())
            .bind(&digest.0[..])
            .bind(key.created_ms)
            .bind(key.revoked_ms.unwrap_or_default())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(done.rows_affected() == 1)
        };
        self.database.within(add).await
    }

    async fn find(&self, digest: SecretDigest) -> Result<Option<ApiKey>, ApiKeyStoreError> {
        let row = sqlx::query_as(
            "SELECT key_id, tenant_id, name, scopes, created_ms, revoked_ms FROM api_key WHERE secret_sha256 = $1",
        )
        .bind(&digest.0[..])
        .fetch_optional(self.database.pool());
        let row: Option<Row> = self.database.within(row).await?;
        row.map(Row::into_domain).transpose()
    }

    async fn list(
        &self,
        tenant: &str,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, ApiKeyStoreError> {
        let rows = sqlx::query_as(
            "SELECT key_id, tenant_id, name, scopes, created_ms, revoked_ms FROM api_key
             WHERE tenant_id = $1 AND key_id > $2 ORDER BY key_id LIMIT $3",
        )
        .bind(tenant)
        .bind(after.map(|it| it.to_string()).unwrap_or_default())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.database.pool());
        let rows: Vec<Row> = self.database.within(rows).await?;
        rows.into_iter().map(Row::into_domain).collect()
    }

    async fn revoke(&self, tenant: &str, id: Ulid, now_ms: i64) -> Result<bool, ApiKeyStoreError> {
        let done = sqlx::query(
            "UPDATE api_key SET revoked_ms = CASE revoked_ms WHEN 0 THEN $1 ELSE revoked_ms END
             WHERE tenant_id = $2 AND key_id = $3",
        )
        .bind(now_ms.max(1))
        .bind(tenant)
        .bind(id.to_string())
        .execute(self.database.pool());
        let done = self.database.within(done).await?;
        Ok(done.rows_affected() > 0)
    }
}

impl Row {
    fn into_domain(self) -> Result<ApiKey, ApiKeyStoreError> {
        let damaged = |why: String| ApiKeyStoreError {
            why: format!("the row of key {:?}: {why}", self.key_id),
        };
        let id = Ulid::from_string(&self.key_id);
        let scopes = Scopes::parse(self.scopes.split(' '));
        Ok(ApiKey {
            id: id.map_err(|error| damaged(error.to_string()))?,
            scopes: scopes.map_err(|error| damaged(error.to_string()))?,
            tenant: self.tenant_id,
            name: self.name,
            created_ms: self.created_ms,
            revoked_ms: (self.revoked_ms != 0).then_some(self.revoked_ms),
        })
    }
}
