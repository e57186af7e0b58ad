use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that follows the WebSocket frames in the bytes that are read from it (RFC 6455, section 5.2), to know whether what has been read so
/// far ends with a message. It changes nothing of them.
#[derive(Debug)]
pub(super) struct Boundary<S> {
    stream: S,
    header: Header,
    /// Of the current frame.
    payload_left: u64,
    /// Ended messages, control frames included: one for each that tungstenite hands out.
    messages: u64,
    /// A message has begun and not ended.
    is_fragmented: bool,
}

/// A frame's header as far as it has come.
#[derive(Debug, Default)]
struct Header {
    bytes: [u8; 14],
    filled: usize,
}

impl Header {
    /// Of the whole header, as far as can be told.
    fn needed(&self) -> usize {
        let [_, second, ..] = self.bytes;
        if self.filled < 2 {
            return 2;
        }
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if second & 0x80 == 0 { 0 } else { 4 }
    }

    fn payload_length(&self) -> u64 {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.bytes;
        match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        }
    }

    fn is_final(&self) -> bool {
        self.bytes[0] & 0x80 != 0
    }

    fn is_control(&self) -> bool {
        self.bytes[0] & 0x08 != 0
    }
}

impl<S> Boundary<S> {
    /// `already` was read from the stream before.
    pub(super) fn new(stream: S, already: &[u8]) -> Self {
        let mut boundary = Self {
            stream,
            header: Header::default(),
            payload_left: 0,
            messages: 0,
            is_fragmented: false,
        };
        boundary.follow(already);
        boundary
    }

    /// Whether all that was read has been handed out, by a reader that has handed out so many messages.
    pub(super) fn is_between_messages(&self, handed_out: u64) -> bool {
        self.messages == handed_out
            && !self.is_fragmented
            && self.payload_left == 0
            && self.header.filled == 0
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let step = usize::try_from(self.payload_left)
                    .map_or(bytes.len(), |it| it.min(bytes.len()));
                bytes = bytes.get(step..).unwrap_or_default();
                self.payload_left -= step as u64;
            } else {
                let step = (self.header.needed() - self.header.filled).min(bytes.len());
                let (taken, rest) = bytes.split_at(step);
                let end = self.header.filled + step;
                if let Some(room) = self.header.bytes.get_mut(self.header.filled..end) {
                    room.copy_from_slice(taken);
                }
                self.header.filled = end;
                bytes = rest;
                if self.header.filled < self.header.needed() {
                    continue;
                }
                self.payload_left = self.header.payload_length();
            }
            if self.payload_left == 0 {
                self.end_frame();
            }
        }
    }

    fn end_frame(&mut self) {
        let header = std::mem::take(&mut self.header);
        if header.is_final() {
            self.messages += 1;
        }
        if !header.is_control() {
            self.is_fragmented = !header.is_final();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Boundary<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        self.follow(into.filled().get(before..).unwrap_or_default());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Boundary<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(first: u8, payload: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match u8::try_from(payload) {
            Ok(short) if short < 126 => frame.push(mask | short),
            _ if payload <= usize::from(u16::MAX) => {
                frame.push(mask | 126);
                frame.extend_from_slice(&(payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + payload + if masked { 4 } else { 0 }, 0x5a);
        frame
    }

    proptest! {
        #[test]
        fn messages_are_counted_however_the_bytes_come(
            frames in proptest::collection::vec(
                (prop_oneof![Just(0x82_u8), Just(0x89), Just(0x02), Just(0x80)], 0_usize..70_000, any::<bool>()),
                1..6,
            ),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload, masked)| frame(*first, *payload, *masked)).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|it| it.index(bytes.len())).collect();
            cuts.sort_unstable();
            let mut boundary = Boundary::new((), &[]);
            let mut from = 0;
            for to in cuts.into_iter().chain([bytes.len()]) {
                boundary.follow(&bytes[from..to]);
                from = to;
            }
            let ended = frames.iter().filter(|(first, ..)| first & 0x80 != 0).count() as u64;
            let open = frames.iter().rev().find(|(first, ..)| first & 0x08 == 0).is_some_and(|(first, ..)| first & 0x80 == 0);
            prop_assert_eq!(boundary.is_between_messages(ended), !open);
            prop_assert!(!boundary.is_between_messages(ended + 1));
        }
    }

    #[test]
    fn a_part_of_a_frame_is_no_boundary() {
        let whole = frame(0x82, 300, true);
        for cut in 1..whole.len() {
            assert!(
                !Boundary::new((), &whole[..cut]).is_between_messages(0),
                "{cut}"
            );
        }
        assert!(Boundary::new((), &whole).is_between_messages(1));
    }
}
