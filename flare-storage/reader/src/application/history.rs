//! Pages of messages, and snapshots.

use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, MessageQuery, MessageRow};

use super::{
    access::{Access, Open, Reader},
    ports::store_refusal,
};
use crate::domain::page::{PageToken, Position};

/// A page of messages by rising seq.
#[derive(Clone, Debug)]
pub struct Page {
    /// The messages.
    pub messages: Vec<MessageRow>,
    /// The reader's head.
    pub head_seq: u64,
    /// The oldest seq that he may see.
    pub floor_seq: u64,
    /// Goes on in the page's direction; None: nothing more.
    pub next: Option<PageToken>,
}

/// Reads pages.
pub struct History {
    /// Who sees what.
    pub access: Access,
    /// Bytes of a page's events; one always fits.
    pub max_bytes: usize,
}

impl History {
    /// The page at a position.
    pub async fn page(
        &self,
        reader: &Reader,
        key: ConversationKey,
        position: Position,
        size: usize,
    ) -> Result<Page, Refusal> {
        let opened = self.access.open_one(reader, key).await?;
        match position {
            Position::Before(seq) => self.older(&opened, seq.unwrap_or(u64::MAX), size).await,
            Position::After(seq) => self.newer(&opened, MessageQuery::After(seq), size).await,
            Position::FromTime(time_ms) => {
                self.newer(&opened, MessageQuery::FromTime(time_ms), size)
                    .await
            }
            Position::Around(seq) => {
                let mut page = self.older(&opened, seq, size / 2).await?;
                let after = seq.saturating_sub(1);
                let room = size - page.messages.len();
                let newer = self
                    .newer(&opened, MessageQuery::After(after), room)
                    .await?;
                page.messages.extend(newer.messages);
                page.next = newer.next;
                Ok(page)
            }
        }
    }

    /// The head, and the last messages up to it.
    pub async fn snapshot(
        &self,
        reader: &Reader,
        key: ConversationKey,
        size: usize,
    ) -> Result<Page, Refusal> {
        let opened = self.access.open_one(reader, key).await?;
        self.older(&opened, u64::MAX, size).await
    }

    async fn older(&self, opened: &Open, before: u64, size: usize) -> Result<Page, Refusal> {
        let view = opened.view;
        let before = before.min(view.head.saturating_add(1));
        let rows = self
            .rows(opened, MessageQuery::Before(before), size)
            .await?;
        let mut messages: Vec<MessageRow> =
            rows.into_iter().filter(|row| view.shows(row.seq)).collect();
        let full = messages.len() == size && size > 0;
        let fit = self.fitting(messages.iter().rev());
        let cut = messages.len() - fit;
        messages.drain(..cut);
        let next = messages
            .first()
            .filter(|first| (full || cut > 0) && first.seq > view.floor)
            .map(|first| PageToken {
                older: true,
                seq: first.seq,
            });
        Ok(Page {
            messages,
            head_seq: view.head,
            floor_seq: view.floor,
            next,
        })
    }

    async fn newer(
        &self,
        opened: &Open,
        query: MessageQuery,
        size: usize,
    ) -> Result<Page, Refusal> {
        let view = opened.view;
        let query = match query {
            MessageQuery::After(seq) => MessageQuery::After(seq.max(view.floor.saturating_sub(1))),
            other => other,
        };
        let mut rows = self.rows(opened, query, size).await?;
        if rows.first().is_some_and(|row| row.seq < view.floor) {
            // By time, before what the reader sees: from his floor on.
            rows = self
                .rows(
                    opened,
                    MessageQuery::After(view.floor.saturating_sub(1)),
                    size,
                )
                .await?;
        }
        let mut messages: Vec<MessageRow> =
            rows.into_iter().filter(|row| view.shows(row.seq)).collect();
        let full = messages.len() == size;
        let fit = self.fitting(messages.iter());
        let cut = messages.len() - fit;
        messages.truncate(fit);
        let next = messages
            .last()
            .filter(|last| (full || cut > 0) && last.seq < view.head)
            .map(|last| PageToken {
                older: false,
                seq: last.seq,
            });
        Ok(Page {
            messages,
            head_seq: view.head,
            floor_seq: view.floor,
            next,
        })
    }

    async fn rows(
        &self,
        opened: &Open,
        query: MessageQuery,
        size: usize,
    ) -> Result<Vec<MessageRow>, Refusal> {
        if size == 0 {
            return Ok(Vec::new());
        }
        self.access
            .store
            .messages(&opened.key, query, size)
            .await
            .map_err(|error| store_refusal(&error))
    }

    /// How many of the rows fit into an answer: one at least.
    fn fitting<'a>(&self, rows: impl Iterator<Item = &'a MessageRow>) -> usize {
        let mut room = self.max_bytes;
        let mut fit = 0;
        for row in rows {
            match room.checked_sub(row.event.len()) {
                Some(left) => room = left,
                None if fit == 0 => room = 0,
                None => {
                    metrics::counter!("flare_storage_reader_answers_cut_total", "kind" => "history").increment(1);
                    break;
                }
            }
            fit += 1;
        }
        fit
    }
}
