//! A batch, in one transaction.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Instant,
};

use metrics::{counter, histogram};
use uuid::Uuid;

use super::{
    Rows,
    addition::{Addition, Columns, chunks},
    errors::{has_no_partition, taken},
    partitions::Week,
    statements,
    values::{from_db, uuid_of},
    writes::{add_events, add_heads, add_runs, compare, lock_cursor, move_on, recall, stored},
};
use crate::{
    client_id_key::client_id_of,
    conversation_key::ConversationKey,
    logged_event::LoggedEvent,
    message_store::{
        Cursor, StoreBatch, StoreError,
        admission::{Admission, id_conflict},
    },
};

/// What a transaction came to.
enum Attempt {
    /// It is committed, or there was nothing to add.
    Done {
        /// The partition's.
        cursor: Cursor,
        /// Events that were not there.
        added: usize,
    },
    /// It was undone, as partitions may be missing. They are not made within it: that would take a second connection, and all that there are
    /// may be held by those who wait for one.
    Lacks(Vec<Week>),
}

/// What undid a transaction.
pub(super) enum Undone {
    Sql(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for Undone {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Rows {
    /// Commits what is new in the batch, and gives the partition's cursor.
    pub(super) async fn commit(&self, batch: &StoreBatch) -> Result<Cursor, StoreError> {
        let started = Instant::now();
        let mut attempt = self.attempt(batch).await?;
        if let Attempt::Lacks(weeks) = attempt {
            self.make_partitions(&weeks).await?;
            attempt = self.attempt(batch).await?;
        }
        let Attempt::Done { cursor, added } = attempt else {
            let why = "partitions of events are taken away while they are written to";
            return Err(StoreError::Unavailable(why.to_owned()));
        };
        histogram!("flare_message_store_write_seconds").record(started.elapsed());
        counter!("flare_message_store_events_written_total").increment(added as u64);
        self.make_next_partition(batch).await;
        Ok(cursor)
    }

    /// The week that comes next has its partition before anybody needs it.
    async fn make_next_partition(&self, batch: &StoreBatch) {
        let next = batch.events.last().map(|it| week_of(it).next());
        let unknown = self.partitions.unknown(next);
        if unknown.is_empty() {
            return;
        }
        if let Err(error) = self.make_partitions(&unknown).await {
            tracing::warn!(%error, "next week's partition could not be made; trying again with the next commit");
        }
    }

    async fn attempt(&self, batch: &StoreBatch) -> Result<Attempt, StoreError> {
        match self.postgres.within(self.transaction(batch)).await {
            Ok(attempt) => Ok(attempt),
            Err(Undone::Store(error)) => Err(error),
            Err(Undone::Sql(error)) if has_no_partition(&error) => {
                self.partitions.forget();
                Err(StoreError::Unavailable(error.to_string()))
            }
            Err(Undone::Sql(error)) => match taken(&error) {
                Some("place_client_id_key" | "place_pkey") => Err(self.taken_id(batch).await?),
                _ => Err(error.into()),
            },
        }
    }

    async fn transaction(&self, batch: &StoreBatch) -> Result<Attempt, Undone> {
        let mut transaction = self.postgres.begin().await?;
        let cursor = lock_cursor(&mut transaction, batch.partition).await?;
        let mut stored = stored(&mut transaction, batch).await?;
        let seqs = stored.iter().map(|(key, it)| (*key, it.seq)).collect();
        let Admission {
            known,
            fresh,
            heads,
        } = Admission::of(batch, cursor, &seqs)?;
        compare(&mut transaction, &known, &stored).await?;
        if batch.to.next_offset <= cursor.next_offset {
            return Ok(Attempt::Done { cursor, added: 0 });
        }
        let addition = Addition::of(batch.partition, fresh, heads, &stored)?;
        let weeks: BTreeSet<_> = addition.events.iter().map(|it| week_of(it)).collect();
        let lacking = self.partitions.unknown(weeks);
        if !lacking.is_empty() {
            return Ok(Attempt::Lacks(lacking));
        }
        add_heads(&mut transaction, &addition, &mut stored).await?;
        for events in chunks(&addition.events) {
            add_events(&mut transaction, Columns::of(events, &stored)?).await?;
        }
        add_runs(&mut transaction, &addition, &stored).await?;
        recall(&mut transaction, &addition, &stored).await?;
        move_on(&mut transaction, batch, &addition, &stored).await?;
        transaction.commit().await?;
        Ok(Attempt::Done {
            cursor: batch.to,
            added: addition.events.len(),
        })
    }

    /// Why one of the batch's ids is taken.
    async fn taken_id(&self, batch: &StoreBatch) -> Result<StoreError, StoreError> {
        let events = &batch.events;
        let mut seen = HashSet::new();
        let mut of_commands = events.iter().filter_map(|it| Some((it, client_id_of(it)?)));
        if let Some((event, _)) = of_commands.find(|(_, id)| !seen.insert(*id)) {
            return Ok(id_conflict(event));
        }
        let client_ids: Vec<_> = events.iter().filter_map(client_id_of).collect();
        let message_ids: Vec<_> = events.iter().map(|it| uuid_of(it.message_id())).collect();
        let rows = sqlx::query_as::<_, (Option<Vec<u8>>, Uuid, String, String, i64)>(
            statements::TAKEN_IDS,
        )
        .bind(client_ids)
        .bind(message_ids)
        .fetch_all(self.postgres.pool());
        let mut of_client_ids = HashMap::new();
        let mut of_message_ids = HashMap::new();
        for (client_id, message_id, tenant, conversation, seq) in self.answer(rows).await? {
            of_client_ids.extend(client_id.map(|it| (it, message_id)));
            let place = (ConversationKey::new(tenant, conversation), from_db(seq)?);
            of_message_ids.insert(message_id, place);
        }
        for event in events {
            let message_id = uuid_of(event.message_id());
            let holder = client_id_of(event).and_then(|it| of_client_ids.get(it.as_slice()));
            if holder.is_some_and(|it| *it != message_id) {
                return Ok(id_conflict(event));
            }
            if let Some((key, seq)) = of_message_ids.get(&message_id)
                && (key, *seq) != (event.key(), event.seq())
            {
                return Ok(StoreError::Damaged(format!(
                    "message id {} of {} seq {} is that of {key} seq {seq}",
                    event.message_id(),
                    event.key(),
                    event.seq()
                )));
            }
        }
        // Of two events in the batch, or of a transaction that was undone meanwhile.
        let mut seen = HashSet::new();
        let twice = events.iter().find(|it| !seen.insert(it.message_id()));
        Ok(match twice {
            Some(event) => {
                StoreError::Damaged(format!("message id {} comes twice", event.message_id()))
            }
            None => StoreError::Unavailable("an id was taken, and is not any more".to_owned()),
        })
    }
}

fn week_of(event: &LoggedEvent) -> Week {
    Week::of(event.header().time_ms)
}
