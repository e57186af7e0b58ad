//! What is printed, line by line; colours only on a terminal, and not where `NO_COLOR` is set.

use std::{
    ffi::OsStr,
    io::{IsTerminal as _, stdout},
};

use flare_core_sdk::{
    ConversationEvent, Sent, Via,
    proto::{
        message::{Content, Event, EventBody, EventMember, Role, content::Kind, event_body::Body},
        storage::Message,
    },
};
use prost::Message as _;

use crate::output::say;

const DIM: &str = "\u{1b}[2m";
const BOLD: &str = "\u{1b}[1m";
const PLAIN: &str = "\u{1b}[0m";
/// In place of a recalled message's content.
const TAKEN_BACK: &str = "(taken back)";

/// The terminal, or whatever stands in its place.
pub(crate) struct Screen {
    has_colours: bool,
    greeted: bool,
}

impl Screen {
    /// Standard output.
    #[expect(
        clippy::disallowed_methods,
        reason = "NO_COLOR is read by convention, under a name that is not ours"
    )]
    pub(crate) fn of_terminal() -> Self {
        let no_color = std::env::var_os("NO_COLOR");
        Self {
            has_colours: has_colours(stdout().is_terminal(), no_color.as_deref()),
            greeted: false,
        }
    }

    fn coloured(&self, colour: &str, text: &str) -> String {
        if self.has_colours {
            format!("{colour}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    }

    /// Something about the chat itself.
    pub(crate) fn note(&self, text: &str) {
        say!("{}", self.coloured(DIM, &format!("-- {}", plain(text))));
    }

    /// A connection is up.
    pub(crate) fn connected(&mut self, user: &str, conversation: &str) {
        if self.greeted {
            self.note("connected again");
        } else {
            self.greeted = true;
            self.note(&format!(
                "{user} in {conversation}; /help says what else there is"
            ));
        }
    }

    /// A message of before.
    pub(crate) fn earlier(&self, message: Message) {
        let Ok(event) = Event::decode(message.event) else {
            return;
        };
        let header = event.header.unwrap_or_default();
        let what = if message.recalled {
            TAKEN_BACK.to_owned()
        } else {
            words_of(event.body.as_ref())
        };
        self.said(header.time_ms, header.seq, &header.sender_id, &what);
    }

    /// What happens now. One's own receipts are marked by `kept`.
    pub(crate) fn event(&self, event: &ConversationEvent) {
        if event.via != Via::OwnAck {
            let header = &event.header;
            self.said(
                header.time_ms,
                header.seq,
                &header.sender_id,
                &what_happened(event),
            );
        }
    }

    fn said(&self, time_ms: i64, seq: u64, sender: &str, what: &str) {
        let sender = if sender.is_empty() { "system" } else { sender };
        let place = self.coloured(DIM, &format!("{} #{seq}", time_of_day(time_ms)));
        say!("{place} {}: {what}", self.coloured(BOLD, &plain(sender)));
    }

    /// One's own message has its place.
    pub(crate) fn kept(&self, sent: &Sent) {
        say!(
            "{}",
            self.coloured(
                DIM,
                &format!("{} #{} \u{2713}", time_of_day(sent.time_ms), sent.seq)
            )
        );
    }

    /// Somebody who is here.
    pub(crate) fn member(&self, member: &EventMember) {
        let role = match member.role() {
            Role::Owner => " (owner)",
            Role::Admin => " (admin)",
            Role::Member | Role::Unspecified => "",
        };
        say!("{}{role}", plain(&member.user_id));
    }
}

/// An event in words.
pub(crate) fn what_happened(event: &ConversationEvent) -> String {
    if event.is_withheld() {
        return TAKEN_BACK.to_owned();
    }
    words_of(event.body.as_ref())
}

fn words_of(body: &[u8]) -> String {
    let body = EventBody::decode(body).ok().and_then(|it| it.body);
    let names = |members: &[EventMember]| {
        members
            .iter()
            .map(|it| it.user_id.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    plain(&match body {
        Some(Body::MessageCreated(it)) => {
            Content::decode(it.content).map_or_else(|_| "(unreadable)".to_owned(), words)
        }
        Some(Body::MessageRecalled(it)) => format!("(took back #{})", it.seq),
        Some(Body::ConversationCreated(it)) => {
            format!("(began {:?} with {})", it.title, names(&it.members))
        }
        Some(Body::ConversationRenamed(it)) => format!("(renamed it {:?})", it.title),
        Some(Body::MembersAdded(it)) => format!("(added {})", names(&it.members)),
        Some(Body::MemberRemoved(it)) => format!("(removed {})", it.user_id),
        Some(Body::MemberLeft(it)) => format!("({} left)", it.user_id),
        Some(Body::RoleChanged(it)) => format!(
            "(made {} {})",
            it.user_id,
            it.role().as_str_name().to_lowercase()
        ),
        Some(Body::OwnershipTransferred(it)) => format!("(made {} the owner)", it.to_user_id),
        Some(Body::ConversationDisbanded(_)) => "(ended the conversation)".to_owned(),
        None => "(something that this version does not know)".to_owned(),
    })
}

fn words(content: Content) -> String {
    match content.kind {
        Some(Kind::Text(it)) => it.text,
        Some(Kind::Quote(it)) => it.text,
        Some(Kind::Notice(it)) => it.text,
        _ if !content.fallback.is_empty() => content.fallback,
        Some(Kind::Image(it)) => format!("(image {})", it.url),
        Some(Kind::Audio(it)) => format!("(audio {})", it.url),
        Some(Kind::Video(it)) => format!("(video {})", it.url),
        Some(Kind::File(it)) => format!("(file {} {})", it.name, it.url),
        Some(Kind::Location(it)) => format!(
            "(place {} {}, {})",
            it.name, it.latitude_deg, it.longitude_deg
        ),
        Some(Kind::Card(it)) => format!("(card {})", it.title),
        Some(Kind::Sticker(it)) => format!("(sticker {})", it.sticker_id),
        Some(Kind::Forward(it)) => {
            format!("(forwarded {}: {} messages)", it.title, it.messages.len())
        }
        Some(Kind::Custom(it)) => format!("({})", it.r#type),
        Some(Kind::Encrypted(_)) => "(encrypted)".to_owned(),
        None => "(something that this version does not know)".to_owned(),
    }
}

/// By the convention of no-color.org: an empty value says nothing.
fn has_colours(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// Without what would command the terminal. Line breaks stay, set in.
pub(crate) fn plain(text: &str) -> String {
    text.replace('\n', "\n    ")
        .chars()
        .filter(|it| *it == '\n' || !it.is_control())
        .collect()
}

/// Hours, minutes and seconds of UTC.
pub(crate) fn time_of_day(unix_ms: i64) -> String {
    let s = unix_ms.div_euclid(1_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_of_those_who_want_them() {
        assert!(has_colours(true, None));
        assert!(has_colours(true, Some(OsStr::new(""))));
        assert!(!has_colours(true, Some(OsStr::new("1"))));
        assert!(!has_colours(false, None));
    }

    #[test]
    fn texts_cannot_command_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\r\nc\u{9b}d"), "a[2Jb\n    cd");
    }

    #[test]
    fn times_are_of_the_day_in_utc() {
        assert_eq!(time_of_day(1_700_000_000_000), "22:13:20");
        assert_eq!(time_of_day(-1), "23:59:59");
    }

    #[test]
    fn every_kind_of_content_has_words() {
        let text = Content {
            fallback: "a poll".to_owned(),
            ..Content::default()
        };
        assert_eq!(words(text), "a poll");
        assert!(words(Content::default()).contains("not know"));
    }
}
