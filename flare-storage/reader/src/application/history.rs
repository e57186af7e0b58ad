//! Pages of messages, and snapshots.

use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, MessageQuery, MessageRow};

use super::{
    access::{Access, Open, Reader},
    ports::store_refusal,
    room::Room,
};
use crate::domain::page::{PageToken, Position};

/// As the metric of cut answers names them.
const KIND: &str = "history";

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

impl Page {
    fn bytes(&self) -> usize {
        self.messages.iter().map(|it| it.event.len()).sum()
    }
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
                let before = seq.unwrap_or(u64::MAX);
                self.older(&opened, before, size, self.room()).await
            }
            Position::After(seq) => {
                let after = MessageQuery::After(seq);
                self.newer(&opened, after, size, self.room()).await
            }
            Position::FromTime(time_ms) => {
                let from = MessageQuery::FromTime(time_ms);
                self.newer(&opened, from, size, self.room()).await
            }
            Position::Around(seq) => self.around(&opened, seq, size).await,
        }
    }

    /// Half of the page is older. What either side leaves, the other takes.
    async fn around(&self, opened: &Open, seq: u64, size: usize) -> Result<Page, Refusal> {
        let half = size / 2;
        // The message in the middle, which was asked for, comes with those after it: of these one always fits.
        let part = Room::of_part(KIND, self.max_bytes / 2);
        let mut older = self.older(opened, seq, half, part).await?;
        let rest = Room::of_answer(KIND, self.max_bytes - older.bytes());
        let after = MessageQuery::After(seq.saturating_sub(1));
        let left = size - older.messages.len();
        let newer = self.newer(opened, after, left, rest).await?;
        let more_is_older = half == 0 || older.next.is_some();
        if newer.next.is_none() && newer.messages.len() < left && more_is_older {
            let room = match newer.messages.is_empty() {
                true => self.room(),
                false => Room::of_part(KIND, self.max_bytes.saturating_sub(newer.bytes())),
            };
            let left = size - newer.messages.len();
            older = self.older(opened, seq, left, room).await?;
        }
        older.messages.extend(newer.messages);
        older.next = newer.next;
        Ok(older)
    }

    /// The head, and the last messages up to it.
    pub async fn snapshot(
        &self,
        reader: &Reader,
        key: ConversationKey,
        size: usize,
    ) -> Result<Page, Refusal> {
        let opened = self.access.open_one(reader, key).await?;
        self.older(&opened, u64::MAX, size, self.room()).await
    }

    /// All of an answer.
    fn room(&self) -> Room {
        Room::of_answer(KIND, self.max_bytes)
    }

    async fn older(
        &self,
        opened: &Open,
        before: u64,
        size: usize,
        room: Room,
    ) -> Result<Page, Refusal> {
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

    async fn newer(
        &self,
        opened: &Open,
        query: MessageQuery,
        size: usize,
        room: Room,
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
fn fitting<'a>(mut rows: impl ExactSizeIterator<Item = &'a MessageRow>, mut room: Room) -> usize {
    let all = rows.len();
    let fit = rows.by_ref().take_while(|row| room.take(row.event.len()));
    let fit = fit.count();
    if fit < all {
        room.count_cut();
    }
    fit
}
