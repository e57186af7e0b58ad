//! What lies in files of one crate alone: rows of the message store and of the session's outbox, and how far a group has read a topic.

use flare_proto::message::{
    ConversationRenamed, EventBody, EventMember, MembersAdded, Role, event_body::Body,
};
use prost::Message;

use crate::corpus;

/// What begins every row.
const VERSION: u8 = 1;

/// Judges a row of the embedded message store, of whatever kind.
pub fn store(bytes: &[u8]) {
    flare_storage_model::embedded_message_store::judge_rows(bytes);
}

/// Judges a change in the session's outbox.
pub fn changes(bytes: &[u8]) {
    flare_session::infrastructure::judge_change_row(bytes);
}

/// Judges a cursor's file.
pub fn bus_cursors(bytes: &[u8]) {
    flare_server_core::event_bus::judge_cursor(bytes);
}

/// A row of each kind: a cursor, a seq, a place, an event; and a head, by its fields on the wire.
pub fn store_corpus() -> Vec<Vec<u8>> {
    let row = |parts: &[&[u8]]| [&[VERSION], &parts.concat()[..]].concat();
    let seq = 7_u64.to_be_bytes();
    let event = corpus::event(7, corpus::text("hello")).encode_to_vec();
    let head: &[u8] = &[
        8, 7, 16, 7, 24, 5, 32, 1, 40, 1, 50, 3, b'b', b'o', b'b', 58, 2, 1, 3, 80, 7,
    ];
    vec![
        row(&[&[0, 0, 0, 0, 0, 0, 0, 9].repeat(5)]),
        row(&[&seq]),
        row(&[&[7], b"default", &[4], b"team", &seq]),
        row(&[&[1], &[7; 16], &event]),
        row(&[head]),
    ]
}

/// A change of the title and one of the members.
pub fn changes_corpus() -> Vec<Vec<u8>> {
    let renamed = Body::ConversationRenamed(ConversationRenamed {
        title: "组".to_owned(),
    });
    let added = Body::MembersAdded(MembersAdded {
        members: vec![EventMember {
            user_id: "bob".to_owned(),
            role: Role::Member.into(),
        }],
        ..MembersAdded::default()
    });
    let row = |body| {
        let body = EventBody { body: Some(body) };
        [&[VERSION], &body.encode_to_vec()[..]].concat()
    };
    vec![row(renamed), row(added)]
}

/// The first position and a late one.
pub fn bus_cursors_corpus() -> Vec<Vec<u8>> {
    let line = |position: u64| {
        let body = format!("flare-cursor 1 {position} ");
        let crc = crc32c::crc32c(body.as_bytes());
        format!("{body}{crc:08x}\n").into_bytes()
    };
    vec![line(0), line(u64::MAX)]
}
