use flare_proto::{
    common::ErrorCode,
    ids,
    message::{Content, content::Kind},
};
use prost::Message;

use super::{Limits, Refusal};
use crate::content::{MAX_FORWARD_DEPTH, MAX_FORWARDED, has_kinds};

/// Checks a sender's content as its bytes came, and gives back what of it this build understands. The bytes are what is kept and forwarded.
///
/// # Errors
/// Names `content`, or the field within it.
pub fn content(bytes: &[u8], limits: &Limits) -> Result<Content, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::invalid("content", "a content is needed"));
    }
    if bytes.len() > limits.max_content_bytes {
        let message = format!(
            "{} bytes, at most {}",
            bytes.len(),
            limits.max_content_bytes
        );
        return Err(Refusal::of(ErrorCode::ContentTooLarge, "content", message));
    }
    let content = Content::decode(bytes)
        .map_err(|error| Refusal::invalid("content", format!("no content: {error}")))?;
    within(&content, limits, 0, &mut 0)?;
    if !has_kinds(bytes) {
        return Err(Refusal::invalid(
            "content",
            "a content has a kind: text, image, …, and so has a forwarded one",
        ));
    }
    Ok(content)
}

/// The rules that also hold for contents in forwarded messages, of which there were so many before.
fn within(
    content: &Content,
    limits: &Limits,
    depth: usize,
    forwarded: &mut usize,
) -> Result<(), Refusal> {
    if content.mentions.len() > limits.max_mentions {
        let message = format!(
            "{} mentions, at most {}",
            content.mentions.len(),
            limits.max_mentions
        );
        return Err(Refusal::of(
            ErrorCode::LimitExceeded,
            "content.mentions",
            message,
        ));
    }
    for mention in &content.mentions {
        super::id(
            "content.mentions.user_id",
            ids::check_user_id(&mention.user_id),
        )?;
    }
    if content.unknown.is_some() {
        return Err(Refusal::invalid(
            "content.unknown",
            "unknown is the server's, in JSON",
        ));
    }
    // A kind of a later build is none to this one, and passes.
    if let Some(field) = content.kind.as_ref().and_then(missing) {
        return Err(Refusal::invalid(field, "is empty, and needed"));
    }
    match &content.kind {
        Some(Kind::Forward(_)) if depth >= MAX_FORWARD_DEPTH => {
            let message = format!("forwards in forwards, at most {MAX_FORWARD_DEPTH} deep");
            Err(Refusal::invalid("content.forward", message))
        }
        Some(Kind::Forward(forward)) => {
            *forwarded += forward.messages.len();
            if *forwarded > MAX_FORWARDED {
                let message = format!(
                    "more than {MAX_FORWARDED} forwarded messages, those within others too"
                );
                return Err(Refusal::of(
                    ErrorCode::LimitExceeded,
                    "content.forward",
                    message,
                ));
            }
            let mut contents = forward.messages.iter().filter_map(|it| it.content.as_ref());
            contents.try_for_each(|inner| within(inner, limits, depth + 1, forwarded))
        }
        _ => Ok(()),
    }
}

/// What a content of this kind cannot be without, where it has it not.
fn missing(kind: &Kind) -> Option<&'static str> {
    let (field, is_empty) = match kind {
        Kind::Text(it) => ("content.text.text", it.text.is_empty()),
        Kind::Image(it) => ("content.image.url", it.url.is_empty()),
        Kind::Audio(it) => ("content.audio.url", it.url.is_empty()),
        Kind::Video(it) => ("content.video.url", it.url.is_empty()),
        Kind::File(it) => ("content.file.url", it.url.is_empty()),
        Kind::Forward(it) => ("content.forward.messages", it.messages.is_empty()),
        Kind::Quote(it) => ("content.quote.text", it.text.is_empty()),
        Kind::Notice(it) => ("content.notice.text", it.text.is_empty()),
        Kind::Custom(it) => ("content.custom.type", it.r#type.is_empty()),
        Kind::Location(_) | Kind::Card(_) | Kind::Sticker(_) | Kind::Encrypted(_) => return None,
    };
    is_empty.then_some(field)
}
