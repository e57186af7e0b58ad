use flare_proto::{
    client::{Ping, Position, Recall, SyncRange, Typing, Viewing, client_signal},
    message::{
        Audio, Card, Content, Custom, Encrypted, File, Forward, ForwardedMessage, Image, Location,
        Mention, Notice, Quote, Sticker, Text, Video, content::Kind,
    },
};
use prost::Message;

use super::*;

fn text(text: &str) -> Content {
    Content {
        kind: Some(Kind::Text(Text {
            text: text.to_owned(),
        })),
        ..Content::default()
    }
}

fn a_send() -> Send {
    Send {
        id: 1,
        conversation_id: "team".to_owned(),
        client_id: "01J".to_owned(),
        content: text("hello").encode_to_vec().into(),
        ..Send::default()
    }
}

fn checked(frame: Frame) -> Result<(), (ErrorCode, String)> {
    client_frame(&frame, &Limits::default()).map_err(|it| (it.code, it.field.into_owned()))
}

fn invalid(field: &str) -> Result<(), (ErrorCode, String)> {
    Err((ErrorCode::InvalidArgument, field.to_owned()))
}

fn with_content(content: &[u8]) -> Frame {
    Frame::Send(Send {
        content: content.to_vec().into(),
        ..a_send()
    })
}

#[test]
fn a_send_names_one_target() {
    assert_eq!(checked(Frame::Send(a_send())), Ok(()));
    let to_user = Send {
        conversation_id: String::new(),
        user_id: "bob".to_owned(),
        ..a_send()
    };
    assert_eq!(checked(Frame::Send(to_user)), Ok(()));
    let both = Send {
        user_id: "bob".to_owned(),
        ..a_send()
    };
    assert_eq!(checked(Frame::Send(both)), invalid("user_id"));
    let none = Send {
        conversation_id: String::new(),
        ..a_send()
    };
    assert_eq!(checked(Frame::Send(none)), invalid("conversation_id"));
    let path = Send {
        conversation_id: "../etc".to_owned(),
        ..a_send()
    };
    assert_eq!(checked(Frame::Send(path)), invalid("conversation_id"));
}

#[test]
fn a_commands_ids_are_checked() {
    assert_eq!(
        checked(Frame::Send(Send { id: 0, ..a_send() })),
        invalid("id")
    );
    assert_eq!(checked(Frame::Ping(Ping { id: 0 })), invalid("id"));
    for bad in ["", "a\nb", "flare:1"] {
        let send = Send {
            client_id: bad.to_owned(),
            ..a_send()
        };
        assert_eq!(checked(Frame::Send(send)), invalid("client_id"), "{bad:?}");
    }
    for bad in ["a b", "01J"] {
        let send = Send {
            abandons: bad.to_owned(),
            ..a_send()
        };
        assert_eq!(checked(Frame::Send(send)), invalid("abandons"), "{bad:?}");
    }
    for bad in ["abc", &"g".repeat(32), &"0".repeat(32), &"a".repeat(33)] {
        let send = Send {
            trace_id: bad.to_owned(),
            ..a_send()
        };
        assert_eq!(checked(Frame::Send(send)), invalid("trace_id"), "{bad}");
    }
    let traced = Send {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
        ..a_send()
    };
    assert_eq!(checked(Frame::Send(traced)), Ok(()));
}

#[test]
fn a_content_has_a_kind_that_may_be_unknown() {
    assert_eq!(checked(with_content(b"")), invalid("content"));
    assert_eq!(checked(with_content(&[0x0a, 0x09])), invalid("content"));
    assert_eq!(
        checked(with_content(b"no protobuf at all")),
        invalid("content")
    );
    let kindless = Content {
        fallback: "x".to_owned(),
        ..Content::default()
    };
    assert_eq!(
        checked(with_content(&kindless.encode_to_vec())),
        invalid("content")
    );
    assert_eq!(checked(with_content(&[0x72, 0x01, 0x78])), Ok(()));
    assert_eq!(
        checked(with_content(&text("").encode_to_vec())),
        invalid("content.text.text")
    );
}

#[test]
fn unknown_is_not_a_clients_to_send() {
    let unknown = Some(flare_proto::message::UnknownContent::default());
    let content = Content {
        unknown,
        ..text("x")
    };
    assert_eq!(
        checked(with_content(&content.encode_to_vec())),
        invalid("content.unknown")
    );
}

#[test]
fn a_content_is_bounded_in_bytes_mentions_and_depth() {
    let limits = Limits::default();
    // The text's two tags and lengths take 8 bytes.
    let largest = text(&"x".repeat(limits.max_content_bytes - 8)).encode_to_vec();
    assert_eq!(largest.len(), limits.max_content_bytes);
    assert_eq!(checked(with_content(&largest)), Ok(()));
    let larger = text(&"x".repeat(limits.max_content_bytes - 7)).encode_to_vec();
    let refused = Err((ErrorCode::ContentTooLarge, "content".to_owned()));
    assert_eq!(checked(with_content(&larger)), refused);

    let mention = Mention {
        user_id: "bob".to_owned(),
        ..Mention::default()
    };
    let mentions = |count| {
        Content {
            mentions: vec![mention.clone(); count],
            ..text("x")
        }
        .encode_to_vec()
    };
    assert_eq!(checked(with_content(&mentions(50))), Ok(()));
    let refused = Err((ErrorCode::LimitExceeded, "content.mentions".to_owned()));
    assert_eq!(checked(with_content(&mentions(51))), refused);
    let nobody = Content {
        mentions: vec![Mention::default()],
        ..text("x")
    };
    let refused = invalid("content.mentions.user_id");
    assert_eq!(checked(with_content(&nobody.encode_to_vec())), refused);

    let forwarded = |depth: usize| {
        (0..depth).fold(text("x"), |content, _| {
            let message = ForwardedMessage {
                content: Some(content),
                ..ForwardedMessage::default()
            };
            let forward = Forward {
                messages: vec![message],
                ..Forward::default()
            };
            Content {
                kind: Some(Kind::Forward(forward)),
                ..Content::default()
            }
        })
    };
    let deepest = forwarded(MAX_DEPTH).encode_to_vec();
    assert_eq!(checked(with_content(&deepest)), Ok(()));
    let deeper = forwarded(MAX_DEPTH + 1).encode_to_vec();
    assert_eq!(checked(with_content(&deeper)), invalid("content.forward"));
}

#[test]
fn forwarded_messages_are_counted_wherever_they_stand() {
    let forward = |messages: Vec<ForwardedMessage>| Content {
        kind: Some(Kind::Forward(Forward {
            messages,
            ..Forward::default()
        })),
        ..Content::default()
    };
    let empty = |count| vec![ForwardedMessage::default(); count];
    let holding = |content| ForwardedMessage {
        content: Some(content),
        ..ForwardedMessage::default()
    };
    let of = |content: Content| checked(with_content(&content.encode_to_vec()));
    let refused = Err((ErrorCode::LimitExceeded, "content.forward".to_owned()));
    assert_eq!(of(forward(empty(MAX_FORWARDED))), Ok(()));
    assert_eq!(of(forward(empty(MAX_FORWARDED + 1))), refused);
    // Two of them hold the others.
    let halves = |half| {
        forward(vec![
            holding(forward(empty(half))),
            holding(forward(empty(half))),
        ])
    };
    assert_eq!(of(halves(MAX_FORWARDED / 2 - 1)), Ok(()));
    assert_eq!(of(halves(MAX_FORWARDED / 2)), refused);
    let mentions = Content {
        mentions: vec![Mention::default(); 51],
        ..text("x")
    };
    let refused = Err((ErrorCode::LimitExceeded, "content.mentions".to_owned()));
    assert_eq!(of(forward(vec![holding(mentions)])), refused);
}

#[test]
fn a_forwarded_content_of_a_later_build_passes() {
    // forward { messages { content { 14: "" } } }
    let later = [0x4a, 0x06, 0x12, 0x04, 0x22, 0x02, 0x72, 0x00];
    assert_eq!(checked(with_content(&later)), Ok(()));
    // forward { messages { content { mention_all: true } } }
    let none = [0x4a, 0x07, 0x12, 0x05, 0x22, 0x03, 0xb0, 0x01, 0x01];
    assert_eq!(checked(with_content(&none)), invalid("content"));
}

#[test]
fn a_content_has_what_its_kind_needs_wherever_it_stands() {
    let of = |kind| Content {
        kind: Some(kind),
        ..Content::default()
    };
    let forwarding = |content| {
        of(Kind::Forward(Forward {
            messages: vec![ForwardedMessage {
                content: Some(content),
                ..ForwardedMessage::default()
            }],
            ..Forward::default()
        }))
    };
    let nobody = Content {
        mentions: vec![Mention::default()],
        ..text("x")
    };
    let good = forwarding(text("x")).encode_to_vec();
    assert_eq!(checked(with_content(&good)), Ok(()));
    for (content, field) in [
        (Content::default(), "content"),
        (text(""), "content.text.text"),
        (of(Kind::Image(Image::default())), "content.image.url"),
        (of(Kind::Audio(Audio::default())), "content.audio.url"),
        (of(Kind::Video(Video::default())), "content.video.url"),
        (of(Kind::File(File::default())), "content.file.url"),
        (
            of(Kind::Forward(Forward::default())),
            "content.forward.messages",
        ),
        (of(Kind::Quote(Quote::default())), "content.quote.text"),
        (of(Kind::Notice(Notice::default())), "content.notice.text"),
        (of(Kind::Custom(Custom::default())), "content.custom.type"),
        (nobody, "content.mentions.user_id"),
    ] {
        let forwarded = forwarding(content.clone());
        for content in [content, forwarded] {
            let bytes = content.encode_to_vec();
            assert_eq!(checked(with_content(&bytes)), invalid(field), "{content:?}");
        }
    }
    for kind in [
        Kind::Location(Location::default()),
        Kind::Card(Card::default()),
        Kind::Sticker(Sticker::default()),
        Kind::Encrypted(Encrypted::default()),
    ] {
        let bytes = of(kind).encode_to_vec();
        assert_eq!(checked(with_content(&bytes)), Ok(()));
    }
}

const MAX_FORWARDED: usize = crate::content::MAX_FORWARDED;
const MAX_DEPTH: usize = crate::content::MAX_FORWARD_DEPTH;

#[test]
fn an_operate_has_an_operation() {
    let operation = |operation| {
        Frame::Operate(Operate {
            id: 1,
            conversation_id: "team".to_owned(),
            client_id: "c".to_owned(),
            operation,
            ..Operate::default()
        })
    };
    let recall = |seq| Some(operate::Operation::Recall(Recall { seq }));
    assert_eq!(checked(operation(None)), invalid("operation"));
    assert_eq!(checked(operation(recall(0))), invalid("recall.seq"));
    assert_eq!(checked(operation(recall(1 << 53))), invalid("recall.seq"));
    assert_eq!(checked(operation(recall(1))), Ok(()));
}

#[test]
fn a_sync_has_1_to_50_ranges_of_1_to_200() {
    let range = SyncRange {
        conversation_id: "team".to_owned(),
        after_seq: 0,
        limit: None,
    };
    let sync = |ranges| Frame::Sync(Sync { id: 1, ranges });
    assert_eq!(checked(sync(vec![])), invalid("ranges"));
    assert_eq!(checked(sync(vec![range.clone(); 50])), Ok(()));
    assert_eq!(checked(sync(vec![range.clone(); 51])), invalid("ranges"));
    for (limit, result) in [
        (Some(0), invalid("ranges.limit")),
        (Some(1), Ok(())),
        (Some(200), Ok(())),
        (Some(201), invalid("ranges.limit")),
        (Some(1_000_000_000), invalid("ranges.limit")),
    ] {
        assert_eq!(
            checked(sync(vec![SyncRange {
                limit,
                ..range.clone()
            }])),
            result,
            "{limit:?}"
        );
    }
    let beyond = SyncRange {
        after_seq: u64::MAX,
        ..range
    };
    assert_eq!(checked(sync(vec![beyond])), invalid("ranges.after_seq"));
}

#[test]
fn an_ack_names_conversations_and_seqs() {
    let ack = |id: &str, seq, count| {
        let position = Position {
            conversation_id: id.to_owned(),
            seq,
        };
        Frame::Ack(Ack {
            positions: vec![position; count],
        })
    };
    assert_eq!(checked(ack("team", 1, MAX_ACK_POSITIONS)), Ok(()));
    assert_eq!(
        checked(ack("team", 1, MAX_ACK_POSITIONS + 1)),
        invalid("positions")
    );
    assert_eq!(checked(ack("", 1, 1)), invalid("positions.conversation_id"));
    assert_eq!(checked(ack("team", 0, 1)), invalid("positions.seq"));
}

#[test]
fn a_call_is_of_a_method_for_clients_with_that_methods_request() {
    let call = |method: &str, request: Option<&str>| {
        let request = request.map(|name| prost_types::Any {
            type_url: format!("type.googleapis.com/flare.session.v1.{name}"),
            value: Vec::new(),
        });
        Frame::Call(Call {
            id: 1,
            method: format!("flare.session.v1.SessionService/{method}"),
            request,
        })
    };
    assert_eq!(checked(call("SyncInbox", Some("SyncInboxRequest"))), Ok(()));
    let closed = Err((ErrorCode::UnknownMethod, "method".to_owned()));
    assert_eq!(checked(call("Authorize", Some("AuthorizeRequest"))), closed);
    assert_eq!(checked(call("Nothing", None)), closed);
    assert_eq!(checked(call("SyncInbox", None)), invalid("request"));
    assert_eq!(
        checked(call("SyncInbox", Some("MarkReadRequest"))),
        invalid("request")
    );
}

#[test]
fn a_connect_has_a_token_and_a_device() {
    let connect = Connect {
        id: 1,
        token: "t".to_owned(),
        device_id: "phone".to_owned(),
        ..Connect::default()
    };
    assert_eq!(checked(Frame::Connect(connect.clone())), Ok(()));
    let no_token = Connect {
        token: String::new(),
        ..connect.clone()
    };
    let refused = Err((ErrorCode::Unauthenticated, "token".to_owned()));
    assert_eq!(checked(Frame::Connect(no_token)), refused);
    let no_device = Connect {
        device_id: String::new(),
        ..connect.clone()
    };
    assert_eq!(checked(Frame::Connect(no_device)), invalid("device_id"));
    let long = Connect {
        platform: "p".repeat(65),
        ..connect
    };
    assert_eq!(checked(Frame::Connect(long)), invalid("platform"));
    assert_eq!(
        checked(Frame::Refresh(Refresh {
            id: 1,
            token: "t".to_owned()
        })),
        Ok(())
    );
}

#[test]
fn a_signal_is_of_a_known_kind() {
    let signal = |signal| {
        Frame::Signal(ClientSignal {
            conversation_id: "team".to_owned(),
            signal,
        })
    };
    assert_eq!(checked(signal(None)), invalid("signal"));
    let typing = Some(client_signal::Signal::Typing(Typing { active: true }));
    assert_eq!(checked(signal(typing)), Ok(()));
    let viewing = Some(client_signal::Signal::Viewing(Viewing { active: true }));
    assert_eq!(checked(signal(viewing)), Ok(()));
}

#[test]
fn a_refusal_is_the_contracts_error() {
    let send = Send {
        user_id: "bob".to_owned(),
        ..a_send()
    };
    let refusal = client_frame(&Frame::Send(send), &Limits::default()).expect_err("refused");
    let error = refusal.to_error();
    assert_eq!(
        (error.code(), error.field.as_str()),
        (ErrorCode::InvalidArgument, "user_id")
    );
    assert!(error.message.contains("exclude"));
}
