//! Answers and refusals as HTTP has them.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use flare_core::json::message_to_json;
use flare_proto::common::{self, ErrorCode};
use flare_server_core::error::{Refusal, http_status};
use prost::Message;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Answers are about one caller, and soon out of date.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

/// A message of the contract as a JSON answer.
pub fn message(full_name: &str, bytes: &[u8]) -> Response {
    match message_to_json(full_name, bytes) {
        Ok(json) => json_answer(StatusCode::OK, json),
        Err(error) => refusal(Refusal::internal(format!(
            "an answer cannot be shown as JSON: {error}"
        ))),
    }
}

/// JSON that is made already.
pub fn json_answer(status: StatusCode, json: impl Into<Body>) -> Response {
    (
        status,
        [
            (header::CONTENT_TYPE, JSON),
            (header::CACHE_CONTROL, NO_STORE),
        ],
        json.into(),
    )
        .into_response()
}

/// A refusal: `{"error": …}`, with the status that stands for its code.
pub fn refusal(refusal: Refusal) -> Response {
    let status = http_status(refusal.code);
    refusal_as(status, refusal)
}

/// A refusal with a status that HTTP has for it and the contract has not.
pub fn refusal_as(status: StatusCode, refusal: Refusal) -> Response {
    let retry_after = refusal
        .retry_after
        .map(|it| it.as_millis().div_ceil(1_000).max(1));
    let error = common::Error::from(refusal).encode_to_vec();
    // What cannot be shown is an empty error: the status says it all the same.
    let shown = message_to_json("flare.common.v1.Error", &error).unwrap_or_else(|_| b"{}".to_vec());
    let mut json = br#"{"error":"#.to_vec();
    json.extend(shown);
    json.push(b'}');
    let mut response = json_answer(status, json);
    let headers = response.headers_mut();
    if let Some(value) = retry_after.and_then(|it| HeaderValue::try_from(it.to_string()).ok()) {
        headers.insert(header::RETRY_AFTER, value);
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, BEARER);
    }
    response
}

/// No route has this path.
pub fn no_such_path(path: &str) -> Response {
    let path = crate::domain::caller::shortened(path);
    refusal(Refusal::new(
        ErrorCode::NotFound,
        format!("nothing is at {path}: /api/docs lists what there is"),
    ))
}

/// The path is there, for other verbs.
pub fn no_such_verb(verb: &str, path: &str) -> Response {
    let (verb, path) = (
        crate::domain::caller::shortened(verb),
        crate::domain::caller::shortened(path),
    );
    let refusal = Refusal::new(
        ErrorCode::UnknownMethod,
        format!("{path} does not take {verb}: /api/docs lists what it takes"),
    );
    refusal_as(StatusCode::METHOD_NOT_ALLOWED, refusal)
}
