//! What the orchestrator needs of the outside, beside the message log and the message store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;

use crate::domain::command::{Command, Membership};

/// Knows who is what to a conversation: flare-session.
///
/// Obligations: one answer for each item, in their order; an answer includes every member event up to its `as_of`; each call ends, by a
/// deadline if need be. A refusal says nothing of any item and may be asked again. An item with an empty user is answered as for a
/// stranger: with `disbanded` and `as_of` of the conversation.
#[async_trait]
pub trait Authority: Send + Sync + 'static {
    /// What the users are to the conversations.
    async fn authorise(
        &self,
        items: &[(ConversationKey, Arc<str>)],
    ) -> Result<Vec<Membership>, Refusal>;
}

/// Sees every message before it gets its place; may change its content or stop it.
///
/// Obligations: it answers soon, for the sender's next message waits; the same message may come more than once (`idempotency_key` is the
/// same then). What it does not answer in time goes on unchanged.
#[async_trait]
pub trait PreSendHook: Send + Sync + 'static {
    /// A name for logs and metrics.
    fn name(&self) -> &'static str;
    /// Looks at the message.
    async fn handle(&self, ctx: &HookContext, msg: &mut MessageDraft) -> HookResult;
}

/// Who sends, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookContext {
    /// The tenant.
    pub tenant_id: Arc<str>,
    /// The conversation.
    pub conversation_id: Arc<str>,
    /// The sender; empty: the system.
    pub user_id: Arc<str>,
    /// The sender's device; empty: not over a client link.
    pub device_id: Arc<str>,
    /// W3C trace id, 16 bytes; may be empty.
    pub trace_id: Bytes,
    /// The same whenever the same message comes: 32 hexadecimal digits.
    pub idempotency_key: String,
}

/// A message that has no place yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageDraft {
    /// An encoded `flare.message.v1.Content`, as the sender's bytes. What a hook puts here is checked like a sender's content.
    pub content: Bytes,
}

/// What a hook says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookResult {
    /// Go on.
    Continue,
    /// Do not send. The sender is told so: with `STOPPED_BY_HOOK`, unless another code says it better.
    Stop {
        /// What the sender is told.
        error: Refusal,
    },
}

/// A content whose form was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedContent {
    /// The encoded body of the event that creates the message.
    pub body: Bytes,
    /// The part of it that is the content.
    pub content: Bytes,
    /// Who is mentioned, each once.
    pub mentions: Vec<String>,
    /// Whether everybody is.
    pub mention_all: bool,
}

/// Checks a content's form.
///
/// Obligations: the content's bytes go into the body as they are; a kind that is not known passes.
pub trait ContentRules: Send + Sync + 'static {
    /// The checked content, or what is wrong with it.
    fn check(&self, content: &Bytes) -> Result<CheckedContent, Refusal>;
}

impl HookContext {
    /// Of a command.
    pub fn of(command: &Command) -> Self {
        let key = command.id_key();
        Self {
            tenant_id: Arc::clone(&key.conversation.tenant),
            conversation_id: Arc::clone(&key.conversation.conversation),
            user_id: Arc::clone(&key.sender),
            device_id: Arc::clone(&command.actor.device),
            trace_id: command.trace_id.clone(),
            idempotency_key: format!("{:032x}", u128::from_be_bytes(key.digest())),
        }
    }
}
