//! A user's row of a conversation, as both databases answer it.

use bytes::Bytes;
use sqlx::FromRow;

use super::row_codec::{from_db, history_from_db, role_from_db, summary};
use crate::{
    application::ports::StoreError,
    domain::inbox::{Farewell, InboxRow, ReadPosition, Settings},
};

/// What is in columns of its own; databases have lists each in their way.
#[derive(FromRow)]
pub(super) struct InboxColumns {
    conversation: String,
    class: i64,
    title: String,
    owner: String,
    history: i64,
    created_ms: i64,
    as_of: i64,
    disbanded: bool,
    member_count: i64,
    user_low: String,
    user_high: String,
    role: i64,
    left_seq: i64,
    left_ordinal: i64,
    left_ms: i64,
    left_title: String,
    left_owner: String,
    left_member_count: i64,
    left_message: Option<Vec<u8>>,
    read_seq: i64,
    read_ordinal: i64,
    mute_until_ms: i64,
    pinned: bool,
    hidden_at_seq: i64,
}

impl InboxColumns {
    /// With the seqs of what mentions him and he has not read.
    pub(super) fn into_domain(self, mentions: Vec<u64>) -> Result<InboxRow, StoreError> {
        let left = self.left_seq > 0;
        let (title, owner, member_count) = match left {
            true => (self.left_title, self.left_owner, self.left_member_count),
            false => (self.title, self.owner, self.member_count),
        };
        Ok(InboxRow {
            summary: summary(
                self.class,
                title,
                owner,
                member_count,
                self.created_ms,
                self.user_low,
                self.user_high,
            )?,
            conversation: self.conversation.into(),
            history: history_from_db(self.history)?,
            as_of: from_db(self.as_of),
            disbanded: self.disbanded && !left,
            role: role_from_db(self.role)?,
            farewell: left.then(|| Farewell {
                seq: from_db(self.left_seq),
                ordinal: from_db(self.left_ordinal),
                time_ms: self.left_ms,
                last_message: self.left_message.map(Bytes::from),
            }),
            read: ReadPosition {
                seq: from_db(self.read_seq),
                ordinal: from_db(self.read_ordinal),
            },
            settings: Settings {
                mute_until_ms: self.mute_until_ms,
                pinned: self.pinned,
                hidden_at_seq: from_db(self.hidden_at_seq),
            },
            mentions,
        })
    }
}
