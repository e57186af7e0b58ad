//! How values stand in rows and parameters.

use ulid::Ulid;
use uuid::Uuid;

use crate::{
    apply::LogState,
    conversation_key::ConversationKey,
    message_store::{Cursor, StoreError},
    record::Epoch,
};

/// Seqs, offsets, times and counts are below 2^63, or mean "all".
pub(super) fn to_db(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that was written by [`to_db`].
pub(super) fn from_db(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Damaged(format!("a row has the number {number}")))
}

/// As a cursor's row has it: offset, epoch's number and nonce, n, time.
pub(super) type CursorRow = (i64, i64, i64, i64, i64);

pub(super) fn cursor_of(
    (next_offset, number, nonce, n, time_ms): CursorRow,
) -> Result<Cursor, StoreError> {
    Ok(LogState {
        next_offset: from_db(next_offset)?,
        epoch: Epoch {
            number: number.cast_unsigned(),
            nonce: nonce.cast_unsigned(),
        },
        n: from_db(n)?,
        time_ms,
    })
}

/// A message id as its table has it.
pub(super) fn uuid_of(id: Ulid) -> Uuid {
    Uuid::from_bytes(id.to_bytes())
}

/// Tenants and conversations, each as a parameter.
pub(super) fn names_of<'a>(keys: &[&'a ConversationKey]) -> (Vec<&'a str>, Vec<&'a str>) {
    keys.iter()
        .map(|it| (&*it.tenant, &*it.conversation))
        .unzip()
}
