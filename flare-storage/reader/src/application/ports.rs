//! What the service needs from outside, beside the message store.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, StoreError};
use ulid::Ulid;

/// When a read that the store could not answer may be tried again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What a group shows a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visible {
    /// He is no stranger: from one seq to another, 0 for no bound.
    Between {
        /// The oldest.
        from: u64,
        /// The newest.
        to: u64,
    },
    /// He never was a member.
    Nothing,
    /// There is no such conversation.
    Unknown,
}

/// What a group shows a user, and as of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What.
    pub visible: Visible,
    /// Seq of the last member event that this includes.
    pub as_of: u64,
}

/// Who may read what of groups. What an adapter owes:
///
/// - **Each in its place.** One answer for each conversation, in their order, of its own tenant.
/// - **As it was said.** A part of a group stays that part: neither end moves.
/// - **As old as it was said.** No answer includes more member events than it was said to.
/// - **No guess.** Where nobody says who may read, that is an error: neither a stranger nor a member.
#[async_trait]
pub trait Visibility: Send + Sync + 'static {
    /// What each conversation shows the user.
    async fn visible(
        &self,
        user: &str,
        conversations: &[ConversationKey],
    ) -> Result<Vec<Shown>, Refusal>;
}

/// Where the log has a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// In the record at this offset.
    At {
        /// The record's.
        offset: u64,
        /// The encoded event.
        event: Bytes,
    },
    /// The store has it, the log has given its room back.
    Trimmed,
}

/// Where messages stand in the log. What an adapter owes:
///
/// - **Of the tenant.** A message of another one is nowhere.
/// - **As it was said.** Offset and event are the record's.
/// - **No guess.** Nowhere means that neither log nor store has it; where nobody says so, that is an error.
#[async_trait]
pub trait LogPlaces: Send + Sync + 'static {
    /// Where the tenant's message is; None: nowhere.
    async fn find(&self, tenant: &str, message_id: Ulid) -> Result<Option<LogPlace>, Refusal>;
}

/// The refusal that a store's error becomes.
pub fn store_refusal(error: &StoreError) -> Refusal {
    if error.is_retryable() || matches!(error, StoreError::Closed) {
        Refusal::unavailable(error.to_string(), RETRY_AFTER)
    } else {
        Refusal::internal(error)
    }
}
