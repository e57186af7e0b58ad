//! What the service needs from outside, beside the message store.

use std::time::Duration;

use async_trait::async_trait;
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, StoreError};

/// When a read that the store could not answer may be tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

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

/// Who may read what of groups.
#[async_trait]
pub trait Visibility: Send + Sync + 'static {
    /// What each conversation shows the user, in their order.
    async fn visible(
        &self,
        user: &str,
        conversations: &[ConversationKey],
    ) -> Result<Vec<Visible>, Refusal>;
}

/// The refusal that a store's error becomes.
pub fn store_refusal(error: &StoreError) -> Refusal {
    if error.is_retryable() || matches!(error, StoreError::Closed) {
        Refusal::unavailable(error.to_string(), RETRY_AFTER)
    } else {
        Refusal::internal(error)
    }
}
