//! Pages of history.

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;

/// Messages on a page, if the caller does not say.
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// The most that a caller may ask for.
pub const MAX_PAGE_SIZE: u32 = 200;

/// Where a page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The last messages below this seq; None: the last of all.
    Before(Option<u64>),
    /// The first messages above this seq.
    After(u64),
    /// As many on either side of this seq, itself included.
    Around(u64),
    /// The first message at or after this time, Unix milliseconds, and those after it.
    FromTime(i64),
}

/// Checks a page size as callers give it.
pub fn page_size(given: Option<u32>, field: &'static str) -> Result<usize, Refusal> {
    match given.unwrap_or(DEFAULT_PAGE_SIZE) {
        size @ 1..=MAX_PAGE_SIZE => Ok(usize::try_from(size).unwrap_or_default()),
        size => Err(Refusal::invalid(
            field,
            format!("{field} {size}: 1 to {MAX_PAGE_SIZE} may be asked for"),
        )),
    }
}

/// Goes on in one direction from a page's end, in one conversation of one tenant.
///
/// The text is opaque to callers: a version, the direction, the seq, and a check of the conversation that it belongs to. It is no secret: who may read is
/// decided anew with each page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// Towards older messages.
    pub older: bool,
    /// The seq at the last page's end.
    pub seq: u64,
}

impl PageToken {
    /// The token's text.
    pub fn encode(&self, tenant: &str, conversation: &str) -> String {
        let direction = if self.older { 'o' } else { 'n' };
        format!(
            "1{direction}{:x}.{:x}",
            self.seq,
            check(tenant, conversation)
        )
    }

    /// Reads a token; one of another conversation is refused.
    pub fn decode(text: &str, tenant: &str, conversation: &str) -> Result<Self, Refusal> {
        let refused = |why: &'static str| {
            Refusal::new(ErrorCode::InvalidPageToken, why).with_field("page_token")
        };
        let malformed =
            || refused("this is no page token: give back what an earlier answer gave, or none");
        let rest = text.strip_prefix('1').ok_or_else(malformed)?;
        let (older, rest) = match (rest.strip_prefix('o'), rest.strip_prefix('n')) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(malformed()),
        };
        let (seq, belongs) = rest.split_once('.').ok_or_else(malformed)?;
        let seq = u64::from_str_radix(seq, 16).map_err(|_| malformed())?;
        let belongs = u64::from_str_radix(belongs, 16).map_err(|_| malformed())?;
        if belongs != check(tenant, conversation) {
            return Err(refused("the page token belongs to another conversation"));
        }
        Ok(Self { older, seq })
    }
}

/// FNV-1a over both ids with their lengths, by the parameters of the algorithm's authors: tells tokens of different conversations apart.
fn check(tenant: &str, conversation: &str) -> u64 {
    let lengths = [tenant.len() as u64, conversation.len() as u64];
    let bytes = lengths
        .iter()
        .flat_map(|it| it.to_le_bytes())
        .chain(tenant.bytes())
        .chain(conversation.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_is_good_in_its_own_conversation_alone() {
        let token = PageToken {
            older: true,
            seq: 77,
        };
        let text = token.encode("default", "g");
        assert_eq!(PageToken::decode(&text, "default", "g"), Ok(token));
        for (tenant, conversation) in [("default", "h"), ("other", "g"), ("defaultg", "")] {
            let refused =
                PageToken::decode(&text, tenant, conversation).expect_err("another conversation's");
            assert_eq!(
                (refused.code, refused.field.as_ref()),
                (ErrorCode::InvalidPageToken, "page_token")
            );
        }
        for text in [
            "", "1", "1x", "1o", "1o7", "1o.", "1oz.z", "2o7.7", "1o7.7é",
        ] {
            assert!(PageToken::decode(text, "default", "g").is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_has_one_message_at_least_and_200_at_most() {
        assert_eq!(page_size(None, "page_size"), Ok(50));
        assert_eq!(page_size(Some(200), "page_size"), Ok(200));
        for size in [0, 201, 1_000_000_000] {
            assert_eq!(
                page_size(Some(size), "page_size")
                    .expect_err("refused")
                    .field,
                "page_size"
            );
        }
    }
}
