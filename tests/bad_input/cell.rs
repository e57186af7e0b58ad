//! One cell of the table: an input on a surface, and the refusal that it gets.

use std::fmt;

use anyhow::Context;
use flare_core::codec::Codec;
use flare_proto::{common::ErrorCode, storage::ReadRangesResponse};
use prost::Message;
use tonic::{client::Grpc, metadata::MetadataValue};

use crate::{
    answer::Answer,
    ask::{AnyBytes, Ask},
    ground::Ground,
    link,
};

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
            } => link::first(ground, *codec, payload, *closes).await,
            Ask::Frame {
                codec,
                token,
                device,
                payload,
            } => {
                link::frame(
                    ground,
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
            } => http(ground, verb, path, headers, body).await,
            Ask::Grpc {
                method,
                headers,
                body,
            } => grpc(ground, method, headers, body).await,
        };
        answer
            .map_err(|error| format!("{error:#}"))?
            .is(self.code, self.field)
    }
}

/// Whether the server ends a connection with this refusal: it cannot tell where the next frame begins, or a Connect came out of turn.
fn ends_connection(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::MalformedFrame | ErrorCode::FrameTooLarge | ErrorCode::FailedPrecondition
    )
}

async fn http(
    ground: &Ground,
    verb: &str,
    path: &str,
    headers: &[(&'static str, String)],
    body: &[u8],
) -> anyhow::Result<Answer> {
    let url = format!("{}{path}", ground.server.api());
    let mut request = ground.http.request(verb.parse()?, url).body(body.to_vec());
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let response = request.send().await?;
    let status = response.status().as_u16();
    Answer::of_http(status, &response.text().await?)
}

async fn grpc(
    ground: &Ground,
    method: &str,
    headers: &[(&'static str, String)],
    body: &[u8],
) -> anyhow::Result<Answer> {
    let mut client = Grpc::new(ground.channel.clone());
    client.ready().await?;
    let mut request = tonic::Request::new(body.to_vec());
    for (name, value) in headers {
        request
            .metadata_mut()
            .insert(*name, MetadataValue::try_from(value).context(*name)?);
    }
    let path = format!("/flare.gateway.v1.CoreGatewayService/{method}").parse()?;
    match client.unary(request, path, AnyBytes).await {
        Ok(response) if method == "ReadRanges" => of_ranges(response.get_ref()),
        Ok(response) => Ok(Answer::Done(format!("{:?}", response.into_inner()))),
        Err(status) => Answer::of_grpc(status),
    }
}

/// Each range has its own outcome.
pub(crate) fn of_ranges(response: &[u8]) -> anyhow::Result<Answer> {
    let response = ReadRangesResponse::decode(response)?;
    let refused = response.ranges.iter().find_map(|it| it.error.clone());
    Ok(refused.map_or_else(|| Answer::Done(format!("{response:?}")), Answer::Refused))
}
