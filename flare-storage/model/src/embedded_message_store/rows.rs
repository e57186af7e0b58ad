//! The store's keys and rows. Every row begins with a version byte; keys begin with the conversation where they belong to one.

use bytes::Bytes;
use ulid::Ulid;

use crate::{
    apply::LogState,
    command_id::Fingerprint,
    conversation_key::ConversationKey,
    head_row::{decode_head, encode_head},
    logged_event::LoggedEvent,
    message_store::StoreError,
    record::Epoch,
};

/// The version that rows are written with, and the only one there is.
const ROW_VERSION: u8 = 1;

/// Bit of an event row's second byte: the event creates a message.
const IS_MESSAGE: u8 = 1;

/// What all keys of the conversation begin with.
pub(super) fn prefix(key: &ConversationKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.tenant.len() + key.conversation.len() + 10);
    key.encode_to(&mut out);
    out
}

/// The key of something at a seq: rising keys are rising seqs.
pub(super) fn at_seq(prefix: &[u8], seq: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(prefix.len() + 8);
    put_at_seq(&mut out, prefix, seq);
    out
}

/// [`at_seq`] in place of what was in `out`.
pub(super) fn put_at_seq(out: &mut Vec<u8>, prefix: &[u8], seq: u64) {
    out.clear();
    out.extend_from_slice(prefix);
    out.extend_from_slice(&seq.to_be_bytes());
}

/// The seq at the end of a key.
pub(super) fn seq_of(key: &[u8]) -> Result<u64, StoreError> {
    key.last_chunk::<8>()
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or_else(|| damaged("a key is too short for its seq"))
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventRow {
    pub(super) is_message: bool,
    pub(super) fingerprint: Fingerprint,
    pub(super) event: Bytes,
}

/// An event's row, in place of what was in `out`.
pub(super) fn put_event(out: &mut Vec<u8>, event: &LoggedEvent) {
    out.clear();
    out.push(ROW_VERSION);
    out.push(if event.is_message() { IS_MESSAGE } else { 0 });
    out.extend_from_slice(&event.fingerprint().0);
    out.extend_from_slice(event.event());
}

pub(super) fn decode_event(row: &[u8]) -> Result<EventRow, StoreError> {
    let rest = versioned(row, "event")?;
    let split = rest.split_first().and_then(|(bits, rest)| {
        rest.split_first_chunk::<16>()
            .map(|(print, event)| (*bits, *print, event))
    });
    let (bits, print, event) = split.ok_or_else(|| damaged("an event row is too short"))?;
    Ok(EventRow {
        is_message: bits & IS_MESSAGE != 0,
        fingerprint: Fingerprint(print),
        event: Bytes::copy_from_slice(event),
    })
}

/// Whether an event row creates a message, without copying it.
pub(super) fn is_message(row: &[u8]) -> Result<bool, StoreError> {
    let bits = versioned(row, "event")?.first();
    bits.map(|bits| bits & IS_MESSAGE != 0)
        .ok_or_else(|| damaged("an event row is too short"))
}

/// A row that holds a seq: the event of a client id, the recall of a message.
pub(super) fn encode_seq(seq: u64) -> [u8; 9] {
    let mut out = [ROW_VERSION; 9];
    out[1..].copy_from_slice(&seq.to_be_bytes());
    out
}

pub(super) fn decode_seq(row: &[u8]) -> Result<u64, StoreError> {
    let rest = versioned(row, "seq")?;
    let bytes = <[u8; 8]>::try_from(rest).map_err(|_| damaged("a seq row has a wrong length"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Where a message id went, in place of what was in `out`.
pub(super) fn put_place(out: &mut Vec<u8>, prefix: &[u8], seq: u64) {
    out.clear();
    out.push(ROW_VERSION);
    out.extend_from_slice(prefix);
    out.extend_from_slice(&seq.to_be_bytes());
}

pub(super) fn decode_place(row: &[u8]) -> Result<(ConversationKey, u64), StoreError> {
    let mut rest = versioned(row, "place")?;
    let mut id = || {
        let (length, tail) = rest.split_first()?;
        let (id, tail) = tail.split_at_checked(usize::from(*length))?;
        rest = tail;
        std::str::from_utf8(id).ok().map(str::to_owned)
    };
    let key = id()
        .zip(id())
        .map(|(tenant, conversation)| ConversationKey::new(tenant, conversation));
    let seq = <[u8; 8]>::try_from(rest).ok().map(u64::from_be_bytes);
    key.zip(seq)
        .ok_or_else(|| damaged("a place row does not decode"))
}

/// The key of a message id: rises with time.
pub(super) fn message_id(id: Ulid) -> [u8; 16] {
    id.to_bytes()
}

pub(super) fn encode_cursor(cursor: &LogState) -> Vec<u8> {
    let mut out = Vec::with_capacity(41);
    out.push(ROW_VERSION);
    for number in [
        cursor.next_offset,
        cursor.epoch.number,
        cursor.epoch.nonce,
        cursor.n,
    ] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&cursor.time_ms.to_be_bytes());
    out
}

pub(super) fn decode_cursor(row: &[u8]) -> Result<LogState, StoreError> {
    let rest = versioned(row, "cursor")?;
    let (words, []) = rest.as_chunks::<8>() else {
        return Err(damaged("a cursor row has a wrong length"));
    };
    let [next_offset, number, nonce, n, time_ms] = words else {
        return Err(damaged("a cursor row has a wrong length"));
    };
    Ok(LogState {
        next_offset: u64::from_be_bytes(*next_offset),
        epoch: Epoch {
            number: u64::from_be_bytes(*number),
            nonce: u64::from_be_bytes(*nonce),
        },
        n: u64::from_be_bytes(*n),
        time_ms: i64::from_be_bytes(*time_ms),
    })
}

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}

fn versioned<'a>(row: &'a [u8], kind: &str) -> Result<&'a [u8], StoreError> {
    match row.split_first() {
        Some((&ROW_VERSION, rest)) => Ok(rest),
        Some((version, _)) => Err(StoreError::Damaged(format!(
            "a {kind} row has version {version}, known is 1"
        ))),
        None => Err(StoreError::Damaged(format!("a {kind} row is empty"))),
    }
}

/// Reads any bytes as each kind of row, and panics if one that is taken is not written again as it was. For the tests of decoders.
#[doc(hidden)]
pub fn judge_rows(row: &[u8]) {
    if let Ok(cursor) = decode_cursor(row) {
        assert_eq!(encode_cursor(&cursor), row);
    }
    if let Ok(seq) = decode_seq(row) {
        assert_eq!(encode_seq(seq), row);
    }
    if let Ok((key, seq)) = decode_place(row) {
        let mut again = Vec::new();
        put_place(&mut again, &prefix(&key), seq);
        assert_eq!(again, row);
    }
    if let Ok(head) = decode_head(row) {
        assert_eq!(decode_head(&encode_head(&head)), Ok(head));
    }
    match decode_event(row) {
        Ok(event) => assert_eq!(is_message(row), Ok(event.is_message)),
        Err(error) => assert!(matches!(error, StoreError::Damaged(_))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_come_back_as_they_were_written() {
        let cursor = LogState {
            next_offset: 7,
            epoch: Epoch {
                number: 3,
                nonce: u64::MAX,
            },
            n: 2,
            time_ms: -5,
        };
        assert_eq!(decode_cursor(&encode_cursor(&cursor)), Ok(cursor));
        assert_eq!(decode_seq(&encode_seq(9)), Ok(9));
        let key = ConversationKey::new("default", "消息");
        let mut row = Vec::new();
        put_place(&mut row, &prefix(&key), 4);
        assert_eq!(decode_place(&row), Ok((key, 4)));
    }

    #[test]
    fn rows_of_another_version_or_length_are_damage() {
        let cursor = encode_cursor(&LogState::default());
        let mut other = cursor.clone();
        other[0] = 2;
        for row in [&other[..], &cursor[..40], &[], &[1], &[1, 2, 3]] {
            assert!(matches!(decode_cursor(row), Err(StoreError::Damaged(_))));
            assert!(matches!(decode_seq(row), Err(StoreError::Damaged(_))));
            assert!(matches!(decode_place(row), Err(StoreError::Damaged(_))));
        }
        assert!(matches!(
            decode_event(&[1; 17]),
            Err(StoreError::Damaged(_))
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_row_that_is_written_again_as_it_was_or_damage(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            is_versioned: bool,
        ) {
            let row = if is_versioned { [&[ROW_VERSION], &bytes[..]].concat() } else { bytes };
            judge_rows(&row);
        }
    }

    #[test]
    fn keys_of_a_conversation_lie_together_by_rising_seq() {
        let one = prefix(&ConversationKey::new("default", "a"));
        let other = prefix(&ConversationKey::new("default", "ab"));
        let mut keys = vec![at_seq(&other, 1), at_seq(&one, 256), at_seq(&one, 2)];
        keys.sort();
        assert_eq!(
            keys,
            [at_seq(&one, 2), at_seq(&one, 256), at_seq(&other, 1)]
        );
        assert_eq!(seq_of(&keys[1]), Ok(256));
    }
}
