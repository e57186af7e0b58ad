//! The final review of what is stored: is it whole, in order, and what its senders meant?

use hashbrown::HashMap;

use super::conversation::Conversation;
use super::membership::Spans;
use super::slot_table::{NO_ORDINAL, NO_TIME, Slot, Source};
use super::{Checker, Texts};
use crate::interner::{NO_TEXT, TextId};
use crate::record::Kind;
use crate::violation::ViolationKind;

/// Everybody's spans in one conversation; `None` if its members are not known.
pub(super) type Members = Option<HashMap<TextId, Spans>>;

impl Checker {
    /// Seqs without a hole, nothing acked or delivered that is not stored, ordinals and times that rise.
    pub(super) fn review_store(&mut self) {
        if self.store_is_known {
            for at in 0..self.conversations.len() {
                self.review_seqs(at);
            }
        }
        for at in 0..self.conversations.len() {
            self.review_ordinals_and_times(at);
        }
    }

    fn review_seqs(&mut self, at: usize) {
        let Self {
            conversations,
            texts,
            log,
            ..
        } = self;
        let conversation = &conversations[at];
        let (tenant, name) = conversation.label(texts);
        let mut next = conversation.floor;
        let head = conversation.stored_head;
        for (seq, slot) in conversation.slots.range(conversation.floor, u64::MAX) {
            let (kind, detail) = if slot.was_told_by(Source::Store) {
                if seq == next {
                    next = seq.saturating_add(1);
                    continue;
                }
                (
                    ViolationKind::SeqHole,
                    format!(
                        "seqs {next}..={} are missing below stored seq {seq}",
                        seq - 1
                    ),
                )
            } else if slot.was_told_by(Source::Ack) {
                (
                    ViolationKind::AckLost,
                    format!(
                        "{} is not stored, the head is {head}",
                        describe(slot, texts)
                    ),
                )
            } else {
                (
                    ViolationKind::Phantom,
                    format!(
                        "{} was delivered but is not stored, the head is {head}",
                        describe(slot, texts)
                    ),
                )
            };
            // What is named as lost is not named as a hole as well.
            let first = if kind == ViolationKind::SeqHole {
                next
            } else {
                seq
            };
            next = if slot.was_told_by(Source::Store) || seq == next {
                seq.saturating_add(1)
            } else {
                next
            };
            log.report(
                kind,
                |violation| violation.at(tenant, name, first),
                format_args!("{detail}"),
            );
        }
        if conversation.named_head > head && conversation.slots.max_seq() <= head {
            log.report(
                ViolationKind::Phantom,
                |violation| violation.at(tenant, name, conversation.named_head),
                format_args!(
                    "the server named head {}, the store's is {head}",
                    conversation.named_head
                ),
            );
        }
    }

    fn review_ordinals_and_times(&mut self, at: usize) {
        let Self {
            conversations,
            texts,
            log,
            ..
        } = self;
        let conversation = &conversations[at];
        let (tenant, name) = conversation.label(texts);
        // Below the floor, and before a history begins, ordinals are not known.
        let mut counted = if conversation.floor <= 1 {
            Some((0, 0))
        } else {
            None
        };
        let mut timed: Option<(u64, i64)> = None;
        for (seq, slot) in conversation.slots.range(conversation.floor, u64::MAX) {
            if slot.ordinal != NO_ORDINAL {
                if let Some((before, ordinal)) = counted
                    && (slot.ordinal < ordinal || slot.ordinal - ordinal > seq - before)
                {
                    log.report(
                        ViolationKind::OrdinalBroken,
                        |violation| violation.at(tenant, name, seq),
                        format_args!(
                            "ordinal {} after ordinal {ordinal} at seq {before}",
                            slot.ordinal
                        ),
                    );
                }
                counted = Some((seq, slot.ordinal));
            }
            if slot.time_ms != NO_TIME {
                if let Some((before, time_ms)) =
                    timed.filter(|&(_, time_ms)| slot.time_ms < time_ms)
                {
                    log.report(
                        ViolationKind::TimeWentBack,
                        |violation| violation.at(tenant, name, seq),
                        format_args!("{} ms after {time_ms} ms at seq {before}", slot.time_ms),
                    );
                }
                timed = Some((seq, slot.time_ms));
            }
        }
    }

    /// Each event is what its sender meant, by a sender who was a member, and withheld if and only if it was recalled.
    pub(super) fn review_events(&mut self, members: &[Members]) {
        for (at, members) in members.iter().enumerate() {
            let conversation = &self.conversations[at];
            let mut found = Vec::new();
            for (seq, slot) in conversation.slots.iter() {
                if let Some((kind, detail)) = self.judge_meaning(at, slot) {
                    found.push((kind, seq, None, detail));
                }
                let is_by_user = matches!(slot.kind, Some(Kind::Message | Kind::Recall));
                if let Some(members) = members.as_ref().filter(|_| is_by_user)
                    && !members
                        .get(&slot.sender)
                        .is_some_and(|spans| spans.is_member_at(seq))
                {
                    let sender = self.texts.names.get(slot.sender);
                    found.push((
                        ViolationKind::SentByNonMember,
                        seq,
                        None,
                        format!("{sender} is no member at this seq"),
                    ));
                }
            }
            found.extend(withheld_or_shown(conversation));
            let (tenant, name) = conversation.label(&self.texts);
            for (kind, seq, client, detail) in found {
                let client = client.map(|client| &self.clients[client as usize].client);
                self.log.report(
                    kind,
                    |violation| {
                        let violation = violation.at(tenant, name, seq);
                        client.map_or(violation.clone(), |client| violation.seen_by(client))
                    },
                    format_args!("{detail}"),
                );
            }
        }
    }

    /// Compares an event with what was meant under its client id.
    fn judge_meaning(&self, at: usize, slot: &Slot) -> Option<(ViolationKind, String)> {
        if slot.client_id == NO_TEXT {
            return None;
        }
        let tenant = self.conversations[at].tenant;
        let all = || {
            self.intents
                .of(slot.client_id)
                .filter(move |meant| meant.tenant == tenant)
        };
        let own = || all().filter(|meant| meant.sender == slot.sender);
        let mut here = own()
            .filter(|meant| self.leads_to(meant.target, meant.sender, at as u32) != Some(false))
            .peekable();
        if here.peek().is_some() {
            let agrees = slot.body == NO_TEXT
                || !matches!(slot.kind, None | Some(Kind::Message))
                || here.any(|meant| meant.body == slot.body || meant.kind != Kind::Message);
            let is = self.texts.bodies.get(slot.body);
            return (!agrees).then(|| {
                (
                    ViolationKind::ContentChanged,
                    format!("{} holds content {is}", describe(slot, &self.texts)),
                )
            });
        }
        if own().any(|meant| meant.body == slot.body) {
            return Some((
                ViolationKind::Misrouted,
                format!("{} was sent elsewhere", describe(slot, &self.texts)),
            ));
        }
        if let Some(meant) =
            all().find(|meant| meant.body == slot.body && meant.sender != slot.sender)
        {
            let sender = self.texts.names.get(meant.sender);
            return Some((
                ViolationKind::SenderForged,
                format!("{} was sent by {sender}", describe(slot, &self.texts)),
            ));
        }
        let is_by_user = matches!(slot.kind, Some(Kind::Message | Kind::Recall));
        (self.all_senders_recorded && is_by_user).then(|| {
            (
                ViolationKind::NotIntended,
                format!("no history has {}", describe(slot, &self.texts)),
            )
        })
    }
}

/// Contents that were withheld though nobody recalled them, or shown though somebody did.
fn withheld_or_shown(
    conversation: &Conversation,
) -> impl Iterator<Item = (ViolationKind, u64, Option<u32>, String)> {
    let is_message = |seq| {
        conversation
            .slots
            .range(seq, seq)
            .all(|(_, slot)| matches!(slot.kind, None | Some(Kind::Message)))
    };
    let recalled = &conversation.recalled;
    let withheld = conversation.withheld.iter();
    let withheld = withheld
        .filter(move |(seq, _)| !recalled.contains_key(*seq) && is_message(**seq))
        .map(|(&seq, &client)| {
            let detail = "nobody recalled it".to_owned();
            (ViolationKind::Tombstone, seq, client, detail)
        });
    let shown = conversation.shown.iter().filter_map(|(&seq, shown)| {
        let by = recalled.get(&seq).filter(|by| **by <= shown.as_of)?;
        let detail = format!("seq {by} took it back, the sync names head {}", shown.as_of);
        Some((
            ViolationKind::RecalledShown,
            seq,
            Some(shown.client),
            detail,
        ))
    });
    withheld.chain(shown)
}

fn describe(slot: &Slot, texts: &Texts) -> String {
    format!(
        "message {} of {} (client id {})",
        texts.message_ids.get(slot.message),
        texts.names.get(slot.sender),
        texts.client_ids.get(slot.client_id)
    )
}
