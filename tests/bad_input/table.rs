//! The table: inputs by surfaces.

mod commands;
mod conversations;
mod frames;
mod identifiers;
mod identity;
mod pages;
mod texts;

use flare_core::codec::Codec;
use flare_proto::{client::CloseReason, common::ErrorCode};
use serde_json::{Value, json};

use crate::{
    ask::{self, Ask},
    cell::Cell,
    ground::Ground,
    surfaces::{
        api::SERVICE,
        link,
        message::{self as wire, FRAME_ID, Headers, bearer},
    },
};

/// An input, and what each surface says to it.
pub(crate) struct Row {
    pub(crate) input: &'static str,
    pub(crate) cells: Vec<Cell>,
}

/// A refusal: its code and the field that it names.
type Refused = (ErrorCode, &'static str);

/// Every row.
pub(crate) fn rows(ground: &Ground) -> Vec<Row> {
    [
        identity::rows(ground),
        conversations::rows(ground),
        commands::rows(ground),
        frames::rows(ground),
        identifiers::rows(ground),
        pages::rows(ground),
        texts::rows(ground),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Row {
    fn new(input: &'static str) -> Self {
        Self {
            input,
            cells: Vec::new(),
        }
    }

    fn cell(mut self, ask: Ask, (code, field): Refused) -> Self {
        self.cells.push(Cell::new(ask, code, field));
        self
    }

    /// On both codecs, a connection's first frame.
    fn first(self, frame: &Value, closes: CloseReason, refused: Refused) -> Self {
        Codec::ALL.into_iter().fold(self, |row, codec| {
            row.cell(
                Ask::First {
                    codec,
                    payload: wire::frame(codec, frame),
                    closes,
                },
                refused,
            )
        })
    }

    /// On both codecs, a Connect with this token and device.
    fn connect(self, token: &str, device: &str, refused: Refused) -> Self {
        self.first(
            &link::connect(token, device),
            CloseReason::Unauthenticated,
            refused,
        )
    }

    /// On both codecs, a frame of Ann's.
    fn frame(self, ground: &Ground, frame: &Value, refused: Refused) -> Self {
        self.frame_of(&ground.tokens.ann, frame, refused)
    }

    /// On both codecs, a frame of the token's user.
    fn frame_of(self, token: &str, frame: &Value, refused: Refused) -> Self {
        Codec::ALL.into_iter().fold(self, |row, codec| {
            let payload = wire::frame(codec, frame);
            row.cell(
                Ask::Frame {
                    codec,
                    token: token.to_owned(),
                    device: "phone".to_owned(),
                    payload,
                },
                refused,
            )
        })
    }

    /// On one codec, bytes of Ann's.
    fn bytes(
        self,
        ground: &Ground,
        codec: Codec,
        bytes: impl Into<bytes::Bytes>,
        refused: Refused,
    ) -> Self {
        let (token, payload) = (ground.tokens.ann.clone(), ask::payload(codec, bytes));
        self.cell(
            Ask::Frame {
                codec,
                token,
                device: "phone".to_owned(),
                payload,
            },
            refused,
        )
    }

    /// On both codecs, a Call by Ann. The method is named "package.Service/Method".
    fn call(self, ground: &Ground, method: &str, request: &Value, refused: Refused) -> Self {
        self.frame(ground, &wire::call(method, request), refused)
    }

    /// A request of Ann's over HTTP.
    fn http(
        self,
        ground: &Ground,
        verb: &'static str,
        path: &str,
        body: Option<&Value>,
        refused: Refused,
    ) -> Self {
        self.http_with(bearer(&ground.tokens.ann), verb, path, body, refused)
    }

    fn http_with(
        self,
        headers: Headers,
        verb: &'static str,
        path: &str,
        body: Option<&Value>,
        refused: Refused,
    ) -> Self {
        let body = body
            .map(|it| it.to_string().into_bytes())
            .unwrap_or_default();
        self.cell(
            Ask::Http {
                verb,
                path: format!("/api/v1{path}"),
                headers,
                body,
            },
            refused,
        )
    }

    /// A call of Ann's over gRPC. The method is one of the gateway's.
    fn grpc(self, ground: &Ground, method: &str, request: &Value, refused: Refused) -> Self {
        self.grpc_with(bearer(&ground.tokens.ann), method, request, refused)
    }

    fn grpc_with(self, headers: Headers, method: &str, request: &Value, refused: Refused) -> Self {
        let service = flare_proto::descriptor_pool().get_service_by_name(SERVICE);
        let method_of = service
            .and_then(|it| it.methods().find(|it| it.name() == method))
            .expect("a method");
        let body = wire::proto(method_of.input().full_name(), request);
        self.cell(
            Ask::Grpc {
                method: method.to_owned(),
                headers,
                body,
            },
            refused,
        )
    }

    /// On every surface, a message of Ann's. Fields as in JSON.
    fn send(self, ground: &Ground, fields: &Value, refused: Refused) -> Self {
        let mut send = fields.clone();
        send["id"] = json!(FRAME_ID);
        self.frame(ground, &json!({"send": send}), refused)
            .http(ground, "POST", "/messages", Some(fields), refused)
            .grpc(ground, "SendMessage", fields, refused)
    }

    /// On every surface, a command of Ann's that frames know as a Call. Over HTTP it is a POST with the fields beside the path's as its body.
    fn command(
        self,
        ground: &Ground,
        method: &str,
        request: &Value,
        http: (&str, &Value),
        refused: Refused,
    ) -> Self {
        let (path, body) = http;
        let name = method.rsplit('/').next().unwrap_or_default();
        self.call(ground, method, request, refused)
            .http(ground, "POST", path, Some(body), refused)
            .grpc(ground, name, request, refused)
    }

    /// On every surface, a read of Ann's. Over HTTP it is a GET.
    fn read(
        self,
        ground: &Ground,
        method: &str,
        request: &Value,
        path: &str,
        refused: Refused,
    ) -> Self {
        let name = method.rsplit('/').next().unwrap_or_default();
        self.call(ground, method, request, refused)
            .http(ground, "GET", path, None, refused)
            .grpc(ground, name, request, refused)
    }
}
