//! Runs of events.

use std::ops::RangeInclusive;

use bytes::Bytes;
use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;

use super::{
    access::{Access, Open, Reader},
    ports::store_refusal,
    room::Room,
};

/// What follows a seq.
#[derive(Clone, Debug)]
pub struct RangeQuery {
    /// Where.
    pub key: ConversationKey,
    /// After which seq.
    pub after_seq: u64,
    /// At most so many events.
    pub limit: usize,
}

/// A run of events.
#[derive(Clone, Debug)]
pub struct Range {
    /// Encoded events as they were written, from `first_seq` on without a hole.
    pub events: Vec<Bytes>,
    /// The seq of the first event.
    pub first_seq: u64,
    /// The seqs of those among them that were taken back: nobody is shown their bodies.
    pub recalled: Vec<u64>,
    /// The reader's head.
    pub head_seq: u64,
    /// The oldest seq that he may see.
    pub floor_seq: u64,
    /// Whether there is more.
    pub has_more: bool,
}

/// Reads runs of events.
pub struct Ranges {
    /// Who sees what.
    pub access: Access,
    /// Bytes of all events of an answer; its first event always fits.
    pub max_bytes: usize,
}

impl Ranges {
    /// Each range, in the order of the queries; one that is refused does not spoil the others.
    pub async fn read(
        &self,
        reader: &Reader,
        queries: Vec<RangeQuery>,
    ) -> Result<Vec<Result<Range, Refusal>>, Refusal> {
        let keys = queries.iter().map(|it| it.key.clone()).collect();
        let opened = self.access.open(reader, keys).await?;
        let mut room = Room::of_answer("ranges", self.max_bytes);
        let mut answers = Vec::with_capacity(queries.len());
        for (query, opened) in queries.into_iter().zip(opened) {
            answers.push(match opened {
                Ok(opened) => Ok(self.range(&query, opened, &mut room).await?),
                Err(refusal) => Err(refusal),
            });
        }
        Ok(answers)
    }

    async fn range(
        &self,
        query: &RangeQuery,
        opened: Open,
        room: &mut Room,
    ) -> Result<Range, Refusal> {
        let view = opened.view;
        let mut range = Range {
            events: Vec::new(),
            first_seq: 0,
            recalled: Vec::new(),
            head_seq: view.head,
            floor_seq: view.floor,
            has_more: false,
        };
        let Some((first, limit)) = view.range(query.after_seq, query.limit) else {
            return Ok(range);
        };
        if room.bytes() == 0 {
            room.count_cut();
            range.has_more = true;
            return Ok(range);
        }
        range.events = self
            .access
            .store
            .range(&opened.key, first - 1, limit, room.bytes())
            .await
            .map_err(|error| store_refusal(&error))?;
        // The store gives one event at least, also where an earlier range has left too little.
        let fit = range.events.iter().take_while(|it| room.take(it.len()));
        let fit = fit.count();
        range.events.truncate(fit);
        if fit < limit {
            room.count_cut();
        }
        let last = first - 1 + range.events.len() as u64;
        range.first_seq = first;
        range.has_more = last < view.head;
        if !range.events.is_empty() {
            range.recalled = self.recalled(&opened, first..=last).await?;
        }
        Ok(range)
    }

    /// Costs nothing while the head names all recalled messages of the run, which it does but for conversations with very many.
    async fn recalled(&self, opened: &Open, run: RangeInclusive<u64>) -> Result<Vec<u64>, Refusal> {
        match opened.recalled.within(&run) {
            Some(seqs) => Ok(seqs.to_vec()),
            None => {
                let (first, last) = run.into_inner();
                self.access
                    .store
                    .recalled_between(&opened.key, first, last)
                    .await
                    .map_err(|error| store_refusal(&error))
            }
        }
    }
}
