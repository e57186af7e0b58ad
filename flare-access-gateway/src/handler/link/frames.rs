//! The server's frames.

pub use flare_core::codec::ServerFrame;
use flare_core::codec::{Codec, Payload, encode_server};
use flare_proto::{client::ErrorFrame, common};
use flare_server_core::error::Refusal;

/// Encodes a frame. One that cannot be shown as JSON becomes the refusal that says so.
pub fn encode(codec: Codec, frame: &ServerFrame) -> Payload {
    encode_server(codec, frame).unwrap_or_else(|error| {
        let id = match frame {
            ServerFrame::Reply(reply) => reply.id,
            _ => 0,
        };
        let refusal = Refusal::internal(error);
        let frame = ServerFrame::Error(ErrorFrame {
            id,
            error: Some(refusal.into()),
            ..ErrorFrame::default()
        });
        // An error frame holds numbers and strings only.
        encode_server(codec, &frame).unwrap_or_else(|_| Payload {
            bytes: bytes::Bytes::new(),
            text: codec.is_text(),
        })
    })
}

/// The refusal of a request, or of nothing in particular: id 0.
pub fn error(id: u32, refusal: impl Into<common::Error>) -> ErrorFrame {
    ErrorFrame {
        id,
        error: Some(refusal.into()),
        ..ErrorFrame::default()
    }
}

/// Counts a refusal on its way out.
pub fn count(error: &ErrorFrame) {
    let code = error
        .error
        .as_ref()
        .map_or("ERROR_CODE_UNSPECIFIED", |it| it.code().as_str_name());
    metrics::counter!("flare_access_gateway_refusals_total", "code" => code).increment(1);
}
