//! Takes commands one by one and makes the next group of them. What it decides has no effect before the log has it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use flare_proto::{common::ErrorCode, message::EventHeader};
use flare_server_core::error::Refusal;
use flare_storage_model::{
    ConversationKey, Epoch, Fingerprint, LogRecord, LoggedEvent, MAX_RECORD_BYTES, Receipt,
    SEQ_LIMIT, record::GROUP_OVERHEAD_BYTES,
};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::{
    command::{Action, Command, Membership},
    lines::{Hooked, Pending},
    memory::{IdDigest, Memory, OwnerHead, Target},
    rules,
};

/// The most events of a group.
pub(crate) const MAX_GROUP_EVENTS: usize = 1_000;

/// What must be known before a command can be decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacks {
    /// Whether the store knows the client id.
    pub(crate) id: bool,
    /// The conversation's head.
    pub(crate) head: bool,
    /// What the sender is to the conversation, as of its last member event.
    pub(crate) membership: bool,
    /// The message to take back.
    pub(crate) target: bool,
}

impl Lacks {
    pub(crate) fn nothing(self) -> bool {
        self == Self::default()
    }
}

/// What the command lacks, in a conversation with this head, if it is known.
pub(crate) fn lacks(
    pending: &Pending,
    membership: Option<Membership>,
    id_known: bool,
    head: Option<&OwnerHead>,
    memory: &Memory,
) -> Lacks {
    if id_known {
        return Lacks::default();
    }
    let member_seq = head.and_then(|it| it.member_seq).unwrap_or_default();
    #[cfg(feature = "mutants")]
    let member_seq = match flare_storage_model::mutants::Mutant::OldAuthorisation.is_made() {
        true => 0,
        false => member_seq,
    };
    Lacks {
        id: pending.lacks_id(memory),
        head: head.is_none(),
        membership: rules::needs_membership(&pending.command)
            && membership.is_none_or(|it| it.as_of < member_seq),
        target: match pending.command.action {
            Action::Recall { seq } => pending.lacks_target(memory, head, seq),
            _ => false,
        },
    }
}

/// Whether PreSend hooks see it.
pub(crate) fn is_hooked(command: &Command) -> bool {
    matches!(command.action, Action::Send { .. })
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The group's event of this index.
    Placed(usize),
    /// The first receipt again.
    Duplicate(Receipt),
    Refused(Refusal),
}

/// A group's answer to one more command.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Decided; counts if the group does.
    Decided(Outcome),
    /// Something is not known (any more), or its hooks have not passed.
    NotYet,
    /// Belongs to the next group.
    Full,
}

/// A group that gathers.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    memory: &'a Memory,
    epoch: Epoch,
    n: u64,
    now_ms: i64,
    recall_window: Duration,
    events: Vec<LoggedEvent>,
    bytes: usize,
    /// What the group's own events have changed.
    heads: HashMap<ConversationKey, OwnerHead>,
    ids: HashMap<IdDigest, (Receipt, Fingerprint)>,
    recalled: HashSet<(ConversationKey, u64)>,
    /// Other processes append to the log too: a refusal by what the log says is right only if it is still ours.
    log_is_shared: bool,
    /// Something was refused for good.
    needs_proof: bool,
}

impl<'a> Group<'a> {
    pub(crate) fn new(
        memory: &'a Memory,
        epoch: Epoch,
        n: u64,
        now_ms: i64,
        recall_window: Duration,
        log_is_shared: bool,
    ) -> Self {
        Self {
            memory,
            epoch,
            n,
            now_ms,
            recall_window,
            events: Vec::new(),
            bytes: GROUP_OVERHEAD_BYTES,
            heads: HashMap::new(),
            ids: HashMap::new(),
            recalled: HashSet::new(),
            log_is_shared,
            needs_proof: false,
        }
    }

    /// The record to append; none if nothing was placed, and nothing was refused that has to be proved.
    pub(crate) fn into_record(self) -> Option<LogRecord> {
        (!self.events.is_empty() || self.needs_proof).then_some(LogRecord::Group {
            epoch: self.epoch,
            n: self.n,
            events: self.events,
        })
    }

    /// Decides the command, if all is known that it takes, and its hooks have passed where there are `hooks`.
    pub(crate) fn decide(
        &mut self,
        pending: &Pending,
        membership: Option<Membership>,
        hooks: bool,
    ) -> Verdict {
        let command = &pending.command;
        if let Some((receipt, print)) = self.id(pending) {
            return Verdict::Decided(if *print == command.fingerprint {
                Outcome::Duplicate(*receipt)
            } else {
                Outcome::Refused(other_content(command))
            });
        }
        let head = match self.head(&command.conversation) {
            Some(head) if lacks(pending, membership, false, Some(head), self.memory).nothing() => {
                head.clone()
            }
            _ => return Verdict::NotYet,
        };
        // The clock may have fallen since the command was let in.
        let checked = pending
            .check_minted(self.now_ms)
            .and_then(|()| self.check(command, &head, membership));
        if let Err(refusal) = checked {
            self.needs_proof |= self.log_is_shared && !refusal.is_retryable();
            return Verdict::Decided(Outcome::Refused(refusal));
        }
        if hooks && is_hooked(command) && pending.hooked != Hooked::Passed {
            return Verdict::NotYet;
        }
        if self.events.len() >= MAX_GROUP_EVENTS
            || self.bytes + command.size_bytes() > MAX_RECORD_BYTES
        {
            return Verdict::Full;
        }
        match self.place(pending, head) {
            Ok(index) => Verdict::Decided(Outcome::Placed(index)),
            Err(refusal) => Verdict::Decided(Outcome::Refused(refusal)),
        }
    }

    fn id(&self, pending: &Pending) -> Option<&(Receipt, Fingerprint)> {
        let own = self.ids.get(&pending.id);
        own.or_else(|| self.memory.id(pending.id, pending.ids_seen))
    }

    fn head(&self, key: &ConversationKey) -> Option<&OwnerHead> {
        self.heads.get(key).or_else(|| self.memory.head(key))
    }

    fn check(
        &self,
        command: &Command,
        head: &OwnerHead,
        membership: Option<Membership>,
    ) -> Result<(), Refusal> {
        match &command.action {
            Action::Change { kind, .. } => rules::may_change(command, *kind, head),
            Action::Send { .. } => rules::may_take_part(command, head, membership),
            Action::Recall { seq } => {
                rules::may_take_part(command, head, membership)?;
                let key = (command.conversation.clone(), *seq);
                let again;
                let mut target = self.memory.message(&key);
                if let Some(found) = target
                    && self.recalled.contains(&key)
                {
                    again = Target {
                        recalled: true,
                        ..found.clone()
                    };
                    target = Some(&again);
                }
                let now_ms = self.now_ms.max(head.time_ms);
                rules::may_recall(
                    command,
                    *seq,
                    target,
                    membership,
                    self.recall_window,
                    now_ms,
                )
            }
        }
    }

    fn place(&mut self, pending: &Pending, mut head: OwnerHead) -> Result<usize, Refusal> {
        let command = &pending.command;
        let seq = head.seq + 1;
        if seq >= SEQ_LIMIT {
            return Err(Refusal::new(
                ErrorCode::LimitExceeded,
                format!(
                    "conversation {:?} is full",
                    command.conversation.conversation
                ),
            ));
        }
        let time_ms = self.now_ms.max(head.time_ms);
        let bits = rules::flags_of(command);
        let participants = match (&command.participants, &head.participants) {
            (Some(both), _) => both.iter().map(|it| it.to_string()).collect(),
            (None, Some(both)) => both.to_vec(),
            (None, None) => Vec::new(),
        };
        let (mentions, target_seq) = match &command.action {
            Action::Send { mentions, .. } => (mentions.clone(), 0),
            Action::Recall { seq } => (Vec::new(), *seq),
            Action::Change { .. } => (Vec::new(), 0),
        };
        let header = EventHeader {
            tenant_id: command.conversation.tenant.to_string(),
            conversation_id: command.conversation.conversation.to_string(),
            seq,
            ordinal: head.ordinal + u64::from(bits & flare_storage_model::flags::COUNTABLE),
            message_id: self.mint(time_ms).to_string(),
            sender_id: command.actor.user.to_string(),
            sender_device_id: command.actor.device.to_string(),
            time_ms,
            kind: rules::kind_of(&command.action).into(),
            flags: bits,
            class: rules::class_of(command, &head).into(),
            participants,
            mentions,
            client_id: command.client_id.to_string(),
            trace_id: command.trace_id.clone(),
            target_seq,
        };
        let event = LoggedEvent::create(header, command.body.clone(), command.fingerprint)
            .map_err(Refusal::internal)?;
        head.follow(event.header());
        self.heads.insert(command.conversation.clone(), head);
        self.ids
            .insert(pending.id, (event.receipt(), command.fingerprint));
        if target_seq > 0 {
            self.recalled
                .insert((command.conversation.clone(), target_seq));
        }
        self.bytes += event.record_bytes();
        self.events.push(event);
        Ok(self.events.len() - 1)
    }

    /// The next event's id. The epoch's nonce is random, and no other event of the epoch has this place in it.
    fn mint(&self, time_ms: i64) -> Ulid {
        let mut hash = Sha256::new();
        hash.update(self.epoch.nonce.to_be_bytes());
        hash.update(self.epoch.number.to_be_bytes());
        hash.update(self.n.to_be_bytes());
        hash.update(self.events.len().to_be_bytes());
        let mut random = [0; 16];
        random.copy_from_slice(&hash.finalize()[..16]);
        Ulid::from_parts(
            u64::try_from(time_ms).unwrap_or_default(),
            u128::from_be_bytes(random),
        )
    }
}

fn other_content(command: &Command) -> Refusal {
    let message = format!(
        "client id {:?} was used for another command",
        command.client_id
    );
    Refusal::new(ErrorCode::AlreadyExists, message).with_field("client_id")
}
