//! The published cursors in PostgreSQL, which all storage-writers of a cluster share.

use async_trait::async_trait;
use flare_server_core::postgres::{Postgres, PostgresConfig, PostgresError};
use flare_storage_model::{Cursor, Epoch};

use crate::application::ports::{CursorsUnavailable, PublishedCursors};

/// The schema of the service.
const SCHEMA: &str = "storage_writer";

/// A cursor as its row has it: next offset, number and nonce of the epoch, n, time.
type Row = (i64, i64, i64, i64, i64);

/// One row a partition. A save is one statement, whatever number of partitions it is of.
#[derive(Clone, Debug)]
pub struct PostgresPublishedCursors {
    database: Postgres,
}

impl PostgresPublishedCursors {
    /// Waits for the server, checks it, and brings the table up to this version.
    ///
    /// # Errors
    /// Says what is wrong with the server or the table.
    pub async fn open(config: &PostgresConfig) -> Result<Self, PostgresError> {
        let database = Postgres::open(config, SCHEMA, sqlx::migrate!()).await?;
        Ok(Self { database })
    }

    /// Closes the connections; what was saved is kept.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

impl From<sqlx::Error> for CursorsUnavailable {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

#[async_trait]
impl PublishedCursors for PostgresPublishedCursors {
    async fn load(&self, partition: u32) -> Result<Cursor, CursorsUnavailable> {
        let read = sqlx::query_as(
            "SELECT next_offset, epoch_number, epoch_nonce, n, time_ms FROM published_cursor WHERE partition = $1",
        )
        .bind(i64::from(partition))
        .fetch_optional(self.database.pool());
        let row: Option<Row> = self.database.within(read).await?;
        row.map_or_else(|| Ok(Cursor::default()), from_row)
    }

    async fn save(&self, cursors: &[(u32, Cursor)]) -> Result<(), CursorsUnavailable> {
        if cursors.is_empty() {
            return Ok(());
        }
        // In one order, so that nobody waits for another in a circle.
        let mut cursors: Vec<_> = cursors.iter().collect();
        cursors.sort_unstable_by_key(|(partition, _)| *partition);
        let column = |of: fn(&Cursor) -> i64| -> Vec<i64> {
            cursors.iter().map(|(_, cursor)| of(cursor)).collect()
        };
        let partitions: Vec<_> = cursors.iter().map(|(it, _)| i64::from(*it)).collect();
        let write = sqlx::query(
            "INSERT INTO published_cursor AS p (partition, next_offset, epoch_number, epoch_nonce, n, time_ms)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
             ON CONFLICT (partition) DO UPDATE
             SET next_offset = excluded.next_offset, epoch_number = excluded.epoch_number, epoch_nonce = excluded.epoch_nonce,
                 n = excluded.n, time_ms = excluded.time_ms
             WHERE p.next_offset < excluded.next_offset",
        )
        .bind(partitions)
        .bind(column(|it| it.next_offset.cast_signed()))
        .bind(column(|it| it.epoch.number.cast_signed()))
        .bind(column(|it| it.epoch.nonce.cast_signed()))
        .bind(column(|it| it.n.cast_signed()))
        .bind(column(|it| it.time_ms))
        .execute(self.database.pool());
        self.database.within(write).await?;
        Ok(())
    }
}

fn from_row((next_offset, number, nonce, n, time_ms): Row) -> Result<Cursor, CursorsUnavailable> {
    let positive = |name: &str, value: i64| {
        u64::try_from(value).map_err(|_| CursorsUnavailable(format!("a row's {name} is {value}")))
    };
    Ok(Cursor {
        next_offset: positive("next_offset", next_offset)?,
        epoch: Epoch {
            number: positive("epoch_number", number)?,
            nonce: nonce.cast_unsigned(),
        },
        n: positive("n", n)?,
        time_ms,
    })
}
