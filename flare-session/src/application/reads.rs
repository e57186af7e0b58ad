//! Read positions: only forward, never beyond the head.

use std::sync::Arc;

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;

use super::{
    access::Access,
    heads::Heads,
    ports::{Audience, InboxStore, Signal, SignalKind, StorageReader},
    positions::Positions,
    signals::Signals,
};
use crate::domain::{
    caller::{Actor, Caller, UserKey},
    head::Head,
    inbox::{Farewell, InboxRow, ReadPosition, effective_read, unread},
    role::Class,
    rule::Rule,
};

/// Moves read positions.
pub struct Reads {
    pub(crate) access: Arc<Access>,
    pub(crate) inboxes: Arc<dyn InboxStore>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) reader: Arc<dyn StorageReader>,
    pub(crate) positions: Arc<Positions>,
    pub(crate) signals: Arc<Signals>,
}

/// Where a position stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The last event read.
    pub read_seq: u64,
    /// Messages that wait above it.
    pub unread: u64,
}

impl Reads {
    /// The caller has read up to `seq`. A seq below his position leaves it where it is; one beyond the newest event that he may see is
    /// POSITION_BEYOND_HEAD.
    pub async fn mark(
        &self,
        caller: &Caller,
        key: &ConversationKey,
        seq: u64,
    ) -> Result<Marked, Refusal> {
        let Actor::User { id: user, device } = &caller.actor else {
            return Err(Rule::NoUser.into());
        };
        if seq == 0 {
            return Err(Refusal::invalid("seq", "seq 0: seqs begin at 1"));
        }
        let membership = self.access.member_or_former(key, user).await?;
        let head = self.heads.reaching(key, seq).await?;
        let newest = match membership.visible_to {
            0 => head.seq,
            left => left,
        };
        if seq > newest {
            return Err(beyond(seq, newest));
        }
        let whose = UserKey {
            tenant: Arc::clone(&key.tenant),
            user: Arc::clone(user),
        };
        // Before the row: what is written in between shows in that.
        let waiting = self.positions.shown_in(key, user);
        let rows = self
            .inboxes
            .rows(&whose, std::slice::from_ref(&key.conversation))
            .await?;
        let not_found = || Rule::NotFound {
            conversation: Arc::clone(&key.conversation),
        };
        let row = rows.into_iter().next().ok_or_else(not_found)?;
        let stands = effective_read(&row, waiting, &head, user);
        let now = if seq > stands.seq {
            let position = ReadPosition {
                seq,
                ordinal: self.ordinal(&whose, key, seq, &head, &row).await?,
            };
            self.positions.read(key, user, position).await?;
            self.tell(key, user, device, seq, row.summary.class);
            position
        } else {
            if self.positions.is_at_once() && stands > row.read {
                // By his last message, which may be the last no more when he asks next.
                self.positions.read(key, user, stands).await?;
            }
            stands
        };
        let ordinal = row.farewell.as_ref().map_or(head.ordinal, |it| it.ordinal);
        let recalled =
            recalled_above(&*self.inboxes, key, &head, row.farewell.as_ref(), now.seq).await?;
        Ok(Marked {
            read_seq: now.seq,
            unread: unread(ordinal, now, recalled),
        })
    }

    async fn ordinal(
        &self,
        user: &UserKey,
        key: &ConversationKey,
        seq: u64,
        head: &Head,
        row: &InboxRow,
    ) -> Result<u64, Refusal> {
        if seq == head.seq {
            return Ok(head.ordinal);
        }
        if let Some(farewell) = row.farewell.as_ref().filter(|it| it.seq == seq) {
            return Ok(farewell.ordinal);
        }
        if let Some(ordinal) = self.heads.ordinal_at(key, seq) {
            return Ok(ordinal);
        }
        self.reader
            .ordinal_at(user, &key.conversation, seq)
            .await?
            .ok_or_else(|| beyond(seq, seq - 1))
    }

    fn tell(
        &self,
        key: &ConversationKey,
        user: &Arc<str>,
        device: &Arc<str>,
        seq: u64,
        class: Class,
    ) {
        let signal = |audience| Signal {
            key: key.clone(),
            user: Arc::clone(user),
            kind: SignalKind::Read(seq),
            audience,
        };
        self.signals.at_once(signal(Audience::OwnDevices {
            except: Arc::clone(device),
        }));
        match class {
            Class::Direct => self.signals.at_once(signal(Audience::Participants)),
            Class::Group => self.signals.read_in_group(key, user, seq),
            // On demand.
            Class::Large => {}
        }
    }
}

/// How many messages above `after` were taken back, as far as the user may see: of one who left, by events up to his leaving. From the
/// head, or from the store where the head does not know.
pub(crate) async fn recalled_above(
    inboxes: &dyn InboxStore,
    key: &ConversationKey,
    head: &Head,
    farewell: Option<&Farewell>,
    after: u64,
) -> Result<u64, Refusal> {
    let known = match farewell {
        None => head.recalled_above(after),
        Some(farewell) if after >= farewell.seq => Some(0),
        Some(_) => None,
    };
    match known {
        Some(recalled) => Ok(recalled),
        None => {
            let last = farewell.map_or(head.seq, |it| it.seq);
            Ok(inboxes.recalled_between(key, after, last, last).await?)
        }
    }
}

fn beyond(seq: u64, newest: u64) -> Refusal {
    Refusal::new(
        ErrorCode::PositionBeyondHead,
        format!("seq {seq} is beyond {newest}, the newest event to be read"),
    )
    .with_field("seq")
}
