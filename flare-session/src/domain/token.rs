//! What a caller brings back to go on: opaque to him, bound to what it was given for, and versioned.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use flare_server_core::event_bus::Frontier;
use sha2::{Digest, Sha256};

/// The format of the tokens that this version writes and reads.
const VERSION: u8 = 1;

/// Kinds of inbox tokens.
const SINCE: u8 = 1;
const WALK: u8 = 2;
const CHANGES: u8 = 3;
/// Added to the kind where the stream has lanes; of a stream of one, a mark has one place.
const LANES: u8 = 3;

/// Up to where a user's inbox was handed out.
///
/// Both parts are taken *before* the answer is gathered: what changes in between lies above the mark, and comes (again) with the next answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which positions those of the frontier are.
    pub epoch: u64,
    /// Heads whose last move lies before it were handed out.
    pub frontier: Frontier,
    /// The user's rows up to this version were handed out.
    pub version: u64,
}

/// Where a user's `SyncInbox` goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxToken {
    /// Everything up to the mark was handed out.
    Since(Mark),
    /// In the middle of everything, newest first: entries whose (time, conversation) is below the cursor are still to come.
    Walk {
        /// Taken at the beginning: the token after the last page.
        mark: Mark,
        /// Time of the last entry handed out. Unix milliseconds.
        after_ms: i64,
        /// Its conversation.
        after: Arc<str>,
    },
    /// In the middle of what changed since `from`, by conversation id.
    Changes {
        /// The token that began it.
        from: Mark,
        /// Taken at the beginning: the token after the last page.
        mark: Mark,
        /// The last conversation handed out.
        after: Arc<str>,
    },
}

/// A token is none of ours, or not for this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is none of this server's, or was given for something else")]
pub struct BadToken;

impl InboxToken {
    /// The token for the user.
    pub fn encode(&self, tenant: &str, user: &str) -> String {
        let mut out = vec![VERSION];
        out.extend(binding(&["inbox", tenant, user]));
        let (kind, first, second) = match self {
            Self::Since(mark) => (SINCE, mark, None),
            Self::Walk { mark, .. } => (WALK, mark, None),
            Self::Changes { from, mark, .. } => (CHANGES, from, Some(mark)),
        };
        let marks = [Some(first), second];
        let marks = || marks.iter().flatten();
        if let Some(places) = marks()
            .map(|it| it.frontier.as_single())
            .collect::<Option<Vec<_>>>()
        {
            out.push(kind);
            for (mark, place) in marks().zip(places) {
                let parts = [mark.epoch, place, mark.version];
                out.extend(parts.iter().flat_map(|it| it.to_be_bytes()));
            }
        } else {
            out.push(kind + LANES);
            for mark in marks() {
                let parts = [mark.epoch, mark.version];
                out.extend(parts.iter().flat_map(|it| it.to_be_bytes()));
                mark.frontier.encode(&mut out);
            }
        }
        match self {
            Self::Since(_) => {}
            Self::Walk {
                after_ms, after, ..
            } => {
                out.extend(after_ms.to_be_bytes());
                out.extend(after.as_bytes());
            }
            Self::Changes { after, .. } => out.extend(after.as_bytes()),
        }
        URL_SAFE_NO_PAD.encode(out)
    }

    /// Reads a token that was given to the user.
    pub fn decode(text: &str, tenant: &str, user: &str) -> Result<Self, BadToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken)?;
        let mut rest = bound(&bytes, &["inbox", tenant, user])?;
        let [kind] = take(&mut rest)?;
        let (kind, has_lanes) = match kind {
            SINCE..=CHANGES => (kind, false),
            _ => (kind.checked_sub(LANES).ok_or(BadToken)?, true),
        };
        let mark = if has_lanes {
            Mark::take_with_lanes
        } else {
            Mark::take
        };
        let token = match kind {
            SINCE => Self::Since(mark(&mut rest)?),
            WALK => Self::Walk {
                mark: mark(&mut rest)?,
                after_ms: i64::from_be_bytes(take(&mut rest)?),
                after: text_of(&mut rest)?,
            },
            CHANGES => Self::Changes {
                from: mark(&mut rest)?,
                mark: mark(&mut rest)?,
                after: text_of(&mut rest)?,
            },
            _ => return Err(BadToken),
        };
        // A token has one spelling.
        let needs_lanes = match &token {
            Self::Since(mark) | Self::Walk { mark, .. } => mark.has_lanes(),
            Self::Changes { from, mark, .. } => from.has_lanes() || mark.has_lanes(),
        };
        if rest.is_empty() && has_lanes == needs_lanes {
            Ok(token)
        } else {
            Err(BadToken)
        }
    }
}

impl Mark {
    fn has_lanes(&self) -> bool {
        self.frontier.as_single().is_none()
    }

    fn take(rest: &mut &[u8]) -> Result<Self, BadToken> {
        let mut number = || take(rest).map(u64::from_be_bytes);
        Ok(Self {
            epoch: number()?,
            frontier: Frontier::single(number()?),
            version: number()?,
        })
    }

    fn take_with_lanes(rest: &mut &[u8]) -> Result<Self, BadToken> {
        let mut number = || take(rest).map(u64::from_be_bytes);
        Ok(Self {
            epoch: number()?,
            version: number()?,
            frontier: Frontier::decode(rest).ok_or(BadToken)?,
        })
    }
}

/// Encodes where a list of a conversation's users goes on: after `user`. `list` tells lists apart.
pub fn encode_page(list: &str, tenant: &str, conversation: &str, user: &str) -> String {
    let mut out = vec![VERSION];
    out.extend(binding(&[list, tenant, conversation]));
    out.extend(user.as_bytes());
    URL_SAFE_NO_PAD.encode(out)
}

/// Reads a page token that was given for this list of this conversation.
pub fn decode_page(
    text: &str,
    list: &str,
    tenant: &str,
    conversation: &str,
) -> Result<Arc<str>, BadToken> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken)?;
    let mut rest = bound(&bytes, &[list, tenant, conversation])?;
    text_of(&mut rest)
}

fn binding(parts: &[&str]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    bytes
}

fn bound<'a>(bytes: &'a [u8], parts: &[&str]) -> Result<&'a [u8], BadToken> {
    let mut rest = bytes;
    let good = take(&mut rest)? == [VERSION] && take(&mut rest)? == binding(parts);
    if good { Ok(rest) } else { Err(BadToken) }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BadToken> {
    let (first, others) = rest.split_first_chunk::<N>().ok_or(BadToken)?;
    *rest = others;
    Ok(*first)
}

fn text_of(rest: &mut &[u8]) -> Result<Arc<str>, BadToken> {
    std::str::from_utf8(std::mem::take(rest))
        .map(Arc::from)
        .map_err(|_| BadToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Vec<InboxToken> {
        let lanes = Frontier::of_lanes([300, 0, 1 << 40]);
        let of = |frontier| {
            tokens_at(Mark {
                epoch: 7,
                frontier,
                version: 12,
            })
        };
        [of(Frontier::single(300)), of(lanes)].concat()
    }

    fn tokens_at(mark: Mark) -> Vec<InboxToken> {
        vec![
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
                after: "g".into(),
            },
        ]
    }

    #[test]
    fn a_token_comes_back_as_it_went() {
        for token in tokens() {
            assert_eq!(
                InboxToken::decode(&token.encode("t", "alice"), "t", "alice"),
                Ok(token)
            );
        }
    }

    #[test]
    fn a_token_of_a_stream_of_one_lane_is_spelled_as_ever() {
        let mut expected = vec![VERSION];
        expected.extend(binding(&["inbox", "t", "alice"]));
        expected.push(1);
        expected.extend([7_u64, 300, 12].iter().flat_map(|it| it.to_be_bytes()));
        let token = InboxToken::Since(Mark {
            epoch: 7,
            frontier: Frontier::single(300),
            version: 12,
        });
        let text = token.encode("t", "alice");
        assert_eq!(text, URL_SAFE_NO_PAD.encode(expected));
        let mut lanes = vec![VERSION];
        lanes.extend(binding(&["inbox", "t", "alice"]));
        lanes.push(4);
        lanes.extend([7_u64, 12].iter().flat_map(|it| it.to_be_bytes()));
        lanes.extend([1, 30]);
        let second_spelling = URL_SAFE_NO_PAD.encode(lanes);
        assert_eq!(
            InboxToken::decode(&second_spelling, "t", "alice"),
            Err(BadToken)
        );
    }

    #[test]
    fn a_token_of_another_user_or_tenant_is_refused() {
        for token in tokens() {
            let text = token.encode("t", "alice");
            assert_eq!(InboxToken::decode(&text, "t", "bob"), Err(BadToken));
            assert_eq!(InboxToken::decode(&text, "u", "alice"), Err(BadToken));
        }
    }

    #[test]
    fn whatever_is_no_token_is_refused() {
        for text in ["", "!", "AAAA", "AQ", &URL_SAFE_NO_PAD.encode([9; 60])] {
            assert_eq!(
                InboxToken::decode(text, "t", "alice"),
                Err(BadToken),
                "{text:?}"
            );
        }
        let whole = tokens()[0].encode("t", "alice");
        let mut longer = URL_SAFE_NO_PAD.decode(&whole).expect("ours");
        longer.push(0);
        assert_eq!(
            InboxToken::decode(&URL_SAFE_NO_PAD.encode(longer), "t", "alice"),
            Err(BadToken)
        );
        assert_eq!(
            InboxToken::decode(&whole[..20], "t", "alice"),
            Err(BadToken)
        );
    }

    #[test]
    fn a_page_token_is_good_for_its_list_and_conversation_only() {
        let text = encode_page("members", "t", "g", "alice");
        assert_eq!(
            decode_page(&text, "members", "t", "g").as_deref(),
            Ok("alice")
        );
        assert_eq!(decode_page(&text, "members", "t", "h"), Err(BadToken));
        assert_eq!(decode_page(&text, "positions", "t", "g"), Err(BadToken));
        assert_eq!(decode_page(&text, "members", "u", "g"), Err(BadToken));
    }
}
