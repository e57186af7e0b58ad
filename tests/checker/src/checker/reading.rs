//! What reaches the readers: events and the answers to syncs.

use super::Checker;
use super::claims::{Claim, Said};
use super::client_state::SyncFault;
use super::slot_table::Source;
use crate::interner::TextId;
use crate::record::{Delivered, Kind, Record, SyncAnswer, Via};
use crate::violation::{Teller, ViolationKind};

impl Checker {
    pub(super) fn delivered(
        &mut self,
        client: u32,
        tenant: TextId,
        event: &Delivered,
        record: &Record,
    ) {
        self.counts.deliveries += 1;
        let teller = Teller::Client(record);
        let conversation = self.conversation(tenant, &event.conversation);
        if let Some(other) = event
            .tenant
            .as_ref()
            .filter(|other| **other != record.client.tenant)
        {
            let detail = format!(
                "an event of tenant {other} reached a client of tenant {}",
                record.client.tenant
            );
            self.report(
                ViolationKind::TenantMixed,
                conversation,
                event.seq,
                teller,
                detail,
            );
            return;
        }
        if event.seq == 0 {
            self.report(
                ViolationKind::BrokenHistory,
                conversation,
                0,
                teller,
                "an event was delivered with seq 0",
            );
            return;
        }
        let kind = event.kind.or(event.recalled_seq.map(|_| Kind::Recall));
        let claim = Claim {
            source: Source::Delivery,
            message_id: &event.message_id,
            sender: Said::Text(&event.sender),
            client_id: event.client_id.as_deref().map(Said::Text),
            body: event.body_hash.as_deref().map(Said::Text),
            kind,
            ordinal: event.ordinal,
            time_ms: event.server_time_ms,
        };
        self.claim(conversation, event.seq, &claim, teller);
        self.recalled(conversation, event.seq, event.recalled_seq);
        if matches!(kind, None | Some(Kind::Message)) {
            if event.body_hash.is_none() {
                self.conversations[conversation as usize]
                    .withheld
                    .entry(event.seq)
                    .or_insert(Some(client));
            } else if event.via == Via::Sync {
                self.state(client).shown(conversation, event.seq);
            }
        }
        if !self.state(client).got(conversation, event.seq, event.via) && event.via != Via::OwnAck {
            self.counts.repeats += 1;
        }
    }

    pub(super) fn synced(
        &mut self,
        client: u32,
        tenant: TextId,
        answer: &SyncAnswer,
        record: &Record,
    ) {
        self.counts.syncs += 1;
        let conversation = self.conversation(tenant, &answer.conversation);
        self.named_head(conversation, answer.head);
        let shown = self.state(client).settle(conversation);
        self.conversations[conversation as usize].showed(&shown, answer.head, client);
        let Some(fault) = self.state(client).synced(conversation, answer) else {
            return;
        };
        let SyncAnswer { from, to, head, .. } = answer;
        let (kind, seq, detail) = match fault {
            SyncFault::Backwards => (
                ViolationKind::BrokenHistory,
                0,
                format!("a sync after {from} ended at {to}"),
            ),
            SyncFault::Skipped { seq } => (
                ViolationKind::SyncSkipped,
                seq,
                format!("a sync of {from}+1..={to} does not hold seq {seq}"),
            ),
            SyncFault::Count { expected, got } => (
                ViolationKind::SyncSkipped,
                0,
                format!("a sync of {from}+1..={to} holds {got} events instead of {expected}"),
            ),
            SyncFault::HeadBelow { seq } => (
                ViolationKind::HeadWentBack,
                seq,
                format!("a sync names head {head}, but the client has seq {seq} from the store"),
            ),
        };
        self.report(kind, conversation, seq, Teller::Client(record), detail);
    }
}
