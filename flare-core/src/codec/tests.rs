use flare_proto::{
    client::{
        Ack, Call, Connect, Deliver, ErrorFrame, Operate, Ping, Position, Recall, Reply, Send,
        Sync, SyncHint, SyncRange, operate,
    },
    common::ErrorCode,
    message::{Content, Event, EventBody, EventHeader, MessageCreated, Text, content, event_body},
};
use proptest::prelude::*;

use super::*;

const MAX: usize = 64 * 1024;

fn text(text: &str) -> Bytes {
    let kind = content::Kind::Text(Text {
        text: text.to_owned(),
    });
    Content {
        kind: Some(kind),
        ..Content::default()
    }
    .encode_to_vec()
    .into()
}

fn event(seq: u64, content: Bytes) -> Bytes {
    let body = event_body::Body::MessageCreated(MessageCreated { content });
    Event {
        header: Some(EventHeader {
            conversation_id: "team".to_owned(),
            seq,
            ..EventHeader::default()
        }),
        body: EventBody { body: Some(body) }.encode_to_vec().into(),
    }
    .encode_to_vec()
    .into()
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let name = "[a-zA-Z0-9._:@+=~-]{1,20}";
    prop_oneof![
        (any::<u32>(), ".*", name).prop_map(|(id, token, device_id)| {
            ClientFrame::Connect(Connect {
                id,
                token,
                device_id,
                ..Connect::default()
            })
        }),
        any::<u32>().prop_map(|id| ClientFrame::Ping(Ping { id })),
        (any::<u32>(), name, name, ".*").prop_map(|(id, conversation_id, client_id, said)| {
            ClientFrame::Send(Send {
                id,
                conversation_id,
                client_id,
                content: text(&said),
                ..Send::default()
            })
        }),
        (any::<u32>(), name, any::<u64>()).prop_map(|(id, conversation_id, seq)| {
            let operation = Some(operate::Operation::Recall(Recall { seq }));
            ClientFrame::Operate(Operate {
                id,
                conversation_id,
                operation,
                ..Operate::default()
            })
        }),
        proptest::collection::vec((name, any::<u64>()), 0..5).prop_map(|positions| {
            let positions = positions
                .into_iter()
                .map(|(conversation_id, seq)| Position {
                    conversation_id,
                    seq,
                })
                .collect();
            ClientFrame::Ack(Ack { positions })
        }),
        (
            any::<u32>(),
            name,
            any::<u64>(),
            proptest::option::of(any::<u32>())
        )
            .prop_map(|(id, conversation_id, after_seq, limit)| {
                let ranges = vec![SyncRange {
                    conversation_id,
                    after_seq,
                    limit,
                }];
                ClientFrame::Sync(Sync { id, ranges })
            }),
    ]
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let name = "[a-zA-Z0-9._:@+=~-]{1,20}";
    prop_oneof![
        (1_u64..1 << 53, ".*").prop_map(|(seq, said)| {
            ServerFrame::Deliver(Deliver {
                events: vec![event(seq, text(&said))],
            })
        }),
        proptest::collection::vec((name, 0_u64..1 << 53), 0..4).prop_map(|named| {
            let (conversation_ids, head_seqs) = named.into_iter().unzip();
            ServerFrame::SyncHint(SyncHint {
                conversation_ids,
                head_seqs,
            })
        }),
        (any::<u32>(), ".*").prop_map(|(id, message)| {
            let error = flare_proto::common::Error {
                code: ErrorCode::RateLimited.into(),
                message,
                retry_after_ms: 5,
                ..Default::default()
            };
            ServerFrame::Error(ErrorFrame {
                id,
                error: Some(error),
                ..ErrorFrame::default()
            })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for codec in Codec::ALL {
            let _ = decode_client(codec, Bytes::from(bytes.clone()), MAX);
            let _ = decode_server(codec, Bytes::from(bytes.clone()), MAX);
        }
    }

    #[test]
    fn any_text_is_a_frame_or_an_error(text in r#"[\{\}\[\]":,a-zA-Z0-9@. \\]{0,200}"#) {
        let _ = decode_client(Codec::Json, Bytes::from(text.clone()), MAX);
        let _ = decode_server(Codec::Json, Bytes::from(text), MAX);
    }

    #[test]
    fn a_damaged_frame_is_a_frame_or_an_error(
        frame in client_frame(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        for codec in Codec::ALL {
            let mut bytes = encode_client(codec, &frame).expect("encodes").bytes.to_vec();
            if bytes.is_empty() { continue; }
            for (at, with) in &flips {
                let at = at.index(bytes.len());
                bytes[at] ^= with;
            }
            let _ = decode_client(codec, Bytes::from(bytes.clone()), MAX);
            bytes.truncate(cut.index(bytes.len()));
            let _ = decode_client(codec, Bytes::from(bytes), MAX);
        }
    }

    #[test]
    fn a_clients_frame_comes_back_as_it_was(frame in client_frame()) {
        for codec in Codec::ALL {
            let payload = encode_client(codec, &frame).expect("encodes");
            prop_assert_eq!(payload.text, codec == Codec::Json);
            let back = decode_client(codec, payload.bytes, MAX).expect("decodes");
            prop_assert_eq!(&back, &frame);
        }
    }

    #[test]
    fn a_servers_frame_comes_back_as_it_was(frame in server_frame()) {
        for codec in Codec::ALL {
            let payload = encode_server(codec, &frame).expect("encodes");
            let back = decode_server(codec, payload.bytes, MAX).expect("decodes");
            prop_assert_eq!(&back, &frame);
        }
    }

    #[test]
    fn an_unknown_content_kind_arrives_byte_for_byte(
        kind in 14_u32..20,
        inside in proptest::collection::vec(any::<u8>(), 0..50),
        fallback in ".{0,20}",
    ) {
        let mut content = Vec::new();
        prost::encoding::string::encode(20, &fallback, &mut content);
        prost::encoding::bytes::encode(kind, &inside, &mut content);
        let frame = ServerFrame::Deliver(Deliver { events: vec![event(1, content.into())] });
        for codec in Codec::ALL {
            let payload = encode_server(codec, &frame).expect("encodes");
            let back = decode_server(codec, payload.bytes, MAX).expect("decodes");
            prop_assert_eq!(&back, &frame);
        }
    }
}

#[test]
fn protobuf_is_the_default_and_only_unknown_names_are_refused() {
    assert_eq!(Codec::from_subprotocols([]), Ok(Codec::Proto));
    assert_eq!(
        Codec::from_subprotocols(["x", "flare.v1.json", "flare.v1.proto"]),
        Ok(Codec::Json)
    );
    let error = Codec::from_subprotocols(["chat", "FLARE.V1.JSON"]).expect_err("unknown");
    assert!(error.to_string().contains("flare.v1.json") && error.to_string().contains("chat"));
}

#[test]
fn a_frame_too_large_is_not_read() {
    let error = decode_client(Codec::Proto, Bytes::from(vec![0; 11]), 10).expect_err("too large");
    assert_eq!(
        error,
        FrameError::TooLarge {
            limit: 10,
            actual: 11
        }
    );
    assert_eq!(error.code(), ErrorCode::FrameTooLarge);
    assert!(error.closes());
}

#[test]
fn a_truncated_frame_is_malformed_and_keeps_its_id() {
    let frame = ClientFrame::Send(Send {
        id: 9,
        client_id: "c".repeat(30),
        ..Send::default()
    });
    let whole = encode_client(Codec::Proto, &frame).expect("encodes").bytes;
    let error = decode_client(Codec::Proto, whole.slice(..20), MAX).expect_err("cut off");
    assert_eq!(
        (error.code(), error.request_id()),
        (ErrorCode::MalformedFrame, 9)
    );
    assert!(error.closes());
}

#[test]
fn an_empty_frame_is_malformed_and_an_unknown_kind_is_named() {
    for (codec, empty) in [(Codec::Proto, ""), (Codec::Json, "{}")] {
        let error = decode_client(codec, Bytes::from(empty), MAX).expect_err("empty");
        assert_eq!(error.code(), ErrorCode::MalformedFrame);
    }
    // Field 60, with id 5 within.
    let newer = Bytes::from_static(&[0xe2, 0x03, 0x02, 0x08, 0x05]);
    let error = decode_client(Codec::Proto, newer, MAX).expect_err("unknown kind");
    assert_eq!(
        error,
        FrameError::UnknownKind {
            kind: "60".to_owned(),
            request_id: Some(5)
        }
    );
    let newer = Bytes::from_static(br#"{"wave":{"id":5}}"#);
    let error = decode_client(Codec::Json, newer, MAX).expect_err("unknown kind");
    assert_eq!(
        error,
        FrameError::UnknownKind {
            kind: "wave".to_owned(),
            request_id: Some(5)
        }
    );
    assert_eq!(
        (error.code(), error.closes()),
        (ErrorCode::Unimplemented, false)
    );
}

#[test]
fn fields_of_a_json_frame_are_named_from_the_request_down() {
    let read = |json: &str| {
        decode_client(Codec::Json, Bytes::from(json.to_owned()), MAX).expect_err("refused")
    };
    let error = read(r#"{"send":{"id":3,"sender":"eve"}}"#);
    assert_eq!((error.field(), error.request_id()), ("sender", 3));
    let error = read(r#"{"send":{"id":3,"conversationId":["team"]}}"#);
    assert_eq!(
        (error.field(), error.code()),
        ("conversation_id", ErrorCode::InvalidArgument)
    );
    let error = read(r#"{"send":{"id":3,"content":{"unknown":{"kind":14,"base64":"AA=="}}}}"#);
    assert_eq!(
        (error.field(), error.code()),
        ("content.unknown", ErrorCode::InvalidArgument)
    );
    assert!(!error.closes());
}

#[test]
fn what_a_newer_server_says_is_passed_over_and_an_unknown_kind_is_named() {
    let newer =
        Bytes::from_static(br#"{"syncHint":{"conversationIds":["team"],"why":"slow"},"n":1}"#);
    let hint = SyncHint {
        conversation_ids: vec!["team".to_owned()],
        ..SyncHint::default()
    };
    assert_eq!(
        decode_server(Codec::Json, newer, MAX),
        Ok(ServerFrame::SyncHint(hint))
    );
    let newer = Bytes::from_static(br#"{"wave":{"id":5}}"#);
    let error = decode_server(Codec::Json, newer, MAX).expect_err("unknown kind");
    assert_eq!(
        error,
        FrameError::UnknownKind {
            kind: "wave".to_owned(),
            request_id: Some(5)
        }
    );
    assert!(!error.closes());
    let empty = decode_server(Codec::Json, Bytes::from_static(b"{}"), MAX).expect_err("empty");
    assert_eq!(empty.code(), ErrorCode::MalformedFrame);
}

#[test]
fn protobuf_ignores_unknown_fields() {
    // Ping{id = 5} with field 777 within it and beside it.
    let bytes = Bytes::from_static(&[
        0x12, 0x06, 0x08, 0x05, 0xca, 0x30, 0x01, 0x78, 0xca, 0x30, 0x00,
    ]);
    assert_eq!(
        decode_client(Codec::Proto, bytes, MAX),
        Ok(ClientFrame::Ping(Ping { id: 5 }))
    );
}

#[test]
fn a_call_bears_its_request_by_type_in_json() {
    let json = r#"{"call":{"id":1,"method":"flare.session.v1.SessionService/GetConversation","request":{"@type":"type.googleapis.com/flare.session.v1.GetConversationRequest","conversationId":"team"}}}"#;
    let frame = decode_client(Codec::Json, Bytes::from(json), MAX).expect("decodes");
    let ClientFrame::Call(Call {
        request: Some(request),
        ..
    }) = &frame
    else {
        panic!("{frame:?}");
    };
    let inner = flare_proto::session::GetConversationRequest::decode(request.value.as_slice());
    assert_eq!(inner.expect("decodes").conversation_id, "team");
    assert_eq!(
        encode_client(Codec::Json, &frame).expect("encodes").bytes,
        json
    );
}

#[test]
fn a_reply_shows_contents_that_are_unknown() {
    let unknown = Bytes::from_static(&[0x72, 0x01, 0x78]);
    let response = flare_proto::storage::ReadRangesResponse {
        ranges: vec![flare_proto::storage::RangeResult {
            events: vec![event(1, unknown.clone()), event(2, text("x"))],
            ..Default::default()
        }],
    };
    let response = prost_types::Any {
        type_url: "type.googleapis.com/flare.storage.v1.ReadRangesResponse".to_owned(),
        value: response.encode_to_vec(),
    };
    let frame = ServerFrame::Reply(Reply {
        id: 1,
        response: Some(response),
    });
    let payload = encode_server(Codec::Json, &frame).expect("encodes");
    let shown = String::from_utf8(payload.bytes.to_vec()).expect("text");
    assert!(
        shown.contains(r#""unknown":{"kind":14,"base64":"cgF4"}"#),
        "{shown}"
    );
    assert_eq!(decode_server(Codec::Json, payload.bytes, MAX), Ok(frame));
}

#[test]
fn a_content_nested_without_end_is_shown_as_unknown() {
    let mut content = Content {
        kind: Some(content::Kind::Text(Text {
            text: "core".to_owned(),
        })),
        ..Content::default()
    }
    .encode_to_vec();
    for _ in 0..40 {
        let mut forwarded = Vec::new();
        prost::encoding::bytes::encode(4, &content, &mut forwarded);
        let mut forward = Vec::new();
        prost::encoding::bytes::encode(2, &forwarded, &mut forward);
        content.clear();
        prost::encoding::bytes::encode(9, &forward, &mut content);
    }
    let frame = ServerFrame::Deliver(Deliver {
        events: vec![event(1, content.into())],
    });
    let payload = encode_server(Codec::Json, &frame).expect("encodes");
    assert_eq!(decode_server(Codec::Json, payload.bytes, MAX), Ok(frame));
}

#[test]
fn an_event_of_an_unknown_kind_does_not_hinder_json() {
    let event = Event {
        header: Some(EventHeader {
            seq: 4,
            kind: 99,
            ..EventHeader::default()
        }),
        body: Bytes::from_static(&[0xe2, 0x03, 0x01, 0x78]),
    };
    let frame = ServerFrame::Deliver(Deliver {
        events: vec![event.encode_to_vec().into()],
    });
    let payload = encode_server(Codec::Json, &frame).expect("encodes");
    let shown = String::from_utf8(payload.bytes.to_vec()).expect("text");
    assert_eq!(
        shown,
        r#"{"deliver":{"events":[{"header":{"seq":"4","kind":99},"body":{}}]}}"#
    );
}
