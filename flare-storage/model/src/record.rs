//! The log's records: a version byte, then a protobuf `LogRecord`.

use bytes::{Buf, Bytes};
use flare_proto::storage::{self as proto, log_record::Record};
use prost::Message;

use crate::{
    command_id::Fingerprint,
    logged_event::{EventError, LoggedEvent},
};

/// The version of the record format that this code writes. It reads this one only: it is the first.
pub const RECORD_VERSION: u8 = 1;

/// The largest record, version byte included.
pub const MAX_RECORD_BYTES: usize = 512 * 1024;

/// What a record takes beside its events, at most, in bytes. With [`LoggedEvent::record_bytes`] an owner fills a group up to the limit.
pub const GROUP_OVERHEAD_BYTES: usize = 64;

/// One owner's time. Two that took the same number are told apart by the nonce. Number 0 is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// Rises with each takeover.
    pub number: u64,
    /// Random.
    pub nonce: u64,
}

/// What stands in the log.
#[derive(Clone, Debug, PartialEq)]
pub enum LogRecord {
    /// From here on the log belongs to `epoch`, if its number is above the current one.
    Takeover {
        /// Whose time begins.
        epoch: Epoch,
        /// A name for people.
        owner: String,
    },
    /// Events that land together. Counts iff `epoch` is the current one and `n` is the next index.
    Group {
        /// Who decided it.
        epoch: Epoch,
        /// Its index in the epoch, from 0.
        n: u64,
        /// In order. None: it only shows that the epoch was still the current one.
        events: Vec<LoggedEvent>,
    },
}

/// Why bytes are no record, or a record cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No version byte.
    #[error("record is empty")]
    Empty,
    /// Written by a version that this one does not know.
    #[error("record has version {0}, known is {RECORD_VERSION}")]
    Version(u8),
    /// Above the limit.
    #[error("record has {0} bytes, the limit is {MAX_RECORD_BYTES}")]
    TooLarge(usize),
    /// Not a `LogRecord`.
    #[error("record does not decode: {0}")]
    Undecodable(#[from] prost::DecodeError),
    /// Neither takeover nor group, or of a kind that this version does not know.
    #[error("record is neither a takeover nor a group")]
    Kind,
    /// No epoch, or number 0.
    #[error("record has no epoch")]
    NoEpoch,
    /// One of the group's events is none.
    #[error("event {index} of group {n} of epoch {epoch}: {source}")]
    Event {
        /// The epoch's number.
        epoch: u64,
        /// The group's index.
        n: u64,
        /// The event's place in the group, from 0.
        index: usize,
        /// What is wrong with it.
        source: EventError,
    },
}

/// The record's bytes, as they are appended. Refuses what `decode` would refuse.
pub fn encode(record: &LogRecord) -> Result<Bytes, RecordError> {
    let record = match record {
        LogRecord::Takeover { epoch, owner } => Record::Takeover(proto::Takeover {
            epoch: Some(epoch_to_proto(*epoch)?),
            owner: owner.clone(),
        }),
        LogRecord::Group { epoch, n, events } => Record::Group(proto::Group {
            epoch: Some(epoch_to_proto(*epoch)?),
            n: *n,
            events: events
                .iter()
                .map(|it| proto::LoggedEvent {
                    event: it.event().clone(),
                    fingerprint: Bytes::copy_from_slice(&it.fingerprint().0),
                })
                .collect(),
        }),
    };
    let record = proto::LogRecord {
        record: Some(record),
    };
    let length = 1 + record.encoded_len();
    if length > MAX_RECORD_BYTES {
        return Err(RecordError::TooLarge(length));
    }
    let mut bytes = Vec::with_capacity(length);
    bytes.push(RECORD_VERSION);
    record.encode_raw(&mut bytes);
    Ok(Bytes::from(bytes))
}

/// Reads a record. Total: any bytes give a record or a typed error. The events share the record's memory.
pub fn decode(mut bytes: Bytes) -> Result<LogRecord, RecordError> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(RecordError::TooLarge(bytes.len()));
    }
    match bytes.first() {
        None => return Err(RecordError::Empty),
        Some(&RECORD_VERSION) => bytes.advance(1),
        Some(&version) => return Err(RecordError::Version(version)),
    }
    match proto::LogRecord::decode(bytes)?
        .record
        .ok_or(RecordError::Kind)?
    {
        Record::Takeover(takeover) => Ok(LogRecord::Takeover {
            epoch: epoch_from_proto(takeover.epoch)?,
            owner: takeover.owner,
        }),
        Record::Group(group) => {
            let epoch = epoch_from_proto(group.epoch)?;
            let mut events = Vec::with_capacity(group.events.len());
            for (index, logged) in group.events.into_iter().enumerate() {
                let event = logged_event(logged).map_err(|source| RecordError::Event {
                    epoch: epoch.number,
                    n: group.n,
                    index,
                    source,
                })?;
                events.push(event);
            }
            Ok(LogRecord::Group {
                epoch,
                n: group.n,
                events,
            })
        }
    }
}

fn logged_event(logged: proto::LoggedEvent) -> Result<LoggedEvent, EventError> {
    let print = <[u8; 16]>::try_from(logged.fingerprint.as_ref());
    let event = LoggedEvent::parse(logged.event, Fingerprint(print.unwrap_or_default()))?;
    if print.is_err() {
        return Err(EventError::FingerprintLength {
            message_id: event.header().message_id.clone(),
            bytes: logged.fingerprint.len(),
        });
    }
    Ok(event)
}

fn epoch_to_proto(epoch: Epoch) -> Result<proto::Epoch, RecordError> {
    if epoch.number == 0 {
        return Err(RecordError::NoEpoch);
    }
    Ok(proto::Epoch {
        number: epoch.number,
        nonce: epoch.nonce,
    })
}

fn epoch_from_proto(epoch: Option<proto::Epoch>) -> Result<Epoch, RecordError> {
    match epoch {
        Some(epoch) if epoch.number > 0 => Ok(Epoch {
            number: epoch.number,
            nonce: epoch.nonce,
        }),
        _ => Err(RecordError::NoEpoch),
    }
}
