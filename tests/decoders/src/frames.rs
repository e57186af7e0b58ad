//! The frames of the client link, in both codecs.

use bytes::Bytes;
use flare_core::{
    check::{self, Limits},
    codec::{
        ClientFrame, Codec, FrameError, ServerFrame, decode_client, decode_server, encode_client,
        encode_server,
    },
};
use flare_proto::{
    client::{
        Ack, Call, ClientSignal, Connect, Connected, Deliver, ErrorFrame, Operate, Ping, Pong,
        Position, Recall, Refresh, Reply, Send, SendAck, Sync, SyncHint, SyncRange, Typing,
        Viewing, client_signal, operate,
    },
    common::{Error, ErrorCode},
    message::{Forward, ForwardedMessage, Text, content::Kind},
    session::GetConversationRequest,
};
use prost::Message;

use crate::corpus;

/// The largest frame that is read here.
const MOST_BYTES: usize = 64 * 1024;
/// The longest refusal, whatever it repeats of what was sent.
const MOST_REFUSAL_BYTES: usize = 4 * 1024;

/// Judges a client's frame in protobuf.
pub fn client_proto(bytes: &[u8]) {
    client(Codec::Proto, bytes);
}

/// Judges a client's frame in JSON.
pub fn client_json(bytes: &[u8]) {
    client(Codec::Json, bytes);
}

/// Judges a server's frame in protobuf.
pub fn server_proto(bytes: &[u8]) {
    server(Codec::Proto, bytes);
}

/// Judges a server's frame in JSON.
pub fn server_json(bytes: &[u8]) {
    server(Codec::Json, bytes);
}

fn client(codec: Codec, bytes: &[u8]) {
    let read = decode_client(codec, Bytes::copy_from_slice(bytes), MOST_BYTES);
    let Some(frame) = taken(read, bytes) else {
        return;
    };
    assert_eq!(again(Codec::Proto, &frame).as_ref(), Ok(&frame));
    if codec == Codec::Json {
        assert_eq!(again(Codec::Json, &frame).as_ref(), Ok(&frame));
    } else if let Ok(shown) = again(Codec::Json, &frame) {
        // JSON leaves out fields that this build does not know, and nothing else: once without them, it is as it is.
        assert_eq!(again(Codec::Json, &shown).as_ref(), Ok(&shown));
    }
    check::request_id_of(&frame);
    if let Err(refusal) = check::client_frame(&frame, &Limits::default()) {
        let length = refusal.to_error().encoded_len();
        assert!(length < MOST_REFUSAL_BYTES, "{length} bytes: {refusal}");
    }
}

/// The frame, written in this codec and read again.
fn again(codec: Codec, frame: &ClientFrame) -> Result<ClientFrame, FrameError> {
    let written = encode_client(codec, frame)?;
    decode_client(codec, written.bytes, usize::MAX)
}

fn server(codec: Codec, bytes: &[u8]) {
    let read = decode_server(codec, Bytes::copy_from_slice(bytes), MOST_BYTES);
    let Some(frame) = taken(read, bytes) else {
        return;
    };
    assert_eq!(server_again(Codec::Proto, &frame).as_ref(), Ok(&frame));
    if let Ok(written) = encode_server(Codec::Json, &frame) {
        let has_unknown = written.bytes.windows(9).any(|it| it == b"\"unknown\"");
        let shown = decode_server(Codec::Json, written.bytes, usize::MAX);
        let shown = shown.expect("what this build writes it reads");
        let again = server_again(Codec::Json, &shown);
        // `contract_wire` judges contents that are not known here.
        assert!(has_unknown || again.as_ref() == Ok(&shown), "{shown:?}");
    }
}

fn server_again(codec: Codec, frame: &ServerFrame) -> Result<ServerFrame, FrameError> {
    let written = encode_server(codec, frame)?;
    decode_server(codec, written.bytes, usize::MAX)
}

/// The frame; if it was refused, judges the refusal.
fn taken<T>(read: Result<T, FrameError>, bytes: &[u8]) -> Option<T> {
    let error = match read {
        Ok(frame) => return Some(frame),
        Err(error) => error,
    };
    let is_large = bytes.len() > MOST_BYTES;
    assert_eq!(matches!(error, FrameError::TooLarge { .. }), is_large);
    assert!(!matches!(error, FrameError::Unencodable { .. }), "{error}");
    let answer = ServerFrame::Error(error.to_frame());
    for codec in Codec::ALL {
        let written = encode_server(codec, &answer).expect("a refusal is written");
        let length = written.bytes.len();
        assert!(length < MOST_REFUSAL_BYTES, "{length} bytes: {error}");
        assert_eq!(
            decode_server(codec, written.bytes, MOST_BYTES).as_ref(),
            Ok(&answer)
        );
    }
    None
}

fn client_examples() -> Vec<ClientFrame> {
    let request = GetConversationRequest {
        context: None,
        conversation_id: "team".to_owned(),
    };
    let forwarded = ForwardedMessage {
        content: Some(flare_proto::message::Content {
            kind: Some(Kind::Text(Text {
                text: "before".to_owned(),
            })),
            ..Default::default()
        }),
        ..ForwardedMessage::default()
    };
    let forward = Kind::Forward(Forward {
        messages: vec![forwarded],
        ..Forward::default()
    });
    let send = |content| {
        ClientFrame::Send(Send {
            id: 3,
            conversation_id: "team".to_owned(),
            client_id: "m1".to_owned(),
            content,
            trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            ..Send::default()
        })
    };
    vec![
        ClientFrame::Connect(Connect {
            id: 1,
            token: "a.b.c".to_owned(),
            device_id: "phone".to_owned(),
            platform: "web".to_owned(),
            sdk_version: "1".to_owned(),
            ..Connect::default()
        }),
        ClientFrame::Ping(Ping { id: 2 }),
        send(corpus::text("héllo")),
        send(corpus::content(forward)),
        // A kind that this build does not know.
        send(Bytes::from_static(&[0x72, 0x03, 0x0a, 0x01, 0x61])),
        ClientFrame::Operate(Operate {
            id: 4,
            conversation_id: "team".to_owned(),
            client_id: "m2".to_owned(),
            abandons: "m1".to_owned(),
            operation: Some(operate::Operation::Recall(Recall { seq: 7 })),
            ..Operate::default()
        }),
        ClientFrame::Ack(Ack {
            positions: vec![Position {
                conversation_id: "team".to_owned(),
                seq: 9,
            }],
        }),
        ClientFrame::Sync(Sync {
            id: 5,
            ranges: vec![SyncRange {
                conversation_id: "team".to_owned(),
                after_seq: 9,
                limit: Some(50),
            }],
        }),
        ClientFrame::Call(Call {
            id: 6,
            method: "flare.session.v1.SessionService/GetConversation".to_owned(),
            request: Some(prost_types::Any {
                type_url: "type.googleapis.com/flare.session.v1.GetConversationRequest".to_owned(),
                value: request.encode_to_vec(),
            }),
        }),
        ClientFrame::Signal(ClientSignal {
            conversation_id: "team".to_owned(),
            signal: Some(client_signal::Signal::Typing(Typing::default())),
        }),
        ClientFrame::Signal(ClientSignal {
            conversation_id: "team".to_owned(),
            signal: Some(client_signal::Signal::Viewing(Viewing { active: true })),
        }),
        ClientFrame::Refresh(Refresh {
            id: 8,
            token: "a.b.c".to_owned(),
        }),
    ]
}

fn server_examples() -> Vec<ServerFrame> {
    let event = |content| Bytes::from(corpus::event(7, content).encode_to_vec());
    let error = Error {
        code: ErrorCode::RateLimited.into(),
        message: "slower".to_owned(),
        retry_after_ms: 5,
        ..Error::default()
    };
    vec![
        ServerFrame::Connected(Connected {
            server_time_ms: 1_700_000_000_000,
            heartbeat_ms: 30_000,
            ..Connected::default()
        }),
        ServerFrame::Pong(Pong::default()),
        ServerFrame::SendAck(SendAck {
            seq: 7,
            message_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            ..SendAck::default()
        }),
        ServerFrame::Error(ErrorFrame {
            id: 3,
            error: Some(error),
            ..ErrorFrame::default()
        }),
        ServerFrame::Deliver(Deliver {
            events: vec![
                event(corpus::text("hello")),
                event(Bytes::from_static(&[0x72, 0x01, 0x78])),
            ],
        }),
        ServerFrame::SyncHint(SyncHint {
            conversation_ids: vec!["team".to_owned()],
            head_seqs: vec![7],
        }),
        ServerFrame::Reply(Reply {
            id: 6,
            response: Some(prost_types::Any {
                type_url: "type.googleapis.com/flare.client.v1.Position".to_owned(),
                value: Position {
                    conversation_id: "team".to_owned(),
                    seq: 3,
                }
                .encode_to_vec(),
            }),
        }),
    ]
}

fn written<T>(
    frames: Vec<T>,
    codec: Codec,
    encode: fn(Codec, &T) -> Result<flare_core::codec::Payload, FrameError>,
) -> Vec<Vec<u8>> {
    let written = frames.iter().map(|it| encode(codec, it));
    written
        .map(|it| it.expect("an example is written").bytes.to_vec())
        .collect()
}

/// Every kind of a client's frame in protobuf.
pub fn client_proto_corpus() -> Vec<Vec<u8>> {
    written(client_examples(), Codec::Proto, encode_client)
}

/// Every kind of a client's frame in JSON.
pub fn client_json_corpus() -> Vec<Vec<u8>> {
    written(client_examples(), Codec::Json, encode_client)
}

/// Kinds of a server's frame in protobuf.
pub fn server_proto_corpus() -> Vec<Vec<u8>> {
    written(server_examples(), Codec::Proto, encode_server)
}

/// Kinds of a server's frame in JSON.
pub fn server_json_corpus() -> Vec<Vec<u8>> {
    written(server_examples(), Codec::Json, encode_server)
}
