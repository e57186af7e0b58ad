//! Intents and their answers.

use super::Checker;
use super::claims::{Claim, Command, Said};
use super::intents::{Meant, TargetId};
use super::membership::pair;
use super::send_order::OrderFault;
use super::slot_table::Source;
use crate::interner::{NO_TEXT, TextId};
use crate::record::{Acked, Intent, Kind, Record, Refused, Target, Via};
use crate::violation::{Teller, ViolationKind};

/// The refusal of a send only because an earlier one was refused: it holds back nothing by itself.
const RETRY_IN_ORDER: &str = "RETRY_IN_ORDER";
/// Says that the outcome is unknown: the command may have its place, and what was sent behind it too.
const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED";

impl Checker {
    pub(super) fn intent(&mut self, client: u32, tenant: TextId, intent: &Intent) {
        let names = &mut self.texts.names;
        let target = match &intent.target {
            Target::Conversation(name) => TargetId::Conversation(names.intern(name)),
            Target::User(user) => TargetId::User(names.intern(user)),
        };
        let sender = names.intern(&intent.sender);
        let body = self.texts.bodies.intern(&intent.body_hash);
        let client_id = self.texts.client_ids.intern(&intent.client_id);
        let meant = Meant {
            client,
            tenant,
            sender,
            target,
            body,
            kind: intent.kind,
        };
        let is_known = !self.intents.add(client_id, meant);
        if is_known {
            self.counts.retries += 1;
        } else {
            self.counts.intents += 1;
        }
        self.state(client).sends.sent(client_id, meant, is_known);
    }

    pub(super) fn resent(&mut self, client: u32, client_id: &str, record: &Record) {
        self.counts.retries += 1;
        let id = self.texts.client_ids.intern(client_id);
        match self.meant(client, id) {
            Some(meant) => self.state(client).sends.sent(id, meant, true),
            None => self.broken(
                record,
                format_args!("client id {client_id} was sent again but never intended"),
            ),
        }
    }

    /// What the client means by a client id: what is on its way, else what it meant last.
    fn meant(&self, client: u32, client_id: TextId) -> Option<Meant> {
        match self.clients[client as usize].sends.pending(client_id) {
            Some(pending) => Some(pending.meant),
            None => self
                .intents
                .of(client_id)
                .find(|meant| meant.client == client)
                .copied(),
        }
    }

    pub(super) fn acked(&mut self, client: u32, tenant: TextId, acked: &Acked, record: &Record) {
        self.counts.acks += 1;
        self.counts.duplicates += u64::from(acked.duplicate);
        let client_id = self.texts.client_ids.intern(&acked.client_id);
        let Some(meant) = self.meant(client, client_id) else {
            self.broken(
                record,
                format_args!("client id {} was acked but never intended", acked.client_id),
            );
            return;
        };
        if acked.seq == 0 {
            self.broken(
                record,
                format_args!("client id {} was acked with seq 0", acked.client_id),
            );
            return;
        }
        let conversation = self.conversation(tenant, &acked.conversation);
        self.check_route(conversation, &meant, acked, record);
        let body = self.acked_body(client, client_id, &meant, acked);
        let Some(body) =
            self.agree_on_receipt(conversation, client_id, &meant, body, acked, record)
        else {
            return;
        };
        let claim = Claim {
            source: Source::Ack,
            message_id: &acked.message_id,
            sender: Said::Known(meant.sender),
            client_id: Some(Said::Known(client_id)),
            // Only a message's content crosses the server as it was sent.
            body: (body != NO_TEXT && meant.kind == Kind::Message).then_some(Said::Known(body)),
            kind: Some(meant.kind),
            ordinal: None,
            time_ms: None,
        };
        self.claim(conversation, acked.seq, &claim, Teller::Client(record));
        if self.texts.names.get(meant.sender) == record.client.user {
            self.state(client).got(conversation, acked.seq, Via::OwnAck);
        }
        self.check_order(client, client_id, conversation, acked, meant.sender, record);
    }

    fn check_route(&mut self, conversation: u32, meant: &Meant, acked: &Acked, record: &Record) {
        if self.leads_to(meant.target, meant.sender, conversation) == Some(false) {
            let detail = format!("client id {} was sent elsewhere", acked.client_id);
            self.report(
                ViolationKind::Misrouted,
                conversation,
                acked.seq,
                Teller::Client(record),
                detail,
            );
        } else if let TargetId::User(user) = meant.target {
            self.direct(
                conversation,
                acked.seq,
                pair(meant.sender, user),
                Teller::Client(record),
            );
        }
    }

    /// Whether a target of `sender` is this conversation; `None` if that cannot be known.
    pub(super) fn leads_to(
        &self,
        target: TargetId,
        sender: TextId,
        conversation: u32,
    ) -> Option<bool> {
        let conversation = &self.conversations[conversation as usize];
        match target {
            TargetId::Conversation(name) => Some(name == conversation.name),
            TargetId::User(user) => conversation
                .membership
                .direct()
                .map(|users| users == pair(sender, user)),
        }
    }

    /// The content that a receipt is for; none if two are on their way and the receipt does not say.
    fn acked_body(
        &mut self,
        client: u32,
        client_id: TextId,
        meant: &Meant,
        acked: &Acked,
    ) -> TextId {
        if let Some(body) = &acked.body_hash {
            return self.texts.bodies.intern(body);
        }
        match self.clients[client as usize].sends.pending(client_id) {
            Some(pending) if pending.ambiguous => NO_TEXT,
            Some(_) => meant.body,
            None => {
                let mut bodies = self
                    .intents
                    .of(client_id)
                    .filter(|other| other.client == client)
                    .map(|other| other.body);
                if bodies.all(|body| body == meant.body) {
                    meant.body
                } else {
                    NO_TEXT
                }
            }
        }
    }

    /// Compares a receipt with the earlier ones of its command. The content that it stands for, if it agrees with them.
    fn agree_on_receipt(
        &mut self,
        conversation: u32,
        client_id: TextId,
        meant: &Meant,
        body: TextId,
        acked: &Acked,
        record: &Record,
    ) -> Option<TextId> {
        let message = self.texts.message_ids.intern(&acked.message_id);
        let floor = self.conversations[conversation as usize].floor;
        let command = self
            .commands
            .entry((conversation, meant.sender, client_id))
            .or_insert(Command::UNKNOWN);
        let known = *command;
        let is_first = known.acked_seq == 0 || known.acked_seq < floor;
        if is_first {
            *command = Command {
                acked_seq: acked.seq,
                acked_message: message,
                acked_body: body,
                was_new: !acked.duplicate,
                ..known
            };
            return Some(body);
        }
        command.was_new |= !acked.duplicate;
        if command.acked_body == NO_TEXT {
            command.acked_body = body;
        }
        let teller = Teller::Client(record);
        let id = &acked.client_id;
        if known.acked_seq != acked.seq || known.acked_message != message {
            let first = self.texts.message_ids.get(known.acked_message);
            let detail = format!(
                "client id {id} was acked as seq {} message {first}, then as seq {} message {}",
                known.acked_seq, acked.seq, acked.message_id
            );
            self.report(
                ViolationKind::ReceiptChanged,
                conversation,
                acked.seq,
                teller,
                detail,
            );
            return None;
        }
        if body != NO_TEXT && known.acked_body != NO_TEXT && body != known.acked_body {
            let bodies = &self.texts.bodies;
            let detail = format!(
                "client id {id} was acked with {} and with {}",
                bodies.get(known.acked_body),
                bodies.get(body)
            );
            self.report(
                ViolationKind::OtherContentAcked,
                conversation,
                acked.seq,
                teller,
                detail,
            );
            return Some(NO_TEXT);
        }
        if !acked.duplicate && known.was_new {
            let detail = format!("client id {id} was acked as new twice");
            self.report(
                ViolationKind::RetryNotMarked,
                conversation,
                acked.seq,
                teller,
                detail,
            );
        }
        Some(body)
    }

    fn check_order(
        &mut self,
        client: u32,
        client_id: TextId,
        conversation: u32,
        acked: &Acked,
        sender: TextId,
        record: &Record,
    ) {
        let state = &self.conversations[conversation as usize];
        let direct = state.membership.direct();
        let in_conversation = |target| match target {
            TargetId::Conversation(name) => name == state.name,
            TargetId::User(user) => direct == Some(pair(sender, user)),
        };
        let sends = &mut self.clients[client as usize].sends;
        let fault = sends.acked(
            client_id,
            conversation,
            acked.seq,
            acked.duplicate,
            in_conversation,
        );
        let Some(fault) = fault else { return };
        let (kind, detail) = match fault {
            OrderFault::Swapped { other_seq } => (
                ViolationKind::SendOrderBroken,
                format!(
                    "client id {} got seq {}, on the wrong side of seq {other_seq}",
                    acked.client_id, acked.seq
                ),
            ),
            OrderFault::Overtook { refused } => (
                ViolationKind::OvertookRefusal,
                format!(
                    "client id {} was acked while {} waits to be retried",
                    acked.client_id,
                    self.texts.client_ids.get(refused)
                ),
            ),
            OrderFault::Overtaken => return,
        };
        self.report(
            kind,
            conversation,
            acked.seq,
            Teller::Client(record),
            detail,
        );
    }

    pub(super) fn refused(
        &mut self,
        client: u32,
        tenant: TextId,
        refused: &Refused,
        record: &Record,
    ) {
        self.counts.refusals += 1;
        let client_id = self.texts.client_ids.intern(&refused.client_id);
        let Some(meant) = self.meant(client, client_id) else {
            self.broken(
                record,
                format_args!(
                    "client id {} was refused but never intended",
                    refused.client_id
                ),
            );
            return;
        };
        let lane = match meant.target {
            TargetId::Conversation(name) => self.conversation_index.get(&(tenant, name)),
            TargetId::User(user) => self.direct_index.get(&(tenant, pair(meant.sender, user))),
        };
        let lane = lane.copied();
        if refused.code == DEADLINE_EXCEEDED {
            // As if nobody had answered.
            return;
        }
        let blocks = refused.code != RETRY_IN_ORDER;
        let fault = self
            .state(client)
            .sends
            .refused(client_id, refused.retryable, blocks, lane);
        if let (Some(OrderFault::Overtaken), Some(conversation)) = (fault, lane) {
            let detail = format!(
                "client id {} was refused, but a later send of the connection was acked",
                refused.client_id
            );
            self.report(
                ViolationKind::OvertookRefusal,
                conversation,
                0,
                Teller::Client(record),
                detail,
            );
        }
    }

    fn broken(&mut self, record: &Record, detail: std::fmt::Arguments<'_>) {
        self.log.report(
            ViolationKind::BrokenHistory,
            |violation| violation.told_by(Teller::Client(record)),
            detail,
        );
    }
}
