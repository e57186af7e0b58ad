//! What a caller brings back to go on: opaque to him, bound to what it was given for, and versioned.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// The format of the tokens that this version writes and reads.
const VERSION: u8 = 1;

/// Up to where a user's inbox was handed out.
///
/// Both parts are taken *before* the answer is gathered: what changes in between lies above the mark, and comes (again) with the next answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which count of stream positions `position` belongs to.
    pub epoch: u64,
    /// Heads that moved up to here were handed out.
    pub position: u64,
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
        match self {
            Self::Since(mark) => {
                out.push(1);
                mark.put(&mut out);
            }
            Self::Walk {
                mark,
                after_ms,
                after,
            } => {
                out.push(2);
                mark.put(&mut out);
                out.extend(after_ms.to_be_bytes());
                out.extend(after.as_bytes());
            }
            Self::Changes { from, mark, after } => {
                out.push(3);
                from.put(&mut out);
                mark.put(&mut out);
                out.extend(after.as_bytes());
            }
        }
        URL_SAFE_NO_PAD.encode(out)
    }

    /// Reads a token that was given to the user.
    pub fn decode(text: &str, tenant: &str, user: &str) -> Result<Self, BadToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken)?;
        let mut rest = bound(&bytes, &["inbox", tenant, user])?;
        let token = match take::<1>(&mut rest)? {
            [1] => Self::Since(Mark::take(&mut rest)?),
            [2] => Self::Walk {
                mark: Mark::take(&mut rest)?,
                after_ms: i64::from_be_bytes(take(&mut rest)?),
                after: text_of(&mut rest)?,
            },
            [3] => Self::Changes {
                from: Mark::take(&mut rest)?,
                mark: Mark::take(&mut rest)?,
                after: text_of(&mut rest)?,
            },
            _ => return Err(BadToken),
        };
        if rest.is_empty() {
            Ok(token)
        } else {
            Err(BadToken)
        }
    }
}

impl Mark {
    fn put(self, out: &mut Vec<u8>) {
        for part in [self.epoch, self.position, self.version] {
            out.extend(part.to_be_bytes());
        }
    }

    fn take(rest: &mut &[u8]) -> Result<Self, BadToken> {
        let mut number = || take(rest).map(u64::from_be_bytes);
        Ok(Self {
            epoch: number()?,
            position: number()?,
            version: number()?,
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
        let mark = Mark {
            epoch: 7,
            position: 300,
            version: 12,
        };
        vec![
            InboxToken::Since(mark),
            InboxToken::Walk {
                mark,
                after_ms: -5,
                after: "组".into(),
            },
            InboxToken::Changes {
                from: Mark { version: 1, ..mark },
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
