//! Where a message went, for administrators.

use std::sync::Arc;

use bytes::Bytes;
use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use flare_storage_model::{MessageQuery, MessageRow};
use ulid::Ulid;

use super::{
    access::{Access, Reader},
    ports::{LogPlace, LogPlaces, store_refusal},
};

/// Whether the log has a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InLog {
    /// At this offset.
    At(u64),
    /// Not any more.
    Trimmed,
    /// Whoever reads it does not answer.
    Unreachable,
    /// The reader is not told.
    Untold,
}

/// A message's way.
#[derive(Clone, Debug)]
pub struct Located {
    /// The encoded event as it was written.
    pub event: Bytes,
    /// Whether it was taken back: then nobody is shown its body.
    pub is_recalled: bool,
    /// Whether the store has it, too.
    pub is_stored: bool,
    /// Whether the log has it.
    pub log: InLog,
}

/// Finds messages by their id.
pub struct Locate {
    /// Who sees what.
    pub access: Access,
    /// The log.
    pub log: Arc<dyn LogPlaces>,
}

fn not_found(message_id: Ulid) -> Refusal {
    Refusal::new(
        ErrorCode::MessageNotFound,
        format!("no message {message_id}"),
    )
    .with_field("message_id")
}

impl Locate {
    /// An event by its message id: in the store, or in the log alone, which only the system is told of.
    pub async fn locate(
        &self,
        reader: &Reader,
        tenant: &str,
        message_id: Ulid,
    ) -> Result<Located, Refusal> {
        let stored = self.stored(reader, tenant, message_id).await?;
        if *reader != Reader::System {
            return match stored {
                Some(row) => Ok(located(row, InLog::Untold)),
                None => Err(not_found(message_id)),
            };
        }
        match (stored, self.log.find(tenant, message_id).await) {
            (Some(row), place) => Ok(located(row, in_log(place))),
            (None, Ok(Some(LogPlace::At { offset, event }))) => Ok(Located {
                event,
                is_recalled: false,
                is_stored: false,
                log: InLog::At(offset),
            }),
            // Stored and trimmed since it was looked for.
            (None, Ok(Some(LogPlace::Trimmed))) => {
                match self.stored(reader, tenant, message_id).await? {
                    Some(row) => Ok(located(row, InLog::Trimmed)),
                    None => Err(not_found(message_id)),
                }
            }
            (None, Ok(None)) => Err(not_found(message_id)),
            (None, Err(refusal)) => Err(refusal),
        }
    }

    async fn stored(
        &self,
        reader: &Reader,
        tenant: &str,
        message_id: Ulid,
    ) -> Result<Option<MessageRow>, Refusal> {
        let store = &self.access.store;
        let refused = |error| store_refusal(&error);
        let place = store.locate(message_id).await.map_err(refused)?;
        let Some((key, seq)) = place.filter(|(key, _)| *key.tenant == *tenant) else {
            return Ok(None);
        };
        let opened = match self.access.open_one(reader, key).await {
            Ok(opened) => opened,
            Err(refusal) if refusal.code == ErrorCode::ConversationNotFound => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        if !opened.view.shows(seq) {
            return Ok(None);
        }
        let row = store
            .messages(&opened.key, MessageQuery::After(seq.saturating_sub(1)), 1)
            .await
            .map_err(refused)?;
        if let Some(row) = row.into_iter().find(|row| row.seq == seq) {
            return Ok(Some(row));
        }
        // An event that is no message.
        let event = store.event(&opened.key, seq).await.map_err(refused)?;
        Ok(event.map(|event| MessageRow {
            seq,
            event,
            recalled_by_seq: None,
        }))
    }
}

/// What the store has.
fn located(row: MessageRow, log: InLog) -> Located {
    Located {
        event: row.event,
        is_recalled: row.recalled_by_seq.is_some(),
        is_stored: true,
        log,
    }
}

/// Where the log has what the store has.
fn in_log(place: Result<Option<LogPlace>, Refusal>) -> InLog {
    match place {
        Ok(Some(LogPlace::At { offset, .. })) => InLog::At(offset),
        Ok(Some(LogPlace::Trimmed) | None) => InLog::Trimmed,
        Err(refusal) => {
            tracing::warn!(%refusal, "the log was not asked where a message is");
            InLog::Unreachable
        }
    }
}
