//! Checks what a message says without touching its bytes.

use bytes::{Buf, Bytes};
use flare_proto::{
    common::ErrorCode,
    message::{Content, EventBody, MessageCreated, content::Kind, event_body::Body},
};
use flare_server_core::error::Refusal;
use prost::{
    Message,
    encoding::{DecodeContext, decode_key, skip_field},
};

use super::convert::check_id;
use crate::application::ports::{CheckedContent, ContentRules};

/// The limits of contents.
#[derive(Clone, Copy, Debug)]
pub struct Contents {
    /// The largest, in bytes.
    pub max_bytes: usize,
    /// The most mentions.
    pub max_mentions: usize,
}

/// The highest field number that a kind has, and those that are no kinds.
const KNOWN_KINDS: u32 = 13;
const NO_KINDS: [u32; 4] = [20, 21, 22, 30];

impl ContentRules for Contents {
    fn check(&self, content: &Bytes) -> Result<CheckedContent, Refusal> {
        if content.len() > self.max_bytes {
            let message = format!(
                "content has {} bytes, the limit is {}",
                content.len(),
                self.max_bytes
            );
            return Err(Refusal::new(ErrorCode::ContentTooLarge, message).with_field("content"));
        }
        let decoded = Content::decode(content.clone()).map_err(|error| {
            Refusal::invalid("content", format!("content does not decode: {error}"))
        })?;
        if decoded.unknown.is_some() {
            return Err(Refusal::invalid(
                "content.unknown",
                "only servers fill this in, for kinds that they do not know",
            ));
        }
        match &decoded.kind {
            Some(kind) => check_kind(kind)?,
            None if has_unknown_kind(content.clone()) => {}
            None => {
                return Err(Refusal::invalid(
                    "content",
                    "content has no kind: fill in one, such as text",
                ));
            }
        }
        let mentions = self.mentions(&decoded)?;
        let body = EventBody {
            body: Some(Body::MessageCreated(MessageCreated {
                content: content.clone(),
            })),
        };
        let body = Bytes::from(body.encode_to_vec());
        let start = body.len().saturating_sub(content.len());
        Ok(CheckedContent {
            content: body.slice(start..),
            body,
            mentions,
            mention_all: decoded.mention_all,
        })
    }
}

impl Contents {
    fn mentions(&self, content: &Content) -> Result<Vec<String>, Refusal> {
        let count = content.mentions.len();
        if count > self.max_mentions {
            let message = format!(
                "message mentions {count} users, the limit is {}",
                self.max_mentions
            );
            return Err(
                Refusal::new(ErrorCode::LimitExceeded, message).with_field("content.mentions")
            );
        }
        let mut mentions: Vec<String> = Vec::with_capacity(count);
        for mention in &content.mentions {
            check_id("content.mentions", &mention.user_id)?;
            if !mentions.contains(&mention.user_id) {
                mentions.push(mention.user_id.clone());
            }
        }
        Ok(mentions)
    }
}

fn check_kind(kind: &Kind) -> Result<(), Refusal> {
    let (field, is_empty) = match kind {
        Kind::Text(it) => ("content.text", it.text.is_empty()),
        Kind::Image(it) => ("content.image.url", it.url.is_empty()),
        Kind::Audio(it) => ("content.audio.url", it.url.is_empty()),
        Kind::Video(it) => ("content.video.url", it.url.is_empty()),
        Kind::File(it) => ("content.file.url", it.url.is_empty()),
        Kind::Quote(it) => ("content.quote.text", it.text.is_empty()),
        Kind::Notice(it) => ("content.notice.text", it.text.is_empty()),
        Kind::Custom(it) => ("content.custom.type", it.r#type.is_empty()),
        Kind::Forward(it) => ("content.forward.messages", it.messages.is_empty()),
        Kind::Location(_) | Kind::Card(_) | Kind::Sticker(_) | Kind::Encrypted(_) => return Ok(()),
    };
    if is_empty {
        Err(Refusal::invalid(field, "is empty"))
    } else {
        Ok(())
    }
}

/// Whether a field stands in the content that this version does not know: a kind of a later one.
fn has_unknown_kind(mut content: Bytes) -> bool {
    while content.has_remaining() {
        let Ok((tag, wire)) = decode_key(&mut content) else {
            return false;
        };
        if tag > KNOWN_KINDS && !NO_KINDS.contains(&tag) {
            return true;
        }
        if skip_field(wire, tag, &mut content, DecodeContext::default()).is_err() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use flare_proto::message::{Mention, Text};

    use super::*;

    const RULES: Contents = Contents {
        max_bytes: 65_536,
        max_mentions: 50,
    };

    fn text(text: &str) -> Content {
        Content {
            kind: Some(Kind::Text(Text {
                text: text.to_owned(),
            })),
            ..Content::default()
        }
    }

    fn check(content: &Content) -> Result<CheckedContent, Refusal> {
        RULES.check(&Bytes::from(content.encode_to_vec()))
    }

    #[test]
    fn a_content_goes_into_the_body_byte_for_byte() {
        // Kind 777, which this version does not know, behind a fallback.
        let bytes = Bytes::from_static(&[0xa2, 0x01, 0x02, b'h', b'i', 0xca, 0x30, 0x01, 0x78]);
        let checked = RULES.check(&bytes).expect("passes");
        assert_eq!(checked.content, bytes);
        let body = EventBody::decode(checked.body).expect("a body");
        assert_eq!(
            body.body,
            Some(Body::MessageCreated(MessageCreated { content: bytes }))
        );
    }

    #[test]
    fn what_is_no_content_is_refused_with_its_field() {
        let refused = |bytes: &'static [u8]| {
            RULES
                .check(&Bytes::from_static(bytes))
                .expect_err("refused")
        };
        for (bytes, field) in [
            (&b""[..], "content"),
            (b"\xff\xff", "content"),
            (b"\x0a\x00", "content.text"),
        ] {
            let refusal = refused(bytes);
            assert_eq!(
                (refusal.code, refusal.field.as_ref()),
                (ErrorCode::InvalidArgument, field),
                "{bytes:?}"
            );
        }
        let fallback_only = Content {
            fallback: "hi".into(),
            ..Content::default()
        };
        assert_eq!(check(&fallback_only).expect_err("refused").field, "content");
    }

    #[test]
    fn the_limits_are_reached_and_not_passed() {
        let overhead = text(&"x".repeat(65_000)).encoded_len() - 65_000;
        assert!(check(&text(&"x".repeat(65_536 - overhead))).is_ok());
        let refusal = check(&text(&"x".repeat(65_537 - overhead))).expect_err("refused");
        assert_eq!(refusal.code, ErrorCode::ContentTooLarge);

        let mentioning = |count: usize| Content {
            mentions: (0..count)
                .map(|it| Mention {
                    user_id: format!("u{it}"),
                    ..Mention::default()
                })
                .collect(),
            ..text("hi")
        };
        assert_eq!(check(&mentioning(50)).map(|it| it.mentions.len()), Ok(50));
        let refusal = check(&mentioning(51)).expect_err("refused");
        assert_eq!(
            (refusal.code, refusal.field.as_ref()),
            (ErrorCode::LimitExceeded, "content.mentions")
        );
    }

    #[test]
    fn each_user_is_mentioned_once() {
        let mention = |user: &str, offset| Mention {
            user_id: user.into(),
            offset,
            length: 2,
        };
        let content = Content {
            mentions: vec![mention("bob", 0), mention("carol", 3), mention("bob", 6)],
            ..text("hi")
        };
        assert_eq!(check(&content).expect("passes").mentions, ["bob", "carol"]);
        let content = Content {
            mentions: vec![mention("b/b", 0)],
            ..text("hi")
        };
        assert_eq!(
            check(&content).expect_err("refused").field,
            "content.mentions"
        );
    }
}
