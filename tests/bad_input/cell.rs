//! One cell of the table: an input on a surface, and the refusal that it gets.

use std::fmt;

use flare_core::codec::Codec;
use flare_proto::common::ErrorCode;

use crate::{ask::Ask, ground::Ground, link, surfaces::api::SERVICE};

/// Where an input comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    Frame(Codec),
    Http,
    Grpc,
}

impl fmt::Display for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frame(Codec::Proto) => "protobuf frame",
            Self::Frame(Codec::Json) => "JSON frame",
            Self::Http => "HTTP",
            Self::Grpc => "gRPC",
        })
    }
}

/// An input on a surface.
pub(crate) struct Cell {
    pub(crate) surface: Surface,
    ask: Ask,
    code: ErrorCode,
    field: &'static str,
}

impl Cell {
    /// The request is to be refused with this code, and names this field.
    pub(crate) fn new(ask: Ask, code: ErrorCode, field: &'static str) -> Self {
        let surface = match &ask {
            Ask::First { codec, .. } | Ask::Frame { codec, .. } => Surface::Frame(*codec),
            Ask::Http { .. } => Surface::Http,
            Ask::Grpc { .. } => Surface::Grpc,
        };
        Self {
            surface,
            ask,
            code,
            field,
        }
    }

    /// Asks, and says what is wrong with the answer.
    pub(crate) async fn check(&self, ground: &Ground) -> Result<(), String> {
        let answer = match &self.ask {
            Ask::First {
                codec,
                payload,
                closes,
            } => link::first(&ground.server, *codec, payload, *closes).await,
            Ask::Frame {
                codec,
                token,
                device,
                payload,
            } => {
                link::frame(
                    &ground.server,
                    *codec,
                    (token, device),
                    payload,
                    ends_connection(self.code),
                )
                .await
            }
            Ask::Http {
                verb,
                path,
                headers,
                body,
            } => ground.api.http(verb, path, headers, body).await,
            Ask::Grpc {
                method,
                headers,
                body,
            } => {
                let method = format!("{SERVICE}/{method}");
                ground.api.grpc(&method, headers, body).await
            }
        };
        let answer = answer.map_err(|error| format!("{error:#}"))?;
        let error = answer.refused(self.code)?;
        if error.field != self.field {
            let (want, field) = (self.field, &error.field);
            return Err(format!("want {want:?}, got {field:?}: {}", error.message));
        }
        Ok(())
    }
}

/// Whether the server ends a connection with this refusal: it cannot tell where the next frame begins, or a Connect came out of turn.
fn ends_connection(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::MalformedFrame | ErrorCode::FrameTooLarge | ErrorCode::FailedPrecondition
    )
}
