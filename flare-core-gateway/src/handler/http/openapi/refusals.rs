//! The refusals of every call, by their statuses.

use std::collections::BTreeMap;

use flare_proto::{common::ErrorCode, descriptor_pool};
use flare_server_core::error::{Refusal, http_status};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// Codes that no route answers: those of other surfaces, between services, and of paths and verbs that there are not.
const ELSEWHERE: [ErrorCode; 7] = [
    ErrorCode::Unspecified,
    ErrorCode::UnknownMethod,
    ErrorCode::DeviceMismatch,
    ErrorCode::OriginNotAllowed,
    ErrorCode::RetryInOrder,
    ErrorCode::NotOwner,
    ErrorCode::Unimplemented,
];

/// The responses by name, each with the codes that it may have. `error` is the schema of an error.
///
/// # Errors
/// `INTERNAL` for a contract without codes.
pub(super) fn components(error: &Value) -> Result<Map<String, Value>, Refusal> {
    let response = |(status, codes): (StatusCode, Vec<&str>)| {
        let content =
            json!({"type": "object", "properties": {"error": error}, "required": ["error"]});
        let response = json!({
            "description": format!("Refused with {}: `message` says why, `field` names what was wrong.", codes.join(", ")),
            "headers": headers(status),
            "content": {"application/json": {"schema": content}},
        });
        (name(status), response)
    };
    Ok(by_status()?.into_iter().map(response).collect())
}

/// What an operation refers to: each status, and the response of that name.
///
/// # Errors
/// `INTERNAL` for a contract without codes.
pub(super) fn references() -> Result<Map<String, Value>, Refusal> {
    let reference = |status: StatusCode| {
        let to = format!("#/components/responses/{}", name(status));
        (status.as_str().to_owned(), json!({"$ref": to}))
    };
    Ok(by_status()?.into_keys().map(reference).collect())
}

fn by_status() -> Result<BTreeMap<StatusCode, Vec<&'static str>>, Refusal> {
    let codes = descriptor_pool()
        .get_enum_by_name("flare.common.v1.ErrorCode")
        .ok_or_else(|| Refusal::internal("the contract has no error codes"))?;
    let mut by_status: BTreeMap<StatusCode, Vec<&str>> = BTreeMap::new();
    let codes = codes
        .values()
        .filter_map(|it| ErrorCode::try_from(it.number()).ok());
    for code in codes.filter(|it| !ELSEWHERE.contains(it)) {
        by_status
            .entry(http_status(code))
            .or_default()
            .push(code.as_str_name());
    }
    Ok(by_status)
}

fn headers(status: StatusCode) -> Value {
    match status {
        StatusCode::UNAUTHORIZED => json!({
            "www-authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}},
        }),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => json!({
            "retry-after": {"description": "Seconds, after which it may be retried.", "schema": {"type": "integer"}},
        }),
        _ => json!({}),
    }
}

/// "Too Many Requests" is named `TooManyRequests`.
fn name(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or(status.as_str());
    reason.split(' ').collect()
}
