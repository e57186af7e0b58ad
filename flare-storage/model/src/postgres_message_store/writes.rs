//! The statements of a commit's transaction, in the order in which they run.

use std::collections::{BTreeSet, HashMap};

use sqlx::{Postgres, Transaction};

use super::{
    addition::{Addition, Columns, Stored, chunks},
    commit::Undone,
    statements,
    values::{CursorRow, cursor_of, from_db, names_of, to_db},
};
use crate::{
    conversation_key::ConversationKey,
    head_row::encode_head,
    logged_event::LoggedEvent,
    message_store::{Cursor, StoreBatch, StoreError, admission::seq_conflict},
};

/// Locks the partition's cursor for the transaction, and gives it.
pub(super) async fn lock_cursor(
    transaction: &mut Transaction<'_, Postgres>,
    partition: u32,
) -> Result<Cursor, Undone> {
    let partition = i64::from(partition);
    let mut row = None;
    // A partition that was never written has no row to lock.
    for is_new in [false, true] {
        if is_new {
            sqlx::query(statements::NEW_CURSOR)
                .bind(partition)
                .execute(&mut **transaction)
                .await?;
        }
        row = sqlx::query_as::<_, CursorRow>(statements::LOCK_CURSOR)
            .bind(partition)
            .fetch_optional(&mut **transaction)
            .await?;
        if row.is_some() {
            break;
        }
    }
    let row =
        row.ok_or_else(|| StoreError::Damaged(format!("partition {partition} has no cursor")))?;
    Ok(cursor_of(row)?)
}

/// What is stored of the conversations of the batch.
pub(super) async fn stored<'a>(
    transaction: &mut Transaction<'_, Postgres>,
    batch: &'a StoreBatch,
) -> Result<HashMap<&'a ConversationKey, Stored>, Undone> {
    let keys: BTreeSet<_> = batch.events.iter().map(LoggedEvent::key).collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let (tenants, conversations) = names_of(&keys);
    let rows = sqlx::query_as::<_, (i64, i64, i64, i64, Option<i64>)>(statements::STORED)
        .bind(tenants)
        .bind(conversations)
        .fetch_all(&mut **transaction)
        .await?;
    let mut stored = HashMap::with_capacity(rows.len());
    for (place, conversation_no, seq, time_ms, run_until_ms) in rows {
        let key = usize::try_from(place - 1).ok().and_then(|it| keys.get(it));
        let known = Stored {
            conversation_no,
            seq: from_db(seq)?,
            time_ms,
            run_until_ms: run_until_ms.unwrap_or(i64::MIN),
        };
        stored.extend(key.map(|key| (*key, known)));
    }
    Ok(stored)
}

/// A repeated event must be the one that is there.
pub(super) async fn compare(
    transaction: &mut Transaction<'_, Postgres>,
    known: &[&LoggedEvent],
    stored: &HashMap<&ConversationKey, Stored>,
) -> Result<(), Undone> {
    for events in chunks(known) {
        let columns = Columns::of(events, stored)?;
        let (first_ms, last_ms) = columns.times();
        let other = sqlx::query_as::<_, (i64,)>(statements::OTHER_EVENT)
            .bind(columns.conversation_nos)
            .bind(columns.seqs)
            .bind(columns.times_ms)
            .bind(columns.message_ids)
            .bind(columns.fingerprints)
            .bind(columns.events)
            .bind(first_ms)
            .bind(last_ms)
            .fetch_optional(&mut **transaction)
            .await?;
        let other = other.and_then(|(place,)| usize::try_from(place - 1).ok());
        if let Some(event) = other.and_then(|it| events.get(it)) {
            return Err(not_the_same(transaction, event, stored).await?.into());
        }
    }
    Ok(())
}

/// What is wrong with an event that is not stored as it ought to be.
async fn not_the_same(
    transaction: &mut Transaction<'_, Postgres>,
    event: &LoggedEvent,
    stored: &HashMap<&ConversationKey, Stored>,
) -> Result<StoreError, Undone> {
    let (key, seq) = (event.key(), event.seq());
    let (is_taken,): (bool,) = sqlx::query_as(statements::IS_TAKEN)
        .bind(Stored::number_of(stored, key)?)
        .bind(to_db(seq))
        .fetch_one(&mut **transaction)
        .await?;
    Ok(match is_taken {
        true => seq_conflict(event),
        false => StoreError::Damaged(format!("{key} has no seq {seq}")),
    })
}

/// Conversations that begin with the batch. Gives them numbers.
pub(super) async fn add_heads<'a>(
    transaction: &mut Transaction<'_, Postgres>,
    addition: &Addition<'a>,
    stored: &mut HashMap<&'a ConversationKey, Stored>,
) -> Result<(), Undone> {
    let new: Vec<_> = addition
        .heads
        .iter()
        .filter(|(key, _)| !stored.contains_key(key))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = new.iter().map(|(key, _)| *key).collect();
    let (tenants, conversations) = names_of(&keys);
    let rows = sqlx::query_as::<_, (String, String, i64)>(statements::NEW_HEADS)
        .bind(tenants)
        .bind(conversations)
        .bind(new.iter().map(|(_, it)| to_db(it.seq)).collect::<Vec<_>>())
        .bind(
            new.iter()
                .map(|(_, it)| to_db(it.ordinal))
                .collect::<Vec<_>>(),
        )
        .bind(new.iter().map(|(_, it)| it.time_ms).collect::<Vec<_>>())
        .bind(
            new.iter()
                .map(|(_, it)| encode_head(it))
                .collect::<Vec<_>>(),
        )
        .fetch_all(&mut **transaction)
        .await?;
    let numbers: HashMap<_, _> = rows
        .into_iter()
        .map(|(tenant, conversation, no)| (ConversationKey::new(tenant, conversation), no))
        .collect();
    for key in keys {
        let conversation_no = *numbers
            .get(key)
            .ok_or_else(|| StoreError::Damaged(format!("{key} has got no number")))?;
        stored.insert(key, Stored::new(conversation_no));
    }
    Ok(())
}

pub(super) async fn add_events(
    transaction: &mut Transaction<'_, Postgres>,
    columns: Columns<'_>,
) -> Result<(), Undone> {
    sqlx::query(statements::ADD)
        .bind(columns.message_ids)
        .bind(columns.conversation_nos)
        .bind(columns.seqs)
        .bind(columns.ordinals)
        .bind(columns.times_ms)
        .bind(columns.fingerprints)
        .bind(columns.client_ids)
        .bind(columns.are_messages)
        .bind(columns.events)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

pub(super) async fn add_runs(
    transaction: &mut Transaction<'_, Postgres>,
    addition: &Addition<'_>,
    stored: &HashMap<&ConversationKey, Stored>,
) -> Result<(), Undone> {
    if addition.runs.is_empty() {
        return Ok(());
    }
    let runs = addition.runs.iter();
    let numbers = runs.clone().map(|(key, _)| Stored::number_of(stored, key));
    sqlx::query(statements::NEW_RUNS)
        .bind(numbers.collect::<Result<Vec<_>, _>>()?)
        .bind(
            runs.clone()
                .map(|(_, it)| to_db(it.first_seq))
                .collect::<Vec<_>>(),
        )
        .bind(runs.clone().map(|(_, it)| it.from_ms).collect::<Vec<_>>())
        .bind(runs.map(|(_, it)| it.until_ms).collect::<Vec<_>>())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

pub(super) async fn recall(
    transaction: &mut Transaction<'_, Postgres>,
    addition: &Addition<'_>,
    stored: &HashMap<&ConversationKey, Stored>,
) -> Result<(), Undone> {
    if addition.recalls.is_empty() {
        return Ok(());
    }
    let recalls = addition.recalls.iter();
    let numbers = recalls
        .clone()
        .map(|((key, _), _)| Stored::number_of(stored, key));
    sqlx::query(statements::RECALL)
        .bind(numbers.collect::<Result<Vec<_>, _>>()?)
        .bind(
            recalls
                .clone()
                .map(|((_, target), _)| to_db(*target))
                .collect::<Vec<_>>(),
        )
        .bind(recalls.map(|(_, by)| to_db(*by)).collect::<Vec<_>>())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// The cursor, and the heads of conversations that were there before.
pub(super) async fn move_on(
    transaction: &mut Transaction<'_, Postgres>,
    batch: &StoreBatch,
    addition: &Addition<'_>,
    stored: &HashMap<&ConversationKey, Stored>,
) -> Result<(), Undone> {
    let old = |key: &ConversationKey| stored.get(key).filter(|it| it.seq > 0);
    let moved: Vec<_> = addition
        .heads
        .iter()
        .filter_map(|(key, head)| Some((old(key)?, *head)))
        .collect();
    let to = batch.to;
    let (were_there,): (i64,) = sqlx::query_as(statements::MOVE)
        .bind(
            moved
                .iter()
                .map(|(was, _)| was.conversation_no)
                .collect::<Vec<_>>(),
        )
        .bind(
            moved
                .iter()
                .map(|(was, _)| to_db(was.seq))
                .collect::<Vec<_>>(),
        )
        .bind(
            moved
                .iter()
                .map(|(_, it)| to_db(it.seq))
                .collect::<Vec<_>>(),
        )
        .bind(
            moved
                .iter()
                .map(|(_, it)| to_db(it.ordinal))
                .collect::<Vec<_>>(),
        )
        .bind(moved.iter().map(|(_, it)| it.time_ms).collect::<Vec<_>>())
        .bind(
            moved
                .iter()
                .map(|(_, it)| encode_head(it))
                .collect::<Vec<_>>(),
        )
        .bind(i64::from(batch.partition))
        .bind(to_db(to.next_offset))
        .bind(to.epoch.number.cast_signed())
        .bind(to.epoch.nonce.cast_signed())
        .bind(to_db(to.n))
        .bind(to.time_ms)
        .fetch_one(&mut **transaction)
        .await?;
    // Nobody moves a head without the lock of its partition's cursor.
    if usize::try_from(were_there) != Ok(moved.len()) {
        return Err(Undone::Store(StoreError::Damaged(format!(
            "partition {}: a head has moved that another partition's commit must have moved",
            batch.partition
        ))));
    }
    Ok(())
}
