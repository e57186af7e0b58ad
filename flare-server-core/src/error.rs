//! A refusal, one shape from the domain to the wire.

use std::{borrow::Cow, time::Duration};

use flare_proto::common::{self, ErrorCode};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `google.rpc.ErrorInfo` of ours.
const DOMAIN: &str = "flare.im";
const SERVER_TIME: &str = "server_time_ms";

/// What a caller did not get, and why: the stable code, a message for people, the field that was wrong, and when to try again.
///
/// Travels as `google.rpc` details of a gRPC status, as `flare.common.v1.Error` in frames and receipts, and as JSON in HTTP bodies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.as_str_name())]
pub struct Refusal {
    /// Stable; doc/errors.md has a line for each.
    pub code: ErrorCode,
    /// What was wrong and what would be right. Lower-case, with the value that was wrong.
    pub message: Cow<'static, str>,
    /// The request's field in the contract's spelling; empty if none.
    pub field: Cow<'static, str>,
    /// Not before this. Absent: as soon as the caller likes, or never, as the code says.
    pub retry_after: Option<Duration>,
    /// The server's time in Unix milliseconds, where a clock was the trouble.
    pub server_time_ms: Option<i64>,
}

impl Refusal {
    /// A refusal that names no field.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            field: Cow::Borrowed(""),
            retry_after: None,
            server_time_ms: None,
        }
    }

    /// The argument named by `field` is wrong.
    pub fn invalid(
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(ErrorCode::InvalidArgument, message).with_field(field)
    }

    /// Nobody is there to answer just now; try again after `retry_after`.
    pub fn unavailable(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(ErrorCode::Unavailable, message).with_retry_after(retry_after)
    }

    /// A broken invariant of ours. The message is logged here, once; the caller sees none of it.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(ErrorCode::Internal, "internal error")
    }

    /// Names the field that was wrong.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = field.into();
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Says what the server's clock shows.
    #[must_use]
    pub fn with_server_time(mut self, unix_ms: i64) -> Self {
        self.server_time_ms = Some(unix_ms);
        self
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        is_retryable(self.code)
    }
}

/// Whether a request refused with `code` may succeed later, unchanged.
pub fn is_retryable(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::RateLimited
            | ErrorCode::ResourceExhausted
            | ErrorCode::RetryInOrder
            | ErrorCode::Unavailable
            | ErrorCode::DeadlineExceeded
            | ErrorCode::NotOwner
    )
}

/// The gRPC code that stands for `code`; HTTP's is derived from it.
pub fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::Unspecified | ErrorCode::Internal => Code::Internal,
        ErrorCode::InvalidArgument
        | ErrorCode::MalformedFrame
        | ErrorCode::FrameTooLarge
        | ErrorCode::ContentTooLarge
        | ErrorCode::InvalidPageToken
        | ErrorCode::PositionBeyondHead
        | ErrorCode::ClientIdInFuture => Code::InvalidArgument,
        ErrorCode::UnknownMethod | ErrorCode::Unimplemented => Code::Unimplemented,
        ErrorCode::Unauthenticated
        | ErrorCode::TokenExpired
        | ErrorCode::TokenRevoked
        | ErrorCode::DeviceMismatch
        | ErrorCode::TenantMismatch => Code::Unauthenticated,
        ErrorCode::PermissionDenied
        | ErrorCode::NotAMember
        | ErrorCode::ScopeMissing
        | ErrorCode::OriginNotAllowed => Code::PermissionDenied,
        ErrorCode::NotFound | ErrorCode::ConversationNotFound | ErrorCode::MessageNotFound => {
            Code::NotFound
        }
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::ConversationDisbanded
        | ErrorCode::RecallWindowPassed
        | ErrorCode::LimitExceeded
        | ErrorCode::StoppedByHook
        | ErrorCode::FailedPrecondition => Code::FailedPrecondition,
        ErrorCode::RateLimited | ErrorCode::ResourceExhausted | ErrorCode::RetryInOrder => {
            Code::ResourceExhausted
        }
        ErrorCode::Unavailable | ErrorCode::NotOwner => Code::Unavailable,
        ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
    }
}

/// The HTTP status that stands for `code`.
pub fn http_status(code: ErrorCode) -> http::StatusCode {
    use http::StatusCode as Http;
    match (code, grpc_code(code)) {
        (ErrorCode::FrameTooLarge | ErrorCode::ContentTooLarge, _) => Http::PAYLOAD_TOO_LARGE,
        (_, Code::InvalidArgument) => Http::BAD_REQUEST,
        (_, Code::Unauthenticated) => Http::UNAUTHORIZED,
        (_, Code::PermissionDenied) => Http::FORBIDDEN,
        (_, Code::NotFound) => Http::NOT_FOUND,
        (_, Code::AlreadyExists | Code::FailedPrecondition) => Http::CONFLICT,
        (_, Code::ResourceExhausted) => Http::TOO_MANY_REQUESTS,
        (_, Code::Unavailable) => Http::SERVICE_UNAVAILABLE,
        (_, Code::DeadlineExceeded) => Http::GATEWAY_TIMEOUT,
        (_, Code::Unimplemented) => Http::NOT_IMPLEMENTED,
        _ => Http::INTERNAL_SERVER_ERROR,
    }
}

impl From<Refusal> for common::Error {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code.into(),
            message: refusal.message.into_owned(),
            field: refusal.field.into_owned(),
            retry_after_ms: refusal.retry_after.map_or(0, whole_ms),
            server_time_ms: refusal.server_time_ms.unwrap_or_default(),
        }
    }
}

/// The contract's milliseconds are whole, and 0 says nothing: rounded up, and never 0.
fn whole_ms(after: Duration) -> i64 {
    let ms = after.as_nanos().div_ceil(1_000_000).max(1);
    i64::try_from(ms).unwrap_or(i64::MAX)
}

impl From<common::Error> for Refusal {
    fn from(error: common::Error) -> Self {
        let code = ErrorCode::try_from(error.code).unwrap_or(ErrorCode::Internal);
        Self {
            code,
            message: error.message.into(),
            field: error.field.into(),
            retry_after: u64::try_from(error.retry_after_ms)
                .ok()
                .filter(|it| *it > 0)
                .map(Duration::from_millis),
            server_time_ms: Some(error.server_time_ms).filter(|it| *it != 0),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut details = ErrorDetails::new();
        let mut metadata = std::collections::HashMap::new();
        if let Some(time) = refusal.server_time_ms {
            metadata.insert(SERVER_TIME.to_owned(), time.to_string());
        }
        details.set_error_info(refusal.code.as_str_name(), DOMAIN, metadata);
        if !refusal.field.is_empty() {
            details.add_bad_request_violation(refusal.field.as_ref(), refusal.message.as_ref());
        }
        if let Some(after) = refusal.retry_after {
            details.set_retry_info(Some(after));
        }
        Status::with_error_details(grpc_code(refusal.code), refusal.message.as_ref(), details)
    }
}

impl From<Status> for Refusal {
    /// What another service refused; a status that is not ours becomes the nearest code.
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|it| it.domain == DOMAIN);
        let code = info
            .and_then(|it| ErrorCode::from_str_name(&it.reason))
            .unwrap_or(match status.code() {
                Code::InvalidArgument | Code::OutOfRange => ErrorCode::InvalidArgument,
                Code::Unauthenticated => ErrorCode::Unauthenticated,
                Code::PermissionDenied => ErrorCode::PermissionDenied,
                Code::NotFound => ErrorCode::NotFound,
                Code::AlreadyExists => ErrorCode::AlreadyExists,
                Code::FailedPrecondition => ErrorCode::FailedPrecondition,
                Code::ResourceExhausted => ErrorCode::ResourceExhausted,
                Code::DeadlineExceeded => ErrorCode::DeadlineExceeded,
                Code::Unimplemented => ErrorCode::Unimplemented,
                Code::Unavailable | Code::Cancelled | Code::Aborted | Code::Unknown => {
                    ErrorCode::Unavailable
                }
                Code::Ok | Code::Internal | Code::DataLoss => ErrorCode::Internal,
            });
        Self {
            code,
            message: status.message().to_owned().into(),
            field: details
                .bad_request()
                .and_then(|it| it.field_violations.first())
                .map_or(Cow::Borrowed(""), |it| it.field.clone().into()),
            retry_after: details.retry_info().and_then(|it| it.retry_delay),
            server_time_ms: info
                .and_then(|it| it.metadata.get(SERVER_TIME))
                .and_then(|it| it.parse().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_way_through_grpc() {
        let refusal = Refusal::invalid("content.text", "empty text: say something")
            .with_retry_after(Duration::from_millis(1_500))
            .with_server_time(1_700_000_000_123);
        let status = Status::from(refusal.clone());
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(Refusal::from(status), refusal);
        assert_eq!(Refusal::from(common::Error::from(refusal.clone())), refusal);
    }

    #[test]
    fn a_time_to_wait_is_never_told_too_short() {
        let told = |after| {
            let refusal = Refusal::unavailable("busy", after);
            common::Error::from(refusal).retry_after_ms
        };
        assert_eq!(told(Duration::from_micros(1)), 1);
        assert_eq!(told(Duration::from_micros(2_001)), 3);
        assert_eq!(told(Duration::from_millis(2)), 2);
    }

    #[test]
    fn a_foreign_status_becomes_the_nearest_code() {
        assert_eq!(
            Refusal::from(Status::unavailable("gone")).code,
            ErrorCode::Unavailable
        );
    }
}
