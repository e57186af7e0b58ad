//! What the port asks of the tables.

use std::collections::HashMap;

use bytes::Bytes;
use ulid::Ulid;
use uuid::Uuid;

use super::{
    Rows,
    placement::{FirstAt, Placement, Stretch},
    statements,
    values::{CursorRow, cursor_of, from_db, names_of, to_db, uuid_of},
};
use crate::{
    client_id_key::client_id_of_key,
    command_id::{Fingerprint, IdKey, Receipt},
    conversation_key::ConversationKey,
    head::Head,
    head_row::decode_head,
    message_store::{Cursor, MessageQuery, MessageRow, StoreError},
};

/// Where a page was not full, so many times as many events are looked through next.
const WIDER: u64 = 4;

impl Rows {
    pub(super) async fn cursor(&self, partition: u32) -> Result<Cursor, StoreError> {
        let row = sqlx::query_as::<_, CursorRow>(statements::CURSOR)
            .bind(i64::from(partition))
            .fetch_optional(self.postgres.pool());
        let row = self.answer(row).await?;
        row.map_or_else(|| Ok(Cursor::default()), cursor_of)
    }

    pub(super) async fn heads(
        &self,
        keys: &[ConversationKey],
    ) -> Result<Vec<Option<Head>>, StoreError> {
        let (tenants, conversations) = names_of(&keys.iter().collect::<Vec<_>>());
        let rows = sqlx::query_as::<_, (i64, i64, Vec<u8>)>(statements::HEADS)
            .bind(tenants)
            .bind(conversations)
            .fetch_all(self.postgres.pool());
        let mut heads = vec![None; keys.len()];
        for (place, seq, state) in self.answer(rows).await? {
            let head = decode_head(&state)?;
            if head.seq != from_db(seq)? {
                let damage = format!("a head's row says seq {seq}, its state {}", head.seq);
                return Err(StoreError::Damaged(damage));
            }
            let place = usize::try_from(place - 1).ok();
            if let Some(place) = place.and_then(|it| heads.get_mut(it)) {
                *place = Some(head);
            }
        }
        Ok(heads)
    }

    pub(super) async fn receipts(
        &self,
        keys: &[IdKey],
    ) -> Result<Vec<Option<(Receipt, Fingerprint)>>, StoreError> {
        let ids: Vec<_> = keys.iter().map(client_id_of_key).collect();
        let rows =
            sqlx::query_as::<_, (Vec<u8>, Uuid, i64, i64, i64, [u8; 16])>(statements::RECEIPTS)
                .bind(&ids)
                .fetch_all(self.postgres.pool());
        let mut found = HashMap::new();
        for (client_id, message_id, seq, ordinal, time_ms, fingerprint) in self.answer(rows).await?
        {
            let receipt = Receipt {
                message_id: Ulid::from_bytes(message_id.into_bytes()),
                seq: from_db(seq)?,
                ordinal: from_db(ordinal)?,
                time_ms,
            };
            found.insert(client_id, (receipt, Fingerprint(fingerprint)));
        }
        Ok(ids
            .iter()
            .map(|it| found.get(it.as_slice()).copied())
            .collect())
    }

    pub(super) async fn range(
        &self,
        key: &ConversationKey,
        after_seq: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        let (Some(first), true) = (after_seq.checked_add(1), limit > 0) else {
            return Ok(Vec::new());
        };
        let Some(placed) = self.placement(key).await? else {
            return Ok(Vec::new());
        };
        let first = first.max(placed.floor());
        if first > placed.last_seq {
            return Ok(Vec::new());
        }
        let last = first.saturating_add(limit as u64 - 1).min(placed.last_seq);
        let [first_seq, last_seq, from_ms, until_ms] = placed.stretch(first, last).to_db();
        let rows = sqlx::query_as::<_, (i64, Vec<u8>)>(statements::RANGE)
            .bind(placed.conversation_no)
            .bind(first_seq)
            .bind(last_seq)
            .bind(from_ms)
            .bind(until_ms)
            .bind(to_db(max_bytes as u64))
            .fetch_all(self.postgres.pool());
        let rows = self.answer(rows).await?;
        let hole = (first_seq..)
            .zip(&rows)
            .find(|(ought, (seq, _))| ought != seq);
        if let Some(missing) = hole
            .map(|(ought, _)| ought)
            .or(rows.is_empty().then_some(first_seq))
        {
            return Err(StoreError::Damaged(format!("{key} has no seq {missing}")));
        }
        Ok(rows.into_iter().map(|(_, event)| event.into()).collect())
    }

    pub(super) async fn event(
        &self,
        key: &ConversationKey,
        seq: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let Some(placed) = self.placement(key).await? else {
            return Ok(None);
        };
        if !(placed.floor()..=placed.last_seq).contains(&seq) {
            return Ok(None);
        }
        let [seq, _, from_ms, until_ms] = placed.stretch(seq, seq).to_db();
        let row = sqlx::query_as::<_, (Vec<u8>,)>(statements::EVENT)
            .bind(placed.conversation_no)
            .bind(seq)
            .bind(from_ms)
            .bind(until_ms)
            .fetch_optional(self.postgres.pool());
        match self.answer(row).await? {
            Some((event,)) => Ok(Some(event.into())),
            None => Err(StoreError::Damaged(format!("{key} has no seq {seq}"))),
        }
    }

    pub(super) async fn messages(
        &self,
        key: &ConversationKey,
        query: MessageQuery,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let Some(placed) = self.placement(key).await? else {
            return Ok(Vec::new());
        };
        let first = match query {
            MessageQuery::Before(seq) => return self.messages_before(&placed, seq, limit).await,
            MessageQuery::After(seq) => seq.checked_add(1),
            MessageQuery::FromTime(time_ms) => self.first_at(key, &placed, time_ms).await?,
        };
        match first {
            Some(first) => self.messages_from(&placed, first, limit).await,
            None => Ok(Vec::new()),
        }
    }

    async fn messages_from(
        &self,
        placed: &Placement,
        first: u64,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let mut found = Vec::new();
        let mut first = first.max(placed.floor());
        let mut events = limit as u64;
        while found.len() < limit && first <= placed.last_seq {
            let stretch = placed.up(first, events);
            let missing = limit - found.len();
            found.extend(
                self.page(statements::FIRST_MESSAGES, placed, stretch, missing)
                    .await?,
            );
            first = stretch.last_seq + 1;
            events = events.saturating_mul(WIDER);
        }
        Ok(found)
    }

    async fn messages_before(
        &self,
        placed: &Placement,
        before: u64,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        // The newest page first.
        let mut pages = Vec::new();
        let mut missing = limit;
        let mut before = before.min(placed.last_seq + 1);
        let mut events = limit as u64;
        while missing > 0 && before > placed.floor() {
            let stretch = placed.down(before - 1, events);
            let page = self
                .page(statements::LAST_MESSAGES, placed, stretch, missing)
                .await?;
            missing -= page.len();
            pages.push(page);
            before = stretch.first_seq;
            events = events.saturating_mul(WIDER);
        }
        Ok(pages.into_iter().rev().flatten().collect())
    }

    /// At most `limit` messages of a stretch, by rising seq.
    async fn page(
        &self,
        statement: &'static str,
        placed: &Placement,
        stretch: Stretch,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let [first_seq, last_seq, from_ms, until_ms] = stretch.to_db();
        let rows = sqlx::query_as::<_, (i64, Vec<u8>, Option<i64>)>(statement)
            .bind(placed.conversation_no)
            .bind(first_seq)
            .bind(last_seq)
            .bind(from_ms)
            .bind(until_ms)
            .bind(to_db(limit as u64))
            .fetch_all(self.postgres.pool());
        let row = |(seq, event, by_seq): (i64, Vec<u8>, Option<i64>)| {
            Ok(MessageRow {
                seq: from_db(seq)?,
                event: event.into(),
                recalled_by_seq: by_seq.map(from_db).transpose()?,
            })
        };
        self.answer(rows).await?.into_iter().map(row).collect()
    }

    /// The first seq of a time or later; None: there is none.
    async fn first_at(
        &self,
        key: &ConversationKey,
        placed: &Placement,
        time_ms: i64,
    ) -> Result<Option<u64>, StoreError> {
        let stretch = match placed.first_at(time_ms) {
            FirstAt::Nowhere => return Ok(None),
            FirstAt::Seq(seq) => return Ok(Some(seq)),
            FirstAt::Within(stretch) => stretch,
        };
        let [first_seq, last_seq, from_ms, until_ms] = stretch.to_db();
        let row = sqlx::query_as::<_, (i64,)>(statements::FIRST_AT)
            .bind(placed.conversation_no)
            .bind(first_seq)
            .bind(last_seq)
            .bind(from_ms)
            .bind(until_ms)
            .bind(time_ms)
            .fetch_optional(self.postgres.pool());
        match self.answer(row).await? {
            Some((seq,)) => Ok(Some(from_db(seq)?)),
            None => Err(StoreError::Damaged(format!(
                "{key} has a hole between seq {first_seq} and {last_seq}"
            ))),
        }
    }

    pub(super) async fn count_recalled_above(
        &self,
        key: &ConversationKey,
        seq: u64,
    ) -> Result<u64, StoreError> {
        let row = sqlx::query_as::<_, (i64,)>(statements::COUNT_RECALLED)
            .bind(&*key.tenant)
            .bind(&*key.conversation)
            .bind(to_db(seq))
            .fetch_one(self.postgres.pool());
        let (count,) = self.answer(row).await?;
        from_db(count)
    }

    pub(super) async fn recalled_between(
        &self,
        key: &ConversationKey,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let rows = sqlx::query_as::<_, (i64,)>(statements::RECALLED)
            .bind(&*key.tenant)
            .bind(&*key.conversation)
            .bind(to_db(first_seq))
            .bind(to_db(last_seq))
            .fetch_all(self.postgres.pool());
        let rows = self.answer(rows).await?;
        rows.into_iter().map(|(seq,)| from_db(seq)).collect()
    }

    pub(super) async fn locate(
        &self,
        message_id: Ulid,
    ) -> Result<Option<(ConversationKey, u64)>, StoreError> {
        let row = sqlx::query_as::<_, (String, String, i64)>(statements::LOCATE)
            .bind(uuid_of(message_id))
            .fetch_optional(self.postgres.pool());
        let row = self.answer(row).await?;
        let place = |(tenant, conversation, seq)| {
            Ok((ConversationKey::new(tenant, conversation), from_db(seq)?))
        };
        row.map(place).transpose()
    }

    pub(super) async fn floor(&self, key: &ConversationKey) -> Result<u64, StoreError> {
        let row = sqlx::query_as::<_, (i64,)>(statements::FLOOR)
            .bind(&*key.tenant)
            .bind(&*key.conversation)
            .fetch_optional(self.postgres.pool());
        let floor = self.answer(row).await?;
        floor.map_or(Ok(1), |(floor,)| from_db(floor))
    }
}
