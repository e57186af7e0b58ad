//! What is asked of a surface, ready to be sent.

use bytes::Bytes;
use flare_core::codec::{Codec, Payload};
use flare_proto::client::CloseReason;
use serde_json::{Value, json};

use crate::surfaces::message::Headers;

/// One request.
pub(crate) enum Ask {
    /// The first frame of a connection, which is closed for this reason then.
    First {
        codec: Codec,
        payload: Payload,
        closes: CloseReason,
    },
    /// A frame of a connection that was let in with this token, for this device.
    Frame {
        codec: Codec,
        token: String,
        device: String,
        payload: Payload,
    },
    /// Over HTTP.
    Http {
        verb: &'static str,
        path: String,
        headers: Headers,
        body: Vec<u8>,
    },
    /// A method of the gateway's service, with the bytes of its request.
    Grpc {
        method: String,
        headers: Headers,
        body: Vec<u8>,
    },
}

/// Bytes as the codec's transport takes them.
pub(crate) fn payload(codec: Codec, bytes: impl Into<Bytes>) -> Payload {
    Payload {
        bytes: bytes.into(),
        text: codec.is_text(),
    }
}

/// The fields of a message to a conversation: in JSON they are the same in a frame, over HTTP and over gRPC.
pub(crate) fn message(conversation: &str, client_id: &str, text: &str) -> Value {
    json!({"conversationId": conversation, "clientId": client_id, "content": {"text": {"text": text}}})
}
