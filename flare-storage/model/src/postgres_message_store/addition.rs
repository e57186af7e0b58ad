//! What a batch adds, as rows.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::{
    placement::Run,
    values::{to_db, uuid_of},
};
use crate::{
    client_id_key::{ClientIdKey, client_id_of},
    conversation_key::ConversationKey,
    head::{BrokenInvariant, Head},
    logged_event::LoggedEvent,
    message_store::StoreError,
};

/// One statement takes so many events at most.
const CHUNK_EVENTS: usize = 4_096;
/// And so many bytes of them, if it has more than one.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// What is stored of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) conversation_no: i64,
    /// 0: it begins with this batch.
    pub(super) seq: u64,
    pub(super) time_ms: i64,
    /// Where its newest run ends; the beginning of time where none is kept.
    pub(super) run_until_ms: i64,
}

impl Stored {
    /// Nothing but the number.
    pub(super) fn new(conversation_no: i64) -> Self {
        Self {
            conversation_no,
            seq: 0,
            time_ms: i64::MIN,
            run_until_ms: i64::MIN,
        }
    }

    pub(super) fn number_of(
        stored: &HashMap<&ConversationKey, Self>,
        key: &ConversationKey,
    ) -> Result<i64, StoreError> {
        let it = stored.get(key).map(|it| it.conversation_no);
        it.ok_or_else(|| StoreError::Damaged(format!("{key} has no number")))
    }
}

/// What is new in a batch.
#[derive(Debug)]
pub(super) struct Addition<'a> {
    pub(super) events: Vec<&'a LoggedEvent>,
    pub(super) heads: Vec<(&'a ConversationKey, &'a Head)>,
    /// Runs that begin with one of the events.
    pub(super) runs: Vec<(&'a ConversationKey, Run)>,
    /// The last event that takes back each message.
    pub(super) recalls: BTreeMap<(&'a ConversationKey, u64), u64>,
}

impl<'a> Addition<'a> {
    /// Refuses an event that is of an earlier time than the one before it: reads look for a seq where its time is.
    pub(super) fn of(
        partition: u32,
        events: Vec<&'a LoggedEvent>,
        heads: HashMap<&'a ConversationKey, &'a Head>,
        stored: &HashMap<&ConversationKey, Stored>,
    ) -> Result<Self, StoreError> {
        let mut runs = Vec::new();
        let mut recalls = BTreeMap::new();
        let mut last: HashMap<&ConversationKey, (i64, i64)> = HashMap::new();
        for event in &events {
            let (key, seq, time_ms) = (event.key(), event.seq(), event.header().time_ms);
            let (last_ms, run_until_ms) = last.entry(key).or_insert_with(|| {
                let stored = stored.get(key).copied();
                let stored = stored.unwrap_or_else(|| Stored::new(0));
                (stored.time_ms, stored.run_until_ms)
            });
            if time_ms < *last_ms {
                return Err(StoreError::Broken {
                    partition,
                    source: BrokenInvariant::Time {
                        message_id: event.header().message_id.clone(),
                        conversation: key.to_string(),
                        seq,
                        time_ms,
                        head: *last_ms,
                    },
                });
            }
            *last_ms = time_ms;
            if time_ms >= *run_until_ms {
                let run = Run::beginning(seq, time_ms);
                *run_until_ms = run.until_ms;
                runs.push((key, run));
            }
            if let Some(target) = event.recalls() {
                recalls.insert((key, target), seq);
            }
        }
        Ok(Self {
            events,
            heads: heads.into_iter().collect(),
            runs,
            recalls,
        })
    }
}

/// Cuts events into what one statement takes.
pub(super) fn chunks<'a, 'b>(
    events: &'b [&'a LoggedEvent],
) -> impl Iterator<Item = &'b [&'a LoggedEvent]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fit = rest
            .iter()
            .take(CHUNK_EVENTS)
            .take_while(|it| {
                bytes += it.event().len();
                bytes <= CHUNK_BYTES
            })
            .count();
        let (chunk, left) = rest.split_at(fit.max(1).min(rest.len()));
        rest = left;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Events as parameters, an array a column.
pub(super) struct Columns<'a> {
    pub(super) message_ids: Vec<Uuid>,
    pub(super) conversation_nos: Vec<i64>,
    pub(super) seqs: Vec<i64>,
    pub(super) ordinals: Vec<i64>,
    pub(super) times_ms: Vec<i64>,
    pub(super) fingerprints: Vec<[u8; 16]>,
    pub(super) client_ids: Vec<Option<ClientIdKey>>,
    pub(super) are_messages: Vec<bool>,
    pub(super) events: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(
        events: &[&'a LoggedEvent],
        stored: &HashMap<&ConversationKey, Stored>,
    ) -> Result<Self, StoreError> {
        let headers = || events.iter().map(|it| it.header());
        Ok(Self {
            message_ids: events.iter().map(|it| uuid_of(it.message_id())).collect(),
            conversation_nos: events
                .iter()
                .map(|it| Stored::number_of(stored, it.key()))
                .collect::<Result<_, _>>()?,
            seqs: events.iter().map(|it| to_db(it.seq())).collect(),
            ordinals: headers().map(|it| to_db(it.ordinal)).collect(),
            times_ms: headers().map(|it| it.time_ms).collect(),
            fingerprints: events.iter().map(|it| it.fingerprint().0).collect(),
            client_ids: events.iter().map(|it| client_id_of(it)).collect(),
            are_messages: events.iter().map(|it| it.is_message()).collect(),
            events: events.iter().map(|it| it.event().as_ref()).collect(),
        })
    }

    /// The first and the last time.
    pub(super) fn times(&self) -> (i64, i64) {
        let times = self.times_ms.iter().copied();
        (
            times.clone().min().unwrap_or_default(),
            times.max().unwrap_or_default(),
        )
    }
}
