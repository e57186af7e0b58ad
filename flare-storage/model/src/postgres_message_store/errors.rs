//! What PostgreSQL's errors mean to who uses the store.

use flare_server_core::postgres::is_transient;

use crate::message_store::StoreError;

impl From<sqlx::Error> for StoreError {
    /// Whatever may pass is `Unavailable`, the loss of a commit's outcome too: its repetition finds out. What does not pass is a row that
    /// contradicts another, or a statement that does not fit the tables.
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolClosed) {
            Self::Closed
        } else if is_transient(&error) || matches!(error, sqlx::Error::Protocol(_)) {
            // A server that stops in the middle of a greeting breaks the protocol.
            Self::Unavailable(error.to_string())
        } else if is_damage(&error) {
            Self::Damaged(error.to_string())
        } else {
            Self::Failed(error.to_string())
        }
    }
}

/// Classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>: cardinality, data, constraints, damage on the server's disk; and
/// columns that are not of the type that was stored.
fn is_damage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["21", "22", "23", "XX"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        sqlx::Error::RowNotFound
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_) => true,
        _ => false,
    }
}

/// The unique constraint that a statement met, if it failed by one.
pub(super) fn taken(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?;
    error.is_unique_violation().then(|| error.constraint())?
}

/// Whether a row was written for which there is no partition.
pub(super) fn has_no_partition(error: &sqlx::Error) -> bool {
    // A check violation that names no constraint is of a partition's bounds.
    let of = error.as_database_error();
    of.is_some_and(|it| it.is_check_violation() && it.constraint().is_none())
}
