//! What is asked of a surface, ready to be sent.

use bytes::{Buf, BufMut, Bytes};
use flare_core::{
    codec::{Codec, Payload},
    json::json_to_message,
};
use flare_proto::{client::CloseReason, descriptor_pool};
use serde_json::{Value, json};
use tonic::{
    Status,
    codec::{DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// The request id of the frame in question.
pub(crate) const FRAME_ID: u32 = 2;

/// Headers of a request, or metadata of a call.
pub(crate) type Headers = Vec<(&'static str, String)>;

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

/// A message of the contract from its JSON.
pub(crate) fn proto(name: &str, json: &Value) -> Vec<u8> {
    json_to_message(name, json.to_string().as_bytes())
        .unwrap_or_else(|error| panic!("{json} is no {name}: {error}"))
}

/// A frame of the client's from its JSON, in either codec.
pub(crate) fn frame(codec: Codec, json: &Value) -> Payload {
    let bytes = match codec {
        Codec::Proto => proto("flare.client.v1.ClientFrame", json),
        Codec::Json => json.to_string().into_bytes(),
    };
    payload(codec, bytes)
}

/// Bytes as the codec's transport takes them.
pub(crate) fn payload(codec: Codec, bytes: impl Into<Bytes>) -> Payload {
    Payload {
        bytes: bytes.into(),
        text: codec.is_text(),
    }
}

/// A `Call` of a client-callable method, named "package.Service/Method".
pub(crate) fn call(method: &str, request: &Value) -> Value {
    let (service, name) = method.split_once('/').expect("service/method");
    let service = descriptor_pool()
        .get_service_by_name(service)
        .expect("a service of the contract");
    let method_of = service
        .methods()
        .find(|it| it.name() == name)
        .expect("a method of the service");
    let mut any = request.clone();
    any["@type"] = json!(format!(
        "type.googleapis.com/{}",
        method_of.input().full_name()
    ));
    json!({"call": {"id": FRAME_ID, "method": method, "request": any}})
}

/// The fields of a message to a conversation: in JSON they are the same in a frame, over HTTP and over gRPC.
pub(crate) fn message(conversation: &str, client_id: &str, text: &str) -> Value {
    json!({"conversationId": conversation, "clientId": client_id, "content": {"text": {"text": text}}})
}

/// A message of the contract as bytes, whatever they are: for requests that no generated client would make.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnyBytes;

impl tonic::codec::Codec for AnyBytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AnyBytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for AnyBytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}
