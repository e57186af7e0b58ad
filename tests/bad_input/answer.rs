//! What a surface answers, in one shape.

use anyhow::{Context, ensure};
use flare_proto::common::{Error, ErrorCode};
use flare_server_core::error::{Refusal, grpc_code, http_status};
use serde_json::Value;
use tonic::Status;

/// A refusal, or that there was none.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was done.
    Done(String),
    /// It was refused.
    Refused(Error),
}

impl Answer {
    /// Whether this is the refusal that is wanted; else what it is.
    pub(crate) fn is(&self, code: ErrorCode, field: &str) -> Result<(), String> {
        let want = format!("want {} {field:?}", code.as_str_name());
        match self {
            Self::Done(what) => Err(format!(
                "{want}, it was done: {}",
                what.chars().take(300).collect::<String>()
            )),
            Self::Refused(error) if error.code() == code && error.field == field => explains(error),
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
            return Ok(Self::Done(body.to_owned()));
        }
        let json: Value =
            serde_json::from_str(body).with_context(|| format!("{status} with {body:?}"))?;
        let error = json
            .get("error")
            .with_context(|| format!("{status} with {body:?}"))?
            .to_string();
        let wire = flare_core::json::json_to_message("flare.common.v1.Error", error.as_bytes())?;
        let error: Error = prost::Message::decode(wire.as_slice())?;
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
