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

/// What an answer, or a part of it, may hold.
#[derive(Clone, Copy)]
struct Room {
    messages: usize,
    bytes: usize,
    /// The first message fits, however large it is.
    one_always: bool,
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
            Position::Before(seq) => {
                self.older(&opened, seq.unwrap_or(u64::MAX), self.room(size))
                    .await
            }
            Position::After(seq) => {
                self.newer(&opened, MessageQuery::After(seq), self.room(size))
                    .await
            }
            Position::FromTime(time_ms) => {
                self.newer(&opened, MessageQuery::FromTime(time_ms), self.room(size))
                    .await
            }
            Position::Around(seq) => {
                let half = Room {
                    messages: size / 2,
                    bytes: self.max_bytes / 2,
                    // The one in the middle, which was asked for, comes with those after it.
                    one_always: false,
                };
                let mut page = self.older(&opened, seq, half).await?;
                let used: usize = page.messages.iter().map(|it| it.event.len()).sum();
                let rest = Room {
                    messages: size - page.messages.len(),
                    bytes: self.max_bytes - used,
                    one_always: true,
                };
                let after = MessageQuery::After(seq.saturating_sub(1));
                let newer = self.newer(&opened, after, rest).await?;
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
        self.older(&opened, u64::MAX, self.room(size)).await
    }

    /// All of an answer.
    fn room(&self, size: usize) -> Room {
        Room {
            messages: size,
            bytes: self.max_bytes,
            one_always: true,
        }
    }

    async fn older(&self, opened: &Open, before: u64, room: Room) -> Result<Page, Refusal> {
        let size = room.messages;
        let view = opened.view;
        let before = before.min(view.head.saturating_add(1));
        let rows = self
            .rows(opened, MessageQuery::Before(before), size)
            .await?;
        let mut messages: Vec<MessageRow> =
            rows.into_iter().filter(|row| view.shows(row.seq)).collect();
        let full = messages.len() == size && size > 0;
        let fit = fitting(messages.iter().rev(), room);
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

    async fn newer(&self, opened: &Open, query: MessageQuery, room: Room) -> Result<Page, Refusal> {
        let size = room.messages;
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
        let fit = fitting(messages.iter(), room);
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
}

/// How many of the rows fit.
fn fitting<'a>(rows: impl Iterator<Item = &'a MessageRow>, room: Room) -> usize {
    let mut bytes = room.bytes;
    let mut fit = 0;
    for row in rows {
        match bytes.checked_sub(row.event.len()) {
            Some(left) => bytes = left,
            None if fit == 0 && room.one_always => bytes = 0,
            None => {
                metrics::counter!("flare_storage_reader_answers_cut_total", "kind" => "history")
                    .increment(1);
                break;
            }
        }
        fit += 1;
    }
    fit
}
