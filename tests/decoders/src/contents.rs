//! Contents of messages, as the edge and the owner of a conversation check them.

use bytes::Bytes;
use flare_core::{
    check::{self, Limits},
    content::{ContentKind, kind},
};
use flare_message_orchestrator::{application::ports::ContentRules, handler::Contents};
use flare_proto::{
    common::ErrorCode,
    message::{Content, Forward, ForwardedMessage, Mention, Text, content::Kind, event_body::Body},
};
use prost::Message;

use crate::corpus;

/// The longest refusal, whatever it repeats of what was sent.
const MOST_REFUSAL_BYTES: usize = 4 * 1024;

/// Judges a content: what the edge lets in the owner takes, or names what it misses; what it takes it keeps byte for byte.
pub fn contents(bytes: &[u8]) {
    let limits = Limits::default();
    let owner = Contents {
        max_bytes: limits.max_content_bytes,
        max_mentions: limits.max_mentions,
    };
    let given = Bytes::copy_from_slice(bytes);
    let kept = owner.check(&given);
    match check::content(bytes, &limits) {
        Ok(content) => {
            assert!(content.mentions.len() <= limits.max_mentions);
            assert!(bytes.len() <= limits.max_content_bytes);
            match &kept {
                Ok(kept) => assert!(kept.mentions.len() <= content.mentions.len()),
                // The owner asks more of some kinds.
                Err(refusal) => {
                    assert_eq!(refusal.code, ErrorCode::InvalidArgument, "{refusal}");
                    assert!(refusal.field.starts_with("content."), "{refusal}");
                }
            }
            assert!(!matches!(kind(bytes), None | Some(ContentKind::Missing)));
        }
        Err(refusal) => {
            let length = refusal.to_error().encoded_len();
            assert!(length < MOST_REFUSAL_BYTES, "{length} bytes: {refusal}");
        }
    }
    match kept {
        Ok(kept) => {
            assert_eq!(kept.content, given);
            let body = flare_proto::message::EventBody::decode(kept.body);
            let Ok(Some(Body::MessageCreated(created))) = body.map(|it| it.body) else {
                panic!("the body of a content is a message");
            };
            assert_eq!(created.content, given);
        }
        Err(refusal) => {
            let length = refusal.message.len() + refusal.field.len();
            assert!(length < MOST_REFUSAL_BYTES, "{length} bytes: {refusal}");
        }
    }
}

/// Contents of several kinds, one inside another, one that no build knows.
pub fn corpus() -> Vec<Vec<u8>> {
    let text = |text: &str| Content {
        kind: Some(Kind::Text(Text {
            text: text.to_owned(),
        })),
        ..Content::default()
    };
    let forward = |inner| Content {
        kind: Some(Kind::Forward(Forward {
            messages: vec![ForwardedMessage {
                content: Some(inner),
                ..ForwardedMessage::default()
            }],
            ..Forward::default()
        })),
        ..Content::default()
    };
    let mentioning = Content {
        mentions: vec![Mention {
            user_id: "bob".to_owned(),
            ..Mention::default()
        }],
        mention_all: true,
        fallback: "hello".to_owned(),
        ..text("@bob")
    };
    vec![
        corpus::text("hello").to_vec(),
        mentioning.encode_to_vec(),
        forward(text("inner")).encode_to_vec(),
        forward(forward(text("innermost"))).encode_to_vec(),
        vec![0x72, 0x03, 0x0a, 0x01, 0x61],
    ]
}
