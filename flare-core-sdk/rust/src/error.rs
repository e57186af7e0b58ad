//! What the server refuses, and what else keeps a request from its answer.

use std::time::Duration;

use flare_proto::common::{Error, ErrorCode};

/// A refusal by the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.as_str_name())]
pub struct Refusal {
    /// The stable code.
    pub code: ErrorCode,
    /// What was wrong and what would be right, for people.
    pub message: String,
    /// The request's field that was wrong; empty if none.
    pub field: String,
    /// Not before this.
    pub retry_after: Option<Duration>,
    /// The server's time in Unix milliseconds, where a clock was the trouble.
    pub server_time_ms: Option<i64>,
}

impl Refusal {
    /// Whether the same request may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.code,
            ErrorCode::RateLimited
                | ErrorCode::ResourceExhausted
                | ErrorCode::RetryInOrder
                | ErrorCode::Unavailable
                | ErrorCode::DeadlineExceeded
                | ErrorCode::NotOwner
        )
    }

    /// Whether a command that was refused so may have been kept all the same.
    pub(crate) fn leaves_open(&self) -> bool {
        matches!(
            self.code,
            ErrorCode::Unavailable | ErrorCode::DeadlineExceeded
        )
    }

    /// Whether another token may help.
    pub fn is_about_the_token(&self) -> bool {
        matches!(
            self.code,
            ErrorCode::Unauthenticated | ErrorCode::TokenExpired | ErrorCode::TokenRevoked
        )
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            code: error.code(),
            retry_after: u64::try_from(error.retry_after_ms)
                .ok()
                .filter(|it| *it > 0)
                .map(Duration::from_millis),
            server_time_ms: Some(error.server_time_ms).filter(|it| *it != 0),
            message: error.message,
            field: error.field,
        }
    }
}

impl From<flare_core::check::Refusal> for Refusal {
    fn from(refusal: flare_core::check::Refusal) -> Self {
        refusal.to_error().into()
    }
}

/// Why a message or operation has no receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The outbox is full: nothing was queued. Send again when earlier messages have their receipts.
    #[error("the outbox is full: {messages} messages, {bytes} bytes wait")]
    Full {
        /// How many messages wait.
        messages: usize,
        /// How many bytes of content wait.
        bytes: usize,
    },
    /// Refused for good, or refused for now until the deadline had passed. It is not stored.
    #[error("{client_id} was refused: {refusal}")]
    Refused {
        /// The message's client id.
        client_id: String,
        /// The last refusal.
        refusal: Refusal,
    },
    /// The deadline passed, it was given up, or the client ended, before it was ever sent. It is not stored.
    #[error("not sent: {why}")]
    NotSent {
        /// What kept it.
        why: String,
    },
    /// It was sent, and whether it is stored is not known. Sending the same content with the same client id settles that: it is stored at most once.
    #[error("whether {client_id} is stored is unknown: {why}")]
    Unknown {
        /// The message's client id.
        client_id: String,
        /// What ended the wait.
        why: String,
    },
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Refused for good, or refused for now until the deadline had passed.
    #[error("{method} was refused: {refusal}")]
    Refused {
        /// The method.
        method: String,
        /// The last refusal.
        refusal: Refusal,
    },
    /// No answer in time; whether it was done is unknown.
    #[error("{method} was not answered in time")]
    TimedOut {
        /// The method.
        method: String,
    },
    /// So many calls wait for their answers that no more are taken.
    #[error("{method} was not called: {waiting} calls wait for their answers")]
    TooMany {
        /// The method.
        method: String,
        /// How many wait.
        waiting: usize,
    },
    /// The contract has no such method for clients, the request is too large, or the answer is not the method's.
    #[error("{method}: {reason}")]
    Contract {
        /// The method.
        method: String,
        /// What is wrong.
        reason: String,
    },
    /// The client has ended; whether it was done is unknown.
    #[error("{method} was not answered: {why}")]
    Ended {
        /// The method.
        method: String,
        /// Why the client ended.
        why: String,
    },
}
