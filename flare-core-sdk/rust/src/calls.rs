//! Calls that wait for their answers, in no order.

use std::collections::BTreeMap;

use bytes::Bytes;
use flare_proto::client::{Call, Reply};
use prost_types::Any;
use tokio::sync::oneshot;

use crate::{
    error::{CallError, Refusal},
    permits::Permit,
};

/// Most calls on their way at once.
const MAX_IN_FLIGHT: usize = 16;
/// The pause after a refusal that names none, in milliseconds; doubles with each.
const SHORTEST_RETRY_MS: u64 = 100;
/// The longest such pause.
const LONGEST_RETRY_MS: u64 = 5_000;
pub(crate) const TYPE_URL_PREFIX: &str = "type.googleapis.com/";

/// A call before it is made.
#[derive(Debug)]
pub(crate) struct PendingCall {
    pub(crate) method: &'static str,
    /// Full name of the request's type.
    pub(crate) request_type: String,
    /// Full name of the answer's type.
    pub(crate) response_type: String,
    pub(crate) request: Bytes,
    pub(crate) deadline_ms: u64,
    pub(crate) answer: oneshot::Sender<Result<Bytes, CallError>>,
    /// Its share of the bound on calls.
    pub(crate) _permit: Permit,
}

#[derive(Debug)]
struct Entry {
    call: PendingCall,
    in_flight: bool,
    not_before_ms: u64,
    refusals: u32,
    last: Option<Refusal>,
}

/// All calls without an answer. Each leaves again on the next connection: every method of the contract that changes anything bears a client id, or is idempotent.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    entries: BTreeMap<u64, Entry>,
    next_key: u64,
    in_flight: usize,
}

impl Calls {
    pub(crate) fn push(&mut self, call: PendingCall) {
        let entry = Entry {
            call,
            in_flight: false,
            not_before_ms: 0,
            refusals: 0,
            last: None,
        };
        self.entries.insert(self.next_key, entry);
        self.next_key += 1;
    }

    /// The next call that may leave, as its frame with this request id.
    pub(crate) fn leave(&mut self, id: u32, now_ms: u64) -> Option<(u64, Call)> {
        if self.in_flight >= MAX_IN_FLIGHT {
            return None;
        }
        let (key, entry) = self
            .entries
            .iter_mut()
            .find(|(_, it)| !it.in_flight && it.not_before_ms <= now_ms)?;
        entry.in_flight = true;
        self.in_flight += 1;
        let request = Any {
            type_url: format!("{TYPE_URL_PREFIX}{}", entry.call.request_type),
            value: entry.call.request.to_vec(),
        };
        let call = Call {
            id,
            method: entry.call.method.to_owned(),
            request: Some(request),
        };
        Some((*key, call))
    }

    pub(crate) fn answered(&mut self, key: u64, reply: Reply) {
        let Some(entry) = self.remove(key) else {
            return;
        };
        let answer =
            response(reply, &entry.call.response_type).map_err(|reason| CallError::Contract {
                method: entry.call.method.to_owned(),
                reason,
            });
        let _ = entry.call.answer.send(answer);
    }

    pub(crate) fn refused(&mut self, key: u64, refusal: Refusal, now_ms: u64) {
        if !refusal.is_retryable() {
            if let Some(entry) = self.remove(key) {
                let method = entry.call.method.to_owned();
                let _ = entry
                    .call
                    .answer
                    .send(Err(CallError::Refused { method, refusal }));
            }
            return;
        }
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let pause = refusal.retry_after.map_or_else(
            || (SHORTEST_RETRY_MS << entry.refusals.min(10)).min(LONGEST_RETRY_MS),
            |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX),
        );
        entry.refusals = entry.refusals.saturating_add(1);
        entry.not_before_ms = now_ms.saturating_add(pause);
        entry.last = Some(refusal);
        if std::mem::take(&mut entry.in_flight) {
            self.in_flight -= 1;
        }
    }

    /// The frame could not be written.
    pub(crate) fn unwritable(&mut self, key: u64, reason: String) {
        if let Some(entry) = self.remove(key) {
            let method = entry.call.method.to_owned();
            let _ = entry
                .call
                .answer
                .send(Err(CallError::Contract { method, reason }));
        }
    }

    /// No answer in time: it may leave again while its deadline lasts.
    pub(crate) fn unanswered(&mut self, key: u64) {
        if let Some(entry) = self.entries.get_mut(&key)
            && std::mem::take(&mut entry.in_flight)
        {
            self.in_flight -= 1;
        }
    }

    pub(crate) fn disconnected(&mut self) {
        self.in_flight = 0;
        for entry in self.entries.values_mut() {
            entry.in_flight = false;
        }
    }

    /// Ends those whose deadline has passed, and forgets those whose callers are gone.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        let over: Vec<u64> = self
            .entries
            .iter()
            .filter(|(_, it)| it.call.deadline_ms <= now_ms || it.call.answer.is_closed())
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            if let Some(entry) = self.remove(key) {
                let method = entry.call.method.to_owned();
                let error = match entry.last {
                    Some(refusal) => CallError::Refused { method, refusal },
                    None => CallError::TimedOut { method },
                };
                let _ = entry.call.answer.send(Err(error));
            }
        }
    }

    pub(crate) fn wake_at(&self, now_ms: u64) -> Option<u64> {
        self.entries
            .values()
            .flat_map(|it| {
                let pause = Some(it.not_before_ms).filter(|at| !it.in_flight && *at > now_ms);
                [Some(it.call.deadline_ms), pause]
            })
            .flatten()
            .min()
    }

    pub(crate) fn end(&mut self, why: &str) {
        for (_, entry) in std::mem::take(&mut self.entries) {
            let _ = entry.call.answer.send(Err(CallError::Ended {
                method: entry.call.method.to_owned(),
                why: why.to_owned(),
            }));
        }
        self.in_flight = 0;
    }

    fn remove(&mut self, key: u64) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        if entry.in_flight {
            self.in_flight -= 1;
        }
        Some(entry)
    }
}

/// The answer in a reply, if it is of the type expected.
pub(crate) fn response(reply: Reply, expected: &str) -> Result<Bytes, String> {
    let any = reply.response.ok_or("a reply without an answer")?;
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    if name != expected {
        return Err(format!("the answer is a {name:?}, not a {expected:?}"));
    }
    Ok(any.value.into())
}
