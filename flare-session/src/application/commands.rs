//! Commands: they change a conversation through its aggregate and the outbox.

use std::sync::Arc;

use flare_proto::common::ErrorCode;
use flare_server_core::{
    clock::{Clock, IdSource},
    error::Refusal,
};
use flare_storage_model::ConversationKey;

use super::{
    access::Access,
    outbox::Outbox,
    ports::{CommandId, ConversationStore, OutboxLine, StoreError, SubmitError},
    turns::Turn,
};
use crate::domain::{
    caller::Caller,
    change::Change,
    command::Command,
    conversation::{Conversation, Limits},
    ids::{check_client_id, group_id, is_direct},
    rule::Rule,
};

/// How often a command is decided, while other processes change its group.
const MAX_DECISIONS: u32 = 10;

/// Takes commands.
pub struct Commands {
    store: Arc<dyn ConversationStore>,
    access: Arc<Access>,
    outbox: Arc<Outbox>,
    clock: Arc<dyn Clock>,
    ids: Arc<IdSource>,
    limits: Limits,
}

impl Commands {
    /// Takes commands within the limits.
    pub fn new(
        store: Arc<dyn ConversationStore>,
        access: Arc<Access>,
        outbox: Arc<Outbox>,
        clock: Arc<dyn Clock>,
        ids: Arc<IdSource>,
        limits: Limits,
    ) -> Self {
        Self {
            store,
            access,
            outbox,
            clock,
            ids,
            limits,
        }
    }

    /// Begins a group under the given id, or under one that is made (the same for each retry). Answers the id.
    pub async fn create(
        &self,
        caller: &Caller,
        client_id: &str,
        conversation: Option<Arc<str>>,
        command: &Command,
    ) -> Result<ConversationKey, Refusal> {
        check_client_id(client_id)?;
        let id = conversation
            .unwrap_or_else(|| group_id(&caller.tenant, &caller.actor.sender(), client_id));
        let key = ConversationKey::new(Arc::clone(&caller.tenant), id);
        self.change(caller, client_id, &key, command).await?;
        Ok(key)
    }

    /// Changes a group. Answers the seq of the change's event, 0 if nothing had to change. A retry gets the first answer.
    ///
    /// UNAVAILABLE says that the change is kept and its place is not known: a retry with the same client id tells it.
    pub async fn change(
        &self,
        caller: &Caller,
        client_id: &str,
        key: &ConversationKey,
        command: &Command,
    ) -> Result<u64, Refusal> {
        check_client_id(client_id)?;
        let outcome = self
            .decide_and_submit(caller, client_id, key, command)
            .await;
        let label = match &outcome {
            Ok(_) => "done",
            Err(refusal) if refusal.is_retryable() => "unavailable",
            Err(_) => "refused",
        };
        metrics::counter!("flare_session_commands_total", "command" => command.name(), "outcome" => label).increment(1);
        outcome
    }

    async fn decide_and_submit(
        &self,
        caller: &Caller,
        client_id: &str,
        key: &ConversationKey,
        command: &Command,
    ) -> Result<u64, Refusal> {
        let turn = self.outbox.turn(key).await;
        for _ in 0..MAX_DECISIONS {
            match self.decide_once(caller, client_id, &turn, command).await {
                Ok(seq) => return Ok(seq),
                Err(Stop::Refused(refusal)) => return Err(refusal),
                // What is known of the group may be from before.
                Err(Stop::Moved) => self.outbox.changed(key),
            }
        }
        Err(StoreError::Moved(key.clone()).into())
    }

    async fn decide_once(
        &self,
        caller: &Caller,
        client_id: &str,
        turn: &Turn,
        command: &Command,
    ) -> Result<u64, Stop> {
        let key = turn.key();
        let sender = caller.actor.sender();
        let command_id = CommandId {
            client_id: client_id.into(),
            fingerprint: command.fingerprint(),
        };
        self.outbox
            .drain(turn)
            .await
            .inspect_err(|_| self.outbox.nudge())?;
        if let Some(answered) = self.store.answered(key, &sender, client_id).await? {
            return match answered.seq {
                _ if answered.fingerprint != command_id.fingerprint => {
                    Err(other_command(client_id).into())
                }
                Some(seq) => Ok(seq),
                // Another process has written it since the group was drained.
                None => Err(Stop::Moved),
            };
        }

        let line = self.ids.ulid(self.clock.now_ms()).to_string();
        let (change, decided_on) = if matches!(command, Command::Create { .. }) {
            if self.store.exists(key).await? {
                return Err(taken(key).into());
            }
            let change = Conversation::create(&key.conversation, command, &self.limits)?;
            (Some(change), 0)
        } else {
            self.access.visible(caller, key).await?;
            if is_direct(&key.conversation) {
                return Err(Rule::Direct {
                    conversation: Arc::clone(&key.conversation),
                }
                .into());
            }
            let not_found = || Rule::NotFound {
                conversation: Arc::clone(&key.conversation),
            };
            let about = command.about(&caller.actor);
            let found = self.store.conversation(key, &about).await?;
            let conversation = found.ok_or_else(not_found)?;
            let change = conversation.decide(&caller.actor, command, &self.limits)?;
            (change, conversation.as_of)
        };
        let Some(change) = change else {
            self.store
                .commit_nothing(key, &sender, &line, &command_id)
                .await?;
            return Ok(0);
        };
        let line = OutboxLine {
            line,
            key: key.clone(),
            sender,
            change,
            trace_id: caller.trace_id,
        };
        let expected = self.outbox.expect(turn);
        let max_conversations = self.limits.max_conversations_per_user;
        let committed = self
            .store
            .commit(&line, &command_id, decided_on, max_conversations);
        if let Err(error) = committed.await {
            // A refusal wrote nothing; of any other failure the sweeper finds out.
            if matches!(
                error,
                StoreError::TooManyConversations { .. } | StoreError::Moved(_)
            ) {
                expected.settled();
            }
            return Err(error.into());
        }
        match self.outbox.submit(turn, &line).await {
            Ok(placed) => {
                if let Change::MembersAdded {
                    becomes_large: true,
                    ..
                } = line.change
                {
                    metrics::counter!("flare_session_grown_large_total").increment(1);
                }
                expected.settled();
                Ok(placed.seq)
            }
            Err(SubmitError::Refused(refusal)) => {
                expected.settled();
                Err(refusal.into())
            }
            Err(SubmitError::Unknown(refusal)) => Err(refusal.into()),
        }
    }
}

/// Why a command is not done.
enum Stop {
    Refused(Refusal),
    /// Another process has changed the group meanwhile, or answered the command: it is looked at again.
    Moved,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Rule> for Stop {
    fn from(rule: Rule) -> Self {
        Self::Refused(rule.into())
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Moved(_) => Self::Moved,
            error => Self::Refused(error.into()),
        }
    }
}

fn other_command(client_id: &str) -> Refusal {
    Refusal::new(
        ErrorCode::AlreadyExists,
        format!("client id {client_id} was used for another command"),
    )
    .with_field("client_id")
}

fn taken(key: &ConversationKey) -> Refusal {
    Refusal::new(
        ErrorCode::AlreadyExists,
        format!("conversation {} exists already", key.conversation),
    )
    .with_field("conversation_id")
}
