//! Frames to bytes and back, in either of the link's two codecs.

use bytes::{Bytes, BytesMut};
pub use flare_proto::client::{
    client_frame::Frame as ClientFrame, server_frame::Frame as ServerFrame,
};
use prost::Message;

pub use self::error::{FrameError, UnknownSubprotocols};
use crate::{
    json,
    wire::{self, Value},
};

mod error;
mod request_id;

const CLIENT_FRAME: &str = "flare.client.v1.ClientFrame";
const SERVER_FRAME: &str = "flare.client.v1.ServerFrame";

/// How the frames of a connection are written, agreed by subprotocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Protobuf, one message a frame.
    #[default]
    Proto,
    /// Proto3 JSON text, for consoles and scripts.
    Json,
}

impl Codec {
    /// Every codec, the default first.
    pub const ALL: [Self; 2] = [Self::Proto, Self::Json];

    /// The subprotocol's name: "flare.v1.proto" or "flare.v1.json".
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Proto => "flare.v1.proto",
            Self::Json => "flare.v1.json",
        }
    }

    /// The codec of a subprotocol's exact name.
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.subprotocol() == name)
    }

    /// The first codec known among those offered; the default if nothing is offered.
    ///
    /// # Errors
    /// If there is an offer, and only of names that are unknown.
    pub fn from_subprotocols<'a>(
        offered: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, UnknownSubprotocols> {
        let mut unknown = Vec::new();
        for name in offered {
            if let Some(codec) = Self::from_subprotocol(name) {
                return Ok(codec);
            }
            unknown.push(name);
        }
        if unknown.is_empty() {
            Ok(Self::default())
        } else {
            Err(UnknownSubprotocols {
                offered: unknown.join(", "),
            })
        }
    }

    /// Whether its frames are text, where a transport tells text from binary.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Json)
    }
}

/// An encoded frame, as a transport takes it. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// One whole frame.
    pub bytes: Bytes,
    /// Whether the bytes are UTF-8 text.
    pub text: bool,
}

/// Reads a client's frame of at most `max_bytes`. Total: any bytes give a frame or an error; memory stays within a small multiple of the frame's size.
/// A frame's `bytes` fields share `bytes`.
///
/// # Errors
/// See [`FrameError`].
pub fn decode_client(
    codec: Codec,
    bytes: Bytes,
    max_bytes: usize,
) -> Result<ClientFrame, FrameError> {
    check_size(&bytes, max_bytes)?;
    match codec {
        Codec::Proto => {
            let read = flare_proto::client::ClientFrame::decode(bytes.clone())
                .map_err(|error| malformed(codec, &bytes, error.to_string()))?;
            read.frame.ok_or_else(|| no_kind(&bytes))
        }
        Codec::Json => {
            let wire = json::json_to_message(CLIENT_FRAME, &bytes)
                .map_err(|error| FrameError::from_json(error, request_id::in_json(&bytes)))?;
            let read = flare_proto::client::ClientFrame::decode(Bytes::from(wire))
                .map_err(|error| malformed(codec, &bytes, error.to_string()))?;
            read.frame.ok_or_else(|| no_kind(&[]))
        }
    }
}

/// Reads a server's frame of at most `max_bytes`. As [`decode_client`], but a JSON frame's `unknown` contents become what they were.
///
/// # Errors
/// See [`FrameError`].
pub fn decode_server(
    codec: Codec,
    bytes: Bytes,
    max_bytes: usize,
) -> Result<ServerFrame, FrameError> {
    check_size(&bytes, max_bytes)?;
    let wire = match codec {
        Codec::Proto => bytes.clone(),
        Codec::Json => json::server_json_to_message(SERVER_FRAME, &bytes)
            .map(Bytes::from)
            .map_err(|error| FrameError::from_json(error, request_id::in_json(&bytes)))?,
    };
    let read = flare_proto::client::ServerFrame::decode(wire.clone())
        .map_err(|error| malformed(codec, &bytes, error.to_string()))?;
    read.frame.ok_or_else(|| match codec {
        Codec::Proto => no_kind(&wire),
        Codec::Json => no_kind_in_json(&bytes),
    })
}

/// Writes a client's frame.
///
/// # Errors
/// Only for JSON: `Unencodable` if bytes within are not what the contract says (a `Call`'s request, a `Send`'s content).
pub fn encode_client(codec: Codec, frame: &ClientFrame) -> Result<Payload, FrameError> {
    let mut wire = BytesMut::with_capacity(frame.encoded_len());
    frame.encode(&mut wire);
    finish(codec, CLIENT_FRAME, wire.freeze())
}

/// Writes a server's frame. Events go by [`crate::deliver`] instead, which encodes each once.
///
/// # Errors
/// Only for JSON: `Unencodable` if bytes within are not what the contract says (a `Reply`'s response, a `Deliver`'s events).
pub fn encode_server(codec: Codec, frame: &ServerFrame) -> Result<Payload, FrameError> {
    let mut wire = BytesMut::with_capacity(frame.encoded_len());
    frame.encode(&mut wire);
    finish(codec, SERVER_FRAME, wire.freeze())
}

fn finish(codec: Codec, name: &str, wire: Bytes) -> Result<Payload, FrameError> {
    let bytes = match codec {
        Codec::Proto => wire,
        Codec::Json => json::message_to_json(name, &wire)
            .map(Bytes::from)
            .map_err(|error| FrameError::Unencodable {
                reason: error.to_string(),
            })?,
    };
    Ok(Payload {
        bytes,
        text: codec.is_text(),
    })
}

fn check_size(bytes: &Bytes, limit: usize) -> Result<(), FrameError> {
    if bytes.len() > limit {
        return Err(FrameError::TooLarge {
            limit,
            actual: bytes.len(),
        });
    }
    Ok(())
}

fn malformed(codec: Codec, bytes: &[u8], reason: String) -> FrameError {
    let request_id = match codec {
        Codec::Proto => request_id::in_proto(bytes),
        Codec::Json => request_id::in_json(bytes),
    };
    FrameError::Malformed { reason, request_id }
}

/// A frame without a kind: a newer one if it has a field that could be one, else nothing at all.
fn no_kind(bytes: &[u8]) -> FrameError {
    let kind = wire::fields(bytes)
        .filter_map(Result::ok)
        .find(|field| matches!(field.value, Value::Bytes(_)));
    match kind {
        Some(field) => FrameError::UnknownKind {
            kind: field.number.to_string(),
            request_id: request_id::in_proto(bytes),
        },
        None => FrameError::Malformed {
            reason: "an empty frame".to_owned(),
            request_id: None,
        },
    }
}

/// As [`no_kind`], of a server's JSON: a kind that this build does not know was passed over.
fn no_kind_in_json(bytes: &[u8]) -> FrameError {
    let frame: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(bytes).unwrap_or_default();
    match frame.into_iter().find(|(_, value)| value.is_object()) {
        Some((kind, _)) => FrameError::UnknownKind {
            kind,
            request_id: request_id::in_json(bytes),
        },
        None => no_kind(&[]),
    }
}

#[cfg(test)]
mod tests;
