//! What a surface answers, in one shape.

use anyhow::{Context, ensure};
use flare_proto::{
    common::{Error, ErrorCode},
    gateway::{SendMessagesResponse, send_outcome},
    storage::ReadRangesResponse,
};
use flare_server_core::error::{Refusal, grpc_code, http_status};
use prost::Message;
use serde_json::Value;
use tonic::Status;

/// A refusal, or that there was none.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was done: what came back, in the surface's own encoding.
    Done(Vec<u8>),
    /// It was refused.
    Refused(Error),
}

impl Answer {
    /// The refusal, if it is of this code and explains itself; else what the answer is.
    pub(crate) fn refused(&self, code: ErrorCode) -> Result<&Error, String> {
        let want = format!("want {}", code.as_str_name());
        match self {
            Self::Done(what) => Err(format!("{want}, it was done: {}", shown(what))),
            Self::Refused(error) if error.code() == code => explains(error).map(|()| error),
            Self::Refused(error) => {
                let (code, field, message) =
                    (error.code().as_str_name(), &error.field, &error.message);
                Err(format!("{want}, got {code} {field:?}: {message}"))
            }
        }
    }

    /// Of HTTP: the status is the one that stands for the code.
    pub(crate) fn of_http(status: u16, body: &str) -> anyhow::Result<Self> {
        if (200..300).contains(&status) {
            let json: Value = serde_json::from_str(body).unwrap_or_default();
            return match ELEMENTS.iter().find_map(|it| json[it][0].get("error")) {
                Some(refused) => error_of(refused).map(Self::Refused),
                None => Ok(Self::Done(body.as_bytes().to_vec())),
            };
        }
        let json: Value =
            serde_json::from_str(body).with_context(|| format!("{status} with {body:?}"))?;
        let error = json
            .get("error")
            .with_context(|| format!("{status} with {body:?}"))?;
        let error = error_of(error)?;
        let stands_for = http_status(error.code()).as_u16();
        ensure!(
            status == stands_for,
            "{status} for {}, which is {stands_for}",
            error.code().as_str_name()
        );
        Ok(Self::Refused(error))
    }

    /// Of gRPC: from the details, and the status is the one that stands for the code.
    pub(crate) fn of_grpc(status: Status) -> anyhow::Result<Self> {
        ensure!(!status.details().is_empty(), "{status:?} has no details");
        let given = status.code();
        let error = Error::from(Refusal::from(status));
        let stands_for = grpc_code(error.code());
        ensure!(
            given == stands_for,
            "{given:?} for {}, which is {stands_for:?}",
            error.code().as_str_name()
        );
        Ok(Self::Refused(error))
    }

    /// Of the bytes of a response. Each element of a batch has its own outcome: of the tests' batches the first one counts.
    pub(crate) fn of_response(message: &str, response: &[u8]) -> anyhow::Result<Self> {
        let refused = match message {
            "ReadRangesResponse" => {
                let ranges = ReadRangesResponse::decode(response)?.ranges;
                ranges.into_iter().next().and_then(|it| it.error)
            }
            "SendMessagesResponse" => {
                let outcomes = SendMessagesResponse::decode(response)?.outcomes;
                match outcomes.into_iter().next().and_then(|it| it.result) {
                    Some(send_outcome::Result::Error(error)) => Some(error),
                    _ => None,
                }
            }
            _ => None,
        };
        Ok(refused.map_or_else(|| Self::Done(response.to_vec()), Self::Refused))
    }
}

/// The lists of batches' answers, whose elements have outcomes of their own.
const ELEMENTS: [&str; 2] = ["ranges", "outcomes"];

fn error_of(json: &Value) -> anyhow::Result<Error> {
    let wire =
        flare_core::json::json_to_message("flare.common.v1.Error", json.to_string().as_bytes())?;
    Ok(Error::decode(wire.as_slice())?)
}

fn shown(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).chars().take(300).collect()
}

/// A refusal has a message for people, and the server's time where a clock is the trouble.
fn explains(error: &Error) -> Result<(), String> {
    if error.message.is_empty() {
        return Err("the refusal has no message".to_owned());
    }
    let is_about_time = matches!(
        error.code(),
        ErrorCode::ClientIdInFuture | ErrorCode::TokenExpired
    );
    if is_about_time && error.server_time_ms == 0 {
        return Err("the refusal does not tell the server's time".to_owned());
    }
    Ok(())
}
