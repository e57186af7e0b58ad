//! Everybody who tells of an event claims what stands at its place. All claims must agree.

use super::Checker;
use super::slot_table::{NO_ORDINAL, NO_TIME, Slot, Source};
use crate::interner::{Interner, NO_TEXT, TextId};
use crate::record::Kind;
use crate::violation::{Teller, ViolationKind};

/// A text of a claim: as it was told, or known by number.
#[derive(Clone, Copy)]
pub(super) enum Said<'a> {
    Text(&'a str),
    Known(TextId),
}

impl Said<'_> {
    fn intern(self, interner: &mut Interner) -> TextId {
        match self {
            Self::Text(text) => interner.intern(text),
            Self::Known(id) => id,
        }
    }

    /// Cheaper than interning, and nearly every claim repeats what is known.
    fn is(self, id: TextId, interner: &Interner) -> bool {
        match self {
            Self::Text(text) => id != NO_TEXT && interner.get(id) == text,
            Self::Known(known) => known == id,
        }
    }

    fn show<'a>(&'a self, interner: &'a Interner) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Known(id) => interner.get(*id),
        }
    }
}

/// What somebody says stands at one seq of a conversation.
pub(super) struct Claim<'a> {
    pub(super) source: Source,
    pub(super) message_id: &'a str,
    pub(super) sender: Said<'a>,
    pub(super) client_id: Option<Said<'a>>,
    pub(super) body: Option<Said<'a>>,
    pub(super) kind: Option<Kind>,
    pub(super) ordinal: Option<u64>,
    pub(super) time_ms: Option<i64>,
}

/// Where a message id stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    conversation: u32,
    /// 0 for nowhere.
    seq: u64,
}

/// What is known of one command: a client id of one sender in one conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Command {
    /// Where the store, or a delivery, has it; 0 if neither told.
    pub(super) stored_seq: u64,
    /// Where its receipts have it; 0 before the first.
    pub(super) acked_seq: u64,
    pub(super) acked_message: TextId,
    pub(super) acked_body: TextId,
    /// A receipt said that it was new.
    pub(super) was_new: bool,
}

impl Command {
    pub(super) const UNKNOWN: Self = Self {
        stored_seq: 0,
        acked_seq: 0,
        acked_message: NO_TEXT,
        acked_body: NO_TEXT,
        was_new: false,
    };
}

impl Checker {
    /// Compares a claim with what is known of its place, and keeps what it adds.
    pub(super) fn claim(
        &mut self,
        conversation: u32,
        seq: u64,
        claim: &Claim<'_>,
        teller: Teller<'_>,
    ) {
        let slot = *self.conversations[conversation as usize].slots.at(seq);
        let is_first = slot.is_empty();
        if !is_first && !Said::Text(claim.message_id).is(slot.message, &self.texts.message_ids) {
            let known = self.texts.message_ids.get(slot.message);
            let detail = format!(
                "{} was {known}, is now said to be {}",
                told_by(&slot),
                claim.message_id
            );
            let kind = match claim.source {
                Source::Ack if !slot.is_only_acked() => ViolationKind::AckMismatch,
                Source::Store | Source::Delivery if slot.is_only_acked() => {
                    ViolationKind::AckMismatch
                }
                _ => ViolationKind::OrderDiffers,
            };
            self.report(kind, conversation, seq, teller, detail);
            return;
        }
        let mut updated = slot;
        if is_first {
            updated.message = self.texts.message_ids.intern(claim.message_id);
            updated.sender = claim.sender.intern(&mut self.texts.names);
        } else if !claim.sender.is(slot.sender, &self.texts.names) {
            let names = &self.texts.names;
            let detail = format!(
                "the sender was {}, is now said to be {}",
                names.get(slot.sender),
                claim.sender.show(names)
            );
            self.report(
                ViolationKind::SenderForged,
                conversation,
                seq,
                teller,
                detail,
            );
        }
        self.agree_on_content(conversation, seq, claim, teller, &mut updated);
        self.agree_on_header(conversation, seq, claim, teller, &mut updated);
        updated.tell(claim.source);
        let stored_twice = claim.source != Source::Ack
            && updated.client_id != NO_TEXT
            && !std::mem::replace(&mut updated.indexed, true)
            && self.stored_twice(conversation, seq, &updated, teller);
        *self.conversations[conversation as usize].slots.at(seq) = updated;
        if is_first && !stored_twice {
            self.settle_message_id(conversation, seq, updated.message, teller);
        }
    }

    fn agree_on_content(
        &mut self,
        conversation: u32,
        seq: u64,
        claim: &Claim<'_>,
        teller: Teller<'_>,
        slot: &mut Slot,
    ) {
        let Some(body) = claim.body else { return };
        if slot.body == NO_TEXT {
            slot.body = body.intern(&mut self.texts.bodies);
        } else if !body.is(slot.body, &self.texts.bodies) {
            let bodies = &self.texts.bodies;
            let detail = format!(
                "{} had content {}, is now said to have {}",
                told_by(slot),
                bodies.get(slot.body),
                body.show(bodies)
            );
            let against_ack = claim.source == Source::Ack || slot.is_only_acked();
            let kind = if against_ack {
                ViolationKind::ContentChanged
            } else {
                ViolationKind::BodyDiffers
            };
            self.report(kind, conversation, seq, teller, detail);
        }
    }

    fn agree_on_header(
        &mut self,
        conversation: u32,
        seq: u64,
        claim: &Claim<'_>,
        teller: Teller<'_>,
        slot: &mut Slot,
    ) {
        if let Some(client_id) = claim.client_id {
            if slot.client_id == NO_TEXT {
                slot.client_id = client_id.intern(&mut self.texts.client_ids);
            } else if !client_id.is(slot.client_id, &self.texts.client_ids) {
                let ids = &self.texts.client_ids;
                let detail = format!(
                    "client id {} or {}",
                    ids.get(slot.client_id),
                    client_id.show(ids)
                );
                let against_ack = claim.source == Source::Ack || slot.is_only_acked();
                let kind = if against_ack {
                    ViolationKind::AckMismatch
                } else {
                    ViolationKind::HeaderDiffers
                };
                self.report(kind, conversation, seq, teller, detail);
            }
        }
        let mut differs = None;
        if let Some(kind) = claim.kind {
            let known = *slot.kind.get_or_insert(kind);
            if known != kind {
                differs = Some(format!("kind {known:?} or {kind:?}"));
            }
        }
        if let Some(ordinal) = claim.ordinal {
            if slot.ordinal == NO_ORDINAL {
                slot.ordinal = ordinal;
            } else if slot.ordinal != ordinal {
                differs = Some(format!("ordinal {} or {ordinal}", slot.ordinal));
            }
        }
        if let Some(time_ms) = claim.time_ms {
            if slot.time_ms == NO_TIME {
                slot.time_ms = time_ms;
            } else if slot.time_ms != time_ms {
                differs = Some(format!("time {} ms or {time_ms} ms", slot.time_ms));
            }
        }
        if let Some(detail) = differs {
            self.report(
                ViolationKind::HeaderDiffers,
                conversation,
                seq,
                teller,
                detail,
            );
        }
    }

    /// Notes where a command is stored; true if it stands elsewhere as well.
    fn stored_twice(
        &mut self,
        conversation: u32,
        seq: u64,
        slot: &Slot,
        teller: Teller<'_>,
    ) -> bool {
        let key = (conversation, slot.sender, slot.client_id);
        let command = self.commands.entry(key).or_insert(Command::UNKNOWN);
        let other = std::mem::replace(&mut command.stored_seq, seq);
        // The promise holds as long as the conversation keeps the event.
        if other == 0 || other.min(seq) < self.conversations[conversation as usize].floor {
            return false;
        }
        let detail = format!(
            "client id {} of {} stands at seq {other} and at seq {seq}",
            self.texts.client_ids.get(slot.client_id),
            self.texts.names.get(slot.sender)
        );
        self.report(
            ViolationKind::StoredTwice,
            conversation,
            seq,
            teller,
            detail,
        );
        true
    }

    /// Notes where a message id stands; it may stand nowhere else.
    fn settle_message_id(
        &mut self,
        conversation: u32,
        seq: u64,
        message: TextId,
        teller: Teller<'_>,
    ) {
        let at = message as usize;
        if self.places.len() <= at {
            self.places.resize(
                at + 1,
                Place {
                    conversation: 0,
                    seq: 0,
                },
            );
        }
        let place = self.places[at];
        if place.seq == 0 {
            self.places[at] = Place { conversation, seq };
            return;
        }
        let other = &self.conversations[place.conversation as usize];
        let (tenant, name) = other.label(&self.texts);
        let kind = if other.tenant == self.conversations[conversation as usize].tenant {
            ViolationKind::MessageIdReused
        } else {
            ViolationKind::TenantMixed
        };
        let id = self.texts.message_ids.get(message);
        let detail = format!(
            "message {id} stands also in {tenant}/{name} at seq {}",
            place.seq
        );
        self.report(kind, conversation, seq, teller, detail);
    }
}

fn told_by(slot: &Slot) -> &'static str {
    if slot.was_told_by(Source::Store) {
        "what the store holds"
    } else if slot.was_told_by(Source::Delivery) {
        "what was delivered"
    } else {
        "what was acked"
    }
}
