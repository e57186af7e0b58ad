use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The payload of a record in a dead letter topic: what was rejected, by whom and why. Its key is
/// that of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The group that rejected it.
    pub group: String,
    /// The position that it had in its topic.
    pub position: u64,
    /// Why it was rejected, at most 1,024 bytes.
    pub reason: String,
    /// The payload that it had.
    pub payload: Bytes,
}

/// Bytes that are no dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a dead letter of version {VERSION}")]
pub struct NotADeadLetter;

const VERSION: u8 = 1;
const REASON_BYTES: usize = 1_024;

impl DeadLetter {
    /// A version byte (1), the position `u64`, group and reason each with a length `u16` before
    /// it, then the payload; little-endian. A longer reason is cut.
    pub fn encode(&self) -> Bytes {
        let cut = self.reason.floor_char_boundary(REASON_BYTES);
        let mut bytes = BytesMut::with_capacity(13 + self.group.len() + cut + self.payload.len());
        bytes.put_u8(VERSION);
        bytes.put_u64_le(self.position);
        for text in [self.group.as_str(), &self.reason[..cut]] {
            bytes.put_u16_le(text.len() as u16);
            bytes.put_slice(text.as_bytes());
        }
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }

    /// What [`encode`](Self::encode) made.
    ///
    /// # Errors
    /// [`NotADeadLetter`].
    pub fn decode(mut bytes: Bytes) -> Result<Self, NotADeadLetter> {
        if bytes.try_get_u8() != Ok(VERSION) {
            return Err(NotADeadLetter);
        }
        let position = bytes.try_get_u64_le().map_err(|_| NotADeadLetter)?;
        let mut text = || {
            let length = usize::from(bytes.try_get_u16_le().map_err(|_| NotADeadLetter)?);
            if length > bytes.len() {
                return Err(NotADeadLetter);
            }
            String::from_utf8(bytes.split_to(length).to_vec()).map_err(|_| NotADeadLetter)
        };
        let (group, reason) = (text()?, text()?);
        Ok(Self {
            group,
            position,
            reason,
            payload: bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_with_a_long_reason_cut_between_characters() {
        let letter = DeadLetter {
            group: "push".to_owned(),
            position: 9,
            reason: format!("a{}", "é".repeat(600)),
            payload: Bytes::from_static(b"\0content"),
        };
        let decoded = DeadLetter::decode(letter.encode()).unwrap();
        assert_eq!(decoded.reason, format!("a{}", "é".repeat(511)));
        assert_eq!(
            decoded,
            DeadLetter {
                reason: decoded.reason.clone(),
                ..letter
            }
        );
    }

    #[test]
    fn other_bytes_are_refused() {
        let letter = DeadLetter {
            group: "g".into(),
            position: 1,
            reason: "r".into(),
            payload: Bytes::new(),
        };
        let bytes = letter.encode();
        for cut in 0..bytes.len() {
            assert_eq!(DeadLetter::decode(bytes.slice(..cut)), Err(NotADeadLetter));
        }
    }
}
