//! Heads as stores keep them: a version byte, then a protobuf message.

use flare_proto::message::ConversationClass;
use prost::Message;

use crate::{head::Head, message_store::StoreError};

/// The version that rows are written with, and the only one there is.
const ROW_VERSION: u8 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct HeadRow {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(uint64, tag = "2")]
    ordinal: u64,
    #[prost(int64, tag = "3")]
    time_ms: i64,
    #[prost(uint64, tag = "4")]
    member_seq: u64,
    #[prost(int32, tag = "5")]
    class: i32,
    #[prost(string, repeated, tag = "6")]
    participants: Vec<String>,
    #[prost(uint64, repeated, tag = "7")]
    recalled: Vec<u64>,
    #[prost(uint64, tag = "8")]
    recalled_complete_from: u64,
    #[prost(uint64, tag = "9")]
    mention_all_seq: u64,
    #[prost(uint64, optional, tag = "10")]
    last_message: Option<u64>,
}

pub(crate) fn encode_head(head: &Head) -> Vec<u8> {
    let row = HeadRow {
        seq: head.seq,
        ordinal: head.ordinal,
        time_ms: head.time_ms,
        member_seq: head.member_seq,
        class: head.class.into(),
        participants: head.participants.clone(),
        recalled: head.recalled.clone(),
        recalled_complete_from: head.recalled_complete_from,
        mention_all_seq: head.mention_all_seq,
        last_message: head.last_message,
    };
    let mut out = Vec::with_capacity(1 + row.encoded_len());
    out.push(ROW_VERSION);
    row.encode_raw(&mut out);
    out
}

pub(crate) fn decode_head(row: &[u8]) -> Result<Head, StoreError> {
    let row = match row.split_first() {
        Some((&ROW_VERSION, rest)) => HeadRow::decode(rest)
            .map_err(|error| damaged(format!("a head row does not decode: {error}")))?,
        Some((version, _)) => {
            return Err(damaged(format!(
                "a head row has version {version}, known is {ROW_VERSION}"
            )));
        }
        None => return Err(damaged("a head row is empty".to_owned())),
    };
    Ok(Head {
        seq: row.seq,
        ordinal: row.ordinal,
        time_ms: row.time_ms,
        member_seq: row.member_seq,
        class: ConversationClass::try_from(row.class).unwrap_or_default(),
        participants: row.participants,
        recalled: row.recalled,
        recalled_complete_from: row.recalled_complete_from,
        mention_all_seq: row.mention_all_seq,
        last_message: row.last_message,
    })
}

fn damaged(what: String) -> StoreError {
    StoreError::Damaged(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_as_they_were_written() {
        let head = Head {
            seq: 9,
            ordinal: 8,
            time_ms: 7,
            member_seq: 6,
            class: ConversationClass::Direct,
            participants: vec!["alice".into(), "bob".into()],
            recalled: vec![1, 3],
            recalled_complete_from: 0,
            mention_all_seq: 2,
            last_message: Some(9),
        };
        assert_eq!(decode_head(&encode_head(&head)), Ok(head));
    }

    #[test]
    fn rows_of_another_version_are_damage() {
        for row in [&[2][..], &[], &[1, 0xff]] {
            assert!(matches!(decode_head(row), Err(StoreError::Damaged(_))));
        }
    }
}
