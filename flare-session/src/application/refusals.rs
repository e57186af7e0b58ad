//! How refusals of the domain and failures of ports look to callers.

use std::time::Duration;

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;

use super::ports::StoreError;
use crate::domain::{rule::Rule, token::BadToken};

impl From<Rule> for Refusal {
    fn from(rule: Rule) -> Self {
        let message = rule.to_string();
        let refusal = |code| Self::new(code, message.clone());
        match rule {
            Rule::Id { field, .. } | Rule::Nobody { field } => Self::invalid(field, message),
            Rule::TitleTooLong { .. } => {
                limit_reached("title_chars");
                Self::invalid("title", message)
            }
            Rule::TitleControl => Self::invalid("title", message),
            Rule::TooManyMembers { .. } => {
                limit_reached("members");
                refusal(ErrorCode::LimitExceeded)
            }
            Rule::TooManyAtOnce { field, .. } => {
                limit_reached("members_at_once");
                refusal(ErrorCode::LimitExceeded).with_field(field)
            }
            Rule::TooManyConversations { .. } => {
                limit_reached("conversations");
                refusal(ErrorCode::LimitExceeded)
            }
            Rule::NotFound { .. } => {
                refusal(ErrorCode::ConversationNotFound).with_field("conversation_id")
            }
            Rule::NotAMember { .. } => refusal(ErrorCode::NotAMember).with_field("conversation_id"),
            Rule::NotPermitted { .. } => refusal(ErrorCode::PermissionDenied),
            Rule::Direct { .. } => {
                refusal(ErrorCode::FailedPrecondition).with_field("conversation_id")
            }
            Rule::Disbanded { .. } => {
                refusal(ErrorCode::ConversationDisbanded).with_field("conversation_id")
            }
            Rule::OwnerMustTransfer { .. } => refusal(ErrorCode::FailedPrecondition),
            Rule::UserNotMember { .. } => refusal(ErrorCode::NotFound).with_field("user_id"),
            Rule::RemovesHimself { .. } => Self::invalid("user_id", message),
            Rule::RoleNotGivable => Self::invalid("role", message),
            Rule::NoUser => Self::invalid("context.actor.user_id", message),
        }
    }
}

/// A disk without room takes a while.
const RETRY_AFTER: Duration = Duration::from_millis(500);

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooManyConversations { user, max } => {
                Rule::TooManyConversations { user, max }.into()
            }
            StoreError::Moved(_) => Self::unavailable(error.to_string(), RETRY_AFTER),
            StoreError::Unavailable(cause) => {
                tracing::error!(cause, "the session store is unavailable");
                Self::unavailable(
                    "conversations cannot be looked up or changed just now",
                    RETRY_AFTER,
                )
            }
            StoreError::Failed(cause) => Self::internal(cause),
        }
    }
}

/// A token in `field` that is none of ours, or was given for something else.
pub fn bad_token(field: &'static str) -> impl FnOnce(BadToken) -> Refusal {
    move |bad| Refusal::new(ErrorCode::InvalidPageToken, bad.to_string()).with_field(field)
}

fn limit_reached(limit: &'static str) {
    metrics::counter!("flare_session_limit_reached_total", "limit" => limit).increment(1);
}
