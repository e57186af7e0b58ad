//! What callers bring back to go on: tokens of pages and of inboxes.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use flare_server_core::event_bus::Frontier;
use flare_session::domain::token::{InboxToken, Mark, decode_page, encode_page};
use flare_storage_reader::domain::page::PageToken;

const TENANT: &str = "default";
const CONVERSATION: &str = "team";
const USER: &str = "alice";
const LIST: &str = "members";
/// First byte of an input: the rest is what the server put behind the version and the binding, which are put before it.
const BOUND: u8 = 1;
/// A version and a binding.
const BINDING_BYTES: usize = 9;

/// Judges the token of a page of history.
pub fn history_pages(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match PageToken::decode(&text, TENANT, CONVERSATION) {
        Ok(token) => {
            let again = token.encode(TENANT, CONVERSATION);
            assert_eq!(PageToken::decode(&again, TENANT, CONVERSATION), Ok(token));
            assert!(PageToken::decode(&text, TENANT, "other").is_err());
            assert!(PageToken::decode(&text, "other", CONVERSATION).is_err());
        }
        Err(refusal) => assert_eq!(refusal.field, "page_token"),
    }
}

/// Judges the token of an inbox.
pub fn inboxes(bytes: &[u8]) {
    let prefix = InboxToken::Since(mark(&[300])).encode(TENANT, USER);
    let text = token_text(&prefix, bytes);
    if let Ok(token) = InboxToken::decode(&text, TENANT, USER) {
        let again = token.encode(TENANT, USER);
        assert_eq!(again, text, "a token has one spelling");
        assert_eq!(InboxToken::decode(&again, TENANT, USER), Ok(token));
        assert!(InboxToken::decode(&text, TENANT, "bob").is_err());
        assert!(InboxToken::decode(&text, "acme", USER).is_err());
    }
}

/// Judges the token of a page of a list.
pub fn list_pages(bytes: &[u8]) {
    let prefix = encode_page(LIST, TENANT, CONVERSATION, "");
    let text = token_text(&prefix, bytes);
    if let Ok(user) = decode_page(&text, LIST, TENANT, CONVERSATION) {
        let again = encode_page(LIST, TENANT, CONVERSATION, &user);
        assert_eq!(again, text, "a token has one spelling");
        assert!(decode_page(&text, "positions", TENANT, CONVERSATION).is_err());
        assert!(decode_page(&text, LIST, "acme", CONVERSATION).is_err());
        assert!(decode_page(&text, LIST, TENANT, "other").is_err());
    }
}

/// The input as a token's text, behind the binding of `like` if it says so.
fn token_text(like: &str, bytes: &[u8]) -> String {
    match bytes.split_first() {
        Some((&BOUND, rest)) => {
            let like = BASE64_URL_SAFE_NO_PAD.decode(like).expect("ours");
            let binding = like.get(..BINDING_BYTES).expect("a binding");
            BASE64_URL_SAFE_NO_PAD.encode([binding, rest].concat())
        }
        Some((_, rest)) => String::from_utf8_lossy(rest).into_owned(),
        None => String::new(),
    }
}

/// Of a stream of one lane, or of several.
fn mark(lanes: &[u64]) -> Mark {
    Mark {
        epoch: 7,
        frontier: Frontier::of_lanes(lanes.iter().copied()),
        version: 12,
    }
}

/// Both directions.
pub fn history_pages_corpus() -> Vec<Vec<u8>> {
    let token = |older, seq| PageToken { older, seq }.encode(TENANT, CONVERSATION);
    vec![token(true, 77).into(), token(false, u64::MAX).into()]
}

/// Every kind of token, as text and behind its binding.
pub fn inboxes_corpus() -> Vec<Vec<u8>> {
    let tokens = [&[300][..], &[300, 0, 1 << 40]].map(|lanes| {
        let mark = mark(lanes);
        [
            InboxToken::Since(mark.clone()),
            InboxToken::Walk {
                mark: mark.clone(),
                after_ms: -5,
                after: "组".into(),
            },
            InboxToken::Changes {
                from: Mark {
                    version: 1,
                    ..mark.clone()
                },
                mark,
                after: "team".into(),
            },
        ]
    });
    both_ways(tokens.iter().flatten().map(|it| it.encode(TENANT, USER)))
}

/// A page in the middle and one at the beginning.
pub fn list_pages_corpus() -> Vec<Vec<u8>> {
    let users = ["", "bob"];
    both_ways(users.map(|it| encode_page(LIST, TENANT, CONVERSATION, it)))
}

fn both_ways(texts: impl IntoIterator<Item = String>) -> Vec<Vec<u8>> {
    let mut examples = Vec::new();
    for text in texts {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&text).expect("ours");
        let behind = bytes.get(BINDING_BYTES..).expect("a binding");
        examples.push([&[BOUND], behind].concat());
        examples.push([&[0], text.as_bytes()].concat());
    }
    examples
}
