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
};
use crate::domain::{
    caller::Caller,
    command::Command,
    conversation::{Conversation, Limits},
    ids::{check_client_id, group_id, is_direct},
    rule::Rule,
};

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
        let sender = caller.actor.sender();
        let command_id = CommandId {
            client_id: client_id.into(),
            fingerprint: command.fingerprint(),
        };
        let turn = self.outbox.turn(key).await;
        self.outbox
            .drain(&turn)
            .await
            .inspect_err(|_| self.outbox.nudge())?;
        if let Some(answered) = self.store.answered(key, &sender, client_id).await? {
            return match answered.seq {
                _ if answered.fingerprint != command_id.fingerprint => {
                    Err(other_command(client_id))
                }
                Some(seq) => Ok(seq),
                None => Err(Refusal::internal(format!(
                    "a drained line of {key} has no seq"
                ))),
            };
        }

        let line = self.ids.ulid(self.clock.now_ms()).to_string();
        let change = if matches!(command, Command::Create { .. }) {
            if self.store.exists(key).await? {
                return Err(taken(key));
            }
            Some(Conversation::create(
                &key.conversation,
                command,
                &self.limits,
            )?)
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
            let conversation = self.store.conversation(key).await?.ok_or_else(not_found)?;
            conversation.decide(&caller.actor, command, &self.limits)?
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
        let expected = self.outbox.expect(&turn);
        if let Err(error) = self
            .store
            .commit(&line, &command_id, self.limits.max_conversations_per_user)
            .await
        {
            // A refusal wrote nothing; of any other failure the sweeper finds out.
            if let StoreError::TooManyConversations { .. } = error {
                expected.settled();
            }
            return Err(error.into());
        }
        match self.outbox.submit(&turn, &line).await {
            Ok(placed) => {
                expected.settled();
                Ok(placed.seq)
            }
            Err(SubmitError::Refused(refusal)) => {
                expected.settled();
                Err(refusal)
            }
            Err(SubmitError::Unknown(refusal)) => Err(refusal),
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
