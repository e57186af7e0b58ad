//! What lies in fjall.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use fjall::{
    AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode,
    config::{BlockSizePolicy, CompressionPolicy, FilterPolicy},
};
use ulid::Ulid;

use super::{
    inventory,
    journal::{self, Journal},
    rows::{self, EventRow, damaged},
};
use crate::{
    apply::LogState,
    client_id_key::ClientIdKey,
    conversation_key::ConversationKey,
    head::Head,
    head_row::{decode_head, encode_head},
    logged_event::{LoggedEvent, decode_header},
    message_store::StoreError,
};

/// The version of the folder as a whole: which keyspaces there are and what their keys mean.
const FORMAT: u8 = 1;
const FORMAT_KEY: &[u8] = b"format";

/// A head row is written with an event whose seq reaches a multiple of this, so that reading a head never folds more events.
const HEAD_EVERY: u64 = 32;

/// Rows of small tables that fjall has not sorted into files.
const SMALL_MEMTABLE_BYTES: u64 = 8 * 1024 * 1024;

/// How much memory and disk fjall may take before it writes out.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskOptions {
    pub(super) cache_bytes: u64,
    pub(super) memtable_bytes: u64,
}

/// The tables. One thread writes.
pub(super) struct Disk {
    folder: PathBuf,
    database: Database,
    /// Format and cursors.
    meta: Keyspace,
    /// (conversation, seq) → event.
    events: Keyspace,
    /// (conversation, seq of a message) → what later events did to it. A message that nothing happened to has no row: its event says all.
    messages: Keyspace,
    /// Client id → seq. The event tells the rest.
    ids: Keyspace,
    /// Message id → (conversation, seq).
    places: Keyspace,
    /// Conversation → a head, of its last event or of one shortly before.
    heads: Keyspace,
    memtable_bytes: u64,
}

/// An event on its way to the disk.
pub(super) struct Pending<'a> {
    pub(super) event: &'a LoggedEvent,
    pub(super) client_id: Option<ClientIdKey>,
}

impl Disk {
    /// Every error names the folder or a file in it.
    pub(super) fn open(folder: &Path, options: DiskOptions) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(|error| {
            StoreError::Unavailable(format!("cannot make {}: {error}", folder.display()))
        })?;
        inventory::check(folder)?;
        let journal = journal::recover(folder)?;
        // fjall reckons with lengths that it reads from its files, and a debug build of it panics where they are nonsense.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            Self::open_checked(folder, options, journal.as_ref())
        }));
        opened
            .unwrap_or_else(|panic| {
                let said = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no word of why");
                Err(StoreError::Damaged(format!("it ended in a panic: {said}")))
            })
            .map_err(|error| inventory::named(folder, error))
    }

    fn open_checked(
        folder: &Path,
        options: DiskOptions,
        journal: Option<&Journal>,
    ) -> Result<Self, StoreError> {
        let database = Database::builder(folder)
            .cache_size(options.cache_bytes)
            .worker_threads(2)
            .open()
            .map_err(|error| match error {
                fjall::Error::InvalidVersion(found) => unknown_format(folder, format!("{found:?}")),
                fjall::Error::Locked => journal::in_use(folder),
                error => error.into(),
            })?;
        let first_start = database.keyspace_count() == 0;
        let small = || KeyspaceCreateOptions::default().max_memtable_size(SMALL_MEMTABLE_BYTES);
        let meta = database.keyspace("meta", small)?;
        match meta.get(FORMAT_KEY)?.as_deref() {
            Some([FORMAT]) => {}
            None if first_start => meta.insert(FORMAT_KEY, [FORMAT])?,
            found => return Err(unknown_format(folder, format!("{found:?}"))),
        }
        let large = || KeyspaceCreateOptions::default().max_memtable_size(options.memtable_bytes);
        // Not compressed: while a table is written, fjall keeps each block in memory whose last key it has not copied, as it came, and ends a table by
        // what it takes on the disk. A few gigabytes of long messages that say little make one table of 64 MiB.
        let events = database.keyspace("events", || {
            large()
                .data_block_size_policy(BlockSizePolicy::all(16 * 1024))
                .data_block_compression_policy(CompressionPolicy::disabled())
        })?;
        // Places are read rarely: a filter would cost more than it spares.
        let places =
            database.keyspace("places", || small().filter_policy(FilterPolicy::disabled()))?;
        let ids = database.keyspace("ids", || {
            KeyspaceCreateOptions::default().max_memtable_size(options.memtable_bytes / 2)
        })?;
        let messages = database.keyspace("messages", small)?;
        let heads = database.keyspace("heads", small)?;
        if let Some(journal) = journal {
            journal.covers(&[&meta, &events, &messages, &ids, &places, &heads])?;
        }
        let disk = Self {
            folder: folder.to_path_buf(),
            database,
            meta,
            events,
            messages,
            ids,
            places,
            heads,
            memtable_bytes: options.memtable_bytes,
        };
        // What a killed process wrote may still be in the page cache only.
        disk.sync()?;
        // Rows that every later step stands on.
        disk.cursors()?;
        inventory::keep(folder)?;
        Ok(disk)
    }

    /// Damage that a read has come upon, with where and what to do.
    pub(super) fn named(&self, error: StoreError) -> StoreError {
        inventory::damaged_in(&self.folder, error)
    }

    /// The cursors of all partitions.
    pub(super) fn cursors(&self) -> Result<Vec<(u32, LogState)>, StoreError> {
        let mut cursors = Vec::new();
        for row in self.meta.prefix(b"c") {
            let (key, value) = row.into_inner()?;
            let partition = key
                .last_chunk::<4>()
                .ok_or_else(|| damaged("a cursor's key is too short"))?;
            cursors.push((u32::from_be_bytes(*partition), rows::decode_cursor(&value)?));
        }
        Ok(cursors)
    }

    /// Writes `count` events, the heads that are due, and the cursors, in one batch. `heads` are those after the last of `events`.
    pub(super) fn write<'a>(
        &self,
        count: usize,
        events: impl Iterator<Item = Pending<'a>>,
        heads: impl Iterator<Item = (&'a ConversationKey, u64, &'a Head)>,
        cursors: impl Iterator<Item = (u32, LogState)>,
    ) -> Result<(), StoreError> {
        // A row per event in three tables, and a few more.
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), count * 3 + 64)
            .durability(Some(PersistMode::Buffer));
        // fjall copies what it is given, so keys and rows of all events are written into the same memory.
        let (mut prefix, mut key, mut row) = (Vec::new(), Vec::new(), Vec::new());
        for Pending { event, client_id } in events {
            let seq = event.seq();
            prefix.clear();
            event.key().encode_to(&mut prefix);
            rows::put_at_seq(&mut key, &prefix, seq);
            rows::put_event(&mut row, event);
            batch.insert(&self.events, key.as_slice(), row.as_slice());
            let id = rows::message_id(event.message_id());
            rows::put_place(&mut row, &prefix, seq);
            batch.insert(&self.places, id, row.as_slice());
            if let Some(client_id) = client_id {
                batch.insert(&self.ids, client_id, rows::encode_seq(seq));
            }
            if let Some(target) = event.recalls() {
                batch.insert(
                    &self.messages,
                    rows::at_seq(&prefix, target),
                    rows::encode_seq(seq),
                );
            }
        }
        for (key, first_seq, head) in heads {
            if first_seq == 1 || (first_seq - 1) / HEAD_EVERY != head.seq / HEAD_EVERY {
                batch.insert(&self.heads, rows::prefix(key), encode_head(head));
            }
        }
        for (partition, cursor) in cursors {
            batch.insert(
                &self.meta,
                cursor_key(partition),
                rows::encode_cursor(&cursor),
            );
        }
        batch.commit()?;
        self.seal_full()
    }

    /// A table in memory that is full is to become a file, and the next rows begin another; `commit` waits while four of a keyspace are to become files.
    /// fjall seals them by itself too, but only once one of its threads is free, and takes rows meanwhile without a bound.
    fn seal_full(&self) -> Result<(), StoreError> {
        for (keyspace, most) in [
            (&self.events, self.memtable_bytes),
            (&self.ids, self.memtable_bytes / 2),
            (&self.places, SMALL_MEMTABLE_BYTES),
            (&self.messages, SMALL_MEMTABLE_BYTES),
            (&self.heads, SMALL_MEMTABLE_BYTES),
        ] {
            if keyspace.tree.active_memtable().size() > most {
                keyspace.rotate_memtable()?;
            }
        }
        Ok(())
    }

    /// Writes heads whose events are all here.
    pub(super) fn write_heads<'a>(
        &self,
        heads: impl Iterator<Item = (&'a ConversationKey, &'a Head)>,
    ) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        for (key, head) in heads {
            batch.insert(&self.heads, rows::prefix(key), encode_head(head));
        }
        Ok(batch.commit()?)
    }

    /// After this, all that was written survives a power loss.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    /// The head: its row, moved on by the few events above it.
    pub(super) fn head(&self, key: &ConversationKey) -> Result<Option<Head>, StoreError> {
        let prefix = rows::prefix(key);
        let Some(row) = self.heads.get(&prefix)? else {
            return Ok(None);
        };
        let mut head = decode_head(&row)?;
        // By single reads: most often there is nothing above, which a filter tells for less than a range costs.
        while let Some(row) = self.events.get(rows::at_seq(&prefix, head.seq + 1))? {
            let header = decode_header(rows::decode_event(&row)?.event)
                .map_err(|error| damaged(&format!("{key} above seq {}: {error}", head.seq)))?;
            head.apply(&header)
                .map_err(|error| damaged(&error.to_string()))?;
        }
        Ok(Some(head))
    }

    /// The newest seq, 0 without events.
    pub(super) fn last_seq(&self, key: &ConversationKey) -> Result<u64, StoreError> {
        Ok(self.head(key)?.map_or(0, |head| head.seq))
    }

    /// The oldest seq.
    pub(super) fn first_seq(&self, key: &ConversationKey) -> Result<Option<u64>, StoreError> {
        let first = self.rows(&rows::prefix(key), 0, u64::MAX).next();
        first.map(|row| rows::seq_of(&row.key()?)).transpose()
    }

    pub(super) fn event(
        &self,
        key: &ConversationKey,
        seq: u64,
    ) -> Result<Option<EventRow>, StoreError> {
        let row = self.events.get(rows::at_seq(&rows::prefix(key), seq))?;
        row.map(|row| rows::decode_event(&row)).transpose()
    }

    /// Events by rising seq, from `first` to `last`, at most `limit` and `max_bytes` but one at least.
    pub(super) fn range(
        &self,
        key: &ConversationKey,
        first: u64,
        last: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        if first > last {
            return Ok(found);
        }
        for row in self.rows(&rows::prefix(key), first, last).take(limit) {
            let (seq, row) = decode_event_row(row)?;
            bytes = bytes.saturating_add(row.event.len());
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push((seq, row.event));
        }
        Ok(found)
    }

    /// The first messages from `first` to `last`, by rising seq.
    pub(super) fn messages_up(
        &self,
        key: &ConversationKey,
        first: u64,
        last: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        if first > last {
            return Ok(Vec::new());
        }
        messages(self.rows(&rows::prefix(key), first, last), limit)
    }

    /// The last messages below `before`, by falling seq.
    pub(super) fn messages_down(
        &self,
        key: &ConversationKey,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        if before == 0 {
            return Ok(Vec::new());
        }
        messages(self.rows(&rows::prefix(key), 0, before - 1).rev(), limit)
    }

    /// The seqs that recalled the messages from `first` to `last`: (message, recall) by rising message.
    pub(super) fn recalls(
        &self,
        key: &ConversationKey,
        first: u64,
        last: u64,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut found = Vec::new();
        if first > last {
            return Ok(found);
        }
        let prefix = rows::prefix(key);
        let keys = rows::at_seq(&prefix, first)..=rows::at_seq(&prefix, last);
        for row in self.messages.range(keys) {
            let (key, value) = row.into_inner()?;
            found.push((rows::seq_of(&key)?, rows::decode_seq(&value)?));
        }
        Ok(found)
    }

    /// The seq of the event that a client id made.
    pub(super) fn seq_of_id(&self, client_id: &ClientIdKey) -> Result<Option<u64>, StoreError> {
        let row = self.ids.get(client_id)?;
        row.map(|row| rows::decode_seq(&row)).transpose()
    }

    pub(super) fn locate(&self, id: Ulid) -> Result<Option<(ConversationKey, u64)>, StoreError> {
        let row = self.places.get(rows::message_id(id))?;
        row.map(|row| rows::decode_place(&row)).transpose()
    }

    /// The first seq up to `last` whose event is of `time_ms` or later. Time rises with seq, so a binary search finds it.
    pub(super) fn first_at(
        &self,
        key: &ConversationKey,
        last: u64,
        time_ms: i64,
    ) -> Result<Option<u64>, StoreError> {
        let Some(mut low) = self.first_seq(key)? else {
            return Ok(None);
        };
        let mut high = last.saturating_add(1);
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.event(key, middle)?.ok_or_else(|| {
                damaged(&format!(
                    "{key} has no seq {middle} between {low} and {last}"
                ))
            })?;
            let header = decode_header(row.event)
                .map_err(|error| damaged(&format!("{key} seq {middle}: {error}")))?;
            if header.time_ms < time_ms {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok((low <= last).then_some(low))
    }

    /// `first` is not above `last`.
    fn rows(&self, prefix: &[u8], first: u64, last: u64) -> fjall::Iter {
        self.events
            .range(rows::at_seq(prefix, first)..=rows::at_seq(prefix, last))
    }
}

fn messages(
    rows: impl Iterator<Item = fjall::Guard>,
    limit: usize,
) -> Result<Vec<(u64, Bytes)>, StoreError> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    for row in rows {
        let (key, value) = row.into_inner()?;
        if rows::is_message(&value)? {
            found.push((rows::seq_of(&key)?, rows::decode_event(&value)?.event));
            if found.len() == limit {
                break;
            }
        }
    }
    Ok(found)
}

fn decode_event_row(row: fjall::Guard) -> Result<(u64, EventRow), StoreError> {
    let (key, value) = row.into_inner()?;
    Ok((rows::seq_of(&key)?, rows::decode_event(&value)?))
}

fn cursor_key(partition: u32) -> Vec<u8> {
    let mut key = b"c".to_vec();
    key.extend_from_slice(&partition.to_be_bytes());
    key
}

fn unknown_format(folder: &Path, found: String) -> StoreError {
    StoreError::UnknownFormat {
        folder: folder.display().to_string(),
        found,
        known: FORMAT,
    }
}

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Io(_) | fjall::Error::Locked => Self::Unavailable(error.to_string()),
            fjall::Error::Poisoned => Self::Failed(error.to_string()),
            fjall::Error::Storage(fjall::LsmError::Io(error)) => {
                Self::Unavailable(error.to_string())
            }
            error => Self::Damaged(error.to_string()),
        }
    }
}
