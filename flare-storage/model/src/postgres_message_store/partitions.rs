//! The partitions of `event`: one a week, from Monday 00:00 UTC.
//!
//! A week, because what is written now must fit into the server's memory with its index: an entry takes some 64 bytes there (measured by
//! `benches/postgres_store.rs`), so at an average of 100 events a second a week's index has 4 GB and a month's would have 17. And reading costs nothing
//! for the weeks that there are (three years: 157): a reader knows from `run` in which it has to look.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sqlx::{AssertSqlSafe, Executor, Transaction};
use time::OffsetDateTime;

use super::Rows;
use crate::message_store::StoreError;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const WEEK_MS: i64 = 7 * DAY_MS;
/// 1970-01-05, the first Monday.
const MONDAY_MS: i64 = 4 * DAY_MS;

/// The partitions that are known to be there.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    known: Mutex<HashSet<Week>>,
}

/// A week, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Week(i64);

impl Week {
    pub(super) fn of(time_ms: i64) -> Self {
        Self(time_ms.saturating_sub(MONDAY_MS).div_euclid(WEEK_MS))
    }

    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(super) fn begins_ms(self) -> i64 {
        self.0.saturating_mul(WEEK_MS).saturating_add(MONDAY_MS)
    }

    /// Not included.
    pub(super) fn ends_ms(self) -> i64 {
        self.next().begins_ms()
    }

    /// The name of its partition: `event_` and its Monday.
    fn partition(self) -> Result<String, StoreError> {
        let monday =
            OffsetDateTime::from_unix_timestamp(self.begins_ms() / 1_000).map_err(|_| {
                let from_ms = self.begins_ms();
                StoreError::Damaged(format!(
                    "no partition holds events of {from_ms} ms and later"
                ))
            })?;
        let (year, month, day) = (monday.year(), u8::from(monday.month()), monday.day());
        Ok(format!("event_{year:04}_{month:02}_{day:02}"))
    }
}

impl Partitions {
    fn known(&self) -> MutexGuard<'_, HashSet<Week>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the weeks whose partitions may have to be made.
    pub(super) fn unknown(&self, weeks: impl IntoIterator<Item = Week>) -> Vec<Week> {
        let known = self.known();
        weeks.into_iter().filter(|it| !known.contains(it)).collect()
    }

    /// Somebody has taken a partition away.
    pub(super) fn forget(&self) {
        self.known().clear();
    }
}

impl Rows {
    /// Makes the partitions that are not there. Others may do the same at the same time.
    pub(super) async fn make_partitions(&self, weeks: &[Week]) -> Result<(), StoreError> {
        let names = weeks
            .iter()
            .map(|it| it.partition())
            .collect::<Result<Vec<_>, _>>()?;
        let made = async {
            let mut transaction = self.postgres.begin().await?;
            // One at a time: the second finds what the first has made.
            sqlx::query("SELECT pg_advisory_xact_lock(hashtext('flare partitions'), hashtext(current_schema()))")
                .execute(&mut *transaction)
                .await?;
            for (week, name) in weeks.iter().zip(&names) {
                make(&mut transaction, *week, name).await?;
            }
            transaction.commit().await
        };
        self.answer(made).await?;
        self.partitions.known().extend(weeks);
        Ok(())
    }
}

/// Attaching locks out neither readers nor writers of the other partitions, as making a partition in one statement would.
async fn make(
    transaction: &mut Transaction<'_, sqlx::Postgres>,
    week: Week,
    name: &str,
) -> Result<(), sqlx::Error> {
    let (is_there,): (bool,) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'event'::regclass AND inhrelid = to_regclass($1))",
    )
    .bind(name)
    .fetch_one(&mut **transaction)
    .await?;
    if is_there {
        return Ok(());
    }
    let (from_ms, until_ms) = (week.begins_ms(), week.ends_ms());
    let statements = format!(
        "CREATE TABLE {name} (LIKE event INCLUDING ALL);
         ALTER TABLE event ATTACH PARTITION {name} FOR VALUES FROM ({from_ms}) TO ({until_ms})"
    );
    transaction.execute(AssertSqlSafe(statements)).await?;
    tracing::info!(partition = name, "made a partition for a week of events");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_mondays() {
        for (time_ms, name) in [
            (0, "event_1969_12_29"),
            (MONDAY_MS - 1, "event_1969_12_29"),
            (MONDAY_MS, "event_1970_01_05"),
            (-1, "event_1969_12_29"),
            // 2023-11-14T22:13:20Z, a Tuesday, and the turn of that year.
            (1_700_000_000_000, "event_2023_11_13"),
            (1_704_067_199_999, "event_2023_12_25"),
            (1_704_067_200_000, "event_2024_01_01"),
        ] {
            let week = Week::of(time_ms);
            assert_eq!(week.partition().as_deref(), Ok(name));
            assert!((week.begins_ms()..week.ends_ms()).contains(&time_ms));
        }
    }

    #[test]
    fn a_time_that_no_calendar_has_is_refused() {
        for time_ms in [i64::MIN, i64::MAX] {
            let refused = Week::of(time_ms).partition();
            assert!(
                matches!(refused, Err(StoreError::Damaged(_))),
                "{refused:?}"
            );
        }
    }
}
