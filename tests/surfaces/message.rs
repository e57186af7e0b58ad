//! Requests from their JSON, as each surface takes them.

use bytes::{Buf, BufMut};
use flare_core::{
    codec::{Codec, Payload},
    json::json_to_message,
};
use flare_proto::descriptor_pool;
use serde_json::{Value, json};
use tonic::{
    Status,
    codec::{DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// The request id of the frame in question.
pub(crate) const FRAME_ID: u32 = 2;

/// Headers of a request, or metadata of a call.
pub(crate) type Headers = Vec<(&'static str, String)>;

/// The headers of a user's token.
pub(crate) fn bearer(token: &str) -> Headers {
    vec![("authorization", format!("Bearer {token}"))]
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
    Payload {
        bytes: bytes.into(),
        text: codec.is_text(),
    }
}

/// A `Call` of a method, named "package.Service/Method".
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
