//! What comes in over a connection of the client link, from its first byte: the handshake, then frames. The first byte of an input says in what
//! pieces the rest comes.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use flare_core::transport::{
    Incoming, Transport, TransportError, TransportExt,
    websocket::{AcceptError, AcceptOptions, OriginRule, accept},
};
use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The largest frame that is taken.
const MOST_FRAME_BYTES: usize = 1_024;
/// The longest answer to a handshake, whatever it repeats of what was sent.
const MOST_ANSWER_BYTES: usize = 10 * 1024;
/// As the documents list them.
const REFUSALS: [u16; 6] = [400, 403, 404, 405, 426, 431];

/// A peer whose bytes are all there; what is written to it is counted.
struct Peer<'a> {
    bytes: &'a [u8],
    piece: usize,
    written: Vec<u8>,
}

impl AsyncRead for Peer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let step = self.piece.min(into.remaining()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(step);
        into.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Judges a connection: it is refused over HTTP, or gives frames within the limit until it ends with a reason.
pub fn connections(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let mut peer = Peer {
        bytes,
        piece: match first {
            0 => usize::MAX,
            piece => usize::from(*piece),
        },
        written: Vec::new(),
    };
    let options = AcceptOptions {
        max_frame_bytes: MOST_FRAME_BYTES,
        origins: OriginRule::Listed(vec!["https://chat.example".to_owned()]),
    };
    let accepted = accept(&mut peer, &options).now_or_never();
    let mut socket = match accepted.expect("a peer that never waits") {
        Ok(accepted) => accepted.socket,
        Err(AcceptError::Refused { status, .. }) => {
            assert!(REFUSALS.contains(&status), "{status}");
            let length = peer.written.len();
            assert!(length < MOST_ANSWER_BYTES, "{length} bytes are answered");
            let line = format!("HTTP/1.1 {status} ");
            assert!(peer.written.starts_with(line.as_bytes()));
            return;
        }
        Err(AcceptError::Io(error)) => {
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
            return;
        }
    };
    // Each takes a byte of the input at least.
    for _ in 0..=bytes.len() + 2 {
        match socket.recv().now_or_never() {
            Some(Some(Ok(Incoming::Frame(frame)))) => assert!(frame.len() <= MOST_FRAME_BYTES),
            Some(Some(Ok(Incoming::Alive))) => {}
            Some(Some(Ok(Incoming::Closed { reason, .. }))) => assert!(reason.len() < 126),
            Some(Some(Err(TransportError::TooLarge { limit, .. }))) => {
                assert_eq!(limit, MOST_FRAME_BYTES);
            }
            Some(Some(Err(_))) => {}
            Some(None) => {
                let closing = poll_fn(|cx| socket.poll_close(cx, 1_000, "bye"));
                assert!(closing.now_or_never().is_some(), "the peer never waits");
                return;
            }
            None => panic!("it waits for a peer that never waits"),
        }
    }
    panic!("more came than was sent");
}

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(short) if short < 126 => frame.push(0x80 | short),
        _ => {
            let length = u16::try_from(payload.len()).expect("a short example");
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
    }
    // A mask of zeros leaves the payload as it is.
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Connections in both codecs, with every kind of frame; one with an origin, one that is no WebSocket.
pub fn corpus() -> Vec<Vec<u8>> {
    let connection = |piece: u8, headers: &str, frames: &[Vec<u8>]| {
        let head = format!("{HANDSHAKE}{headers}\r\n");
        [&[piece], head.as_bytes(), &frames.concat()].concat()
    };
    let ping = frame(0x82, &[0x12, 0x02, 0x08, 0x02]);
    let close = frame(0x88, b"\x03\xe8bye");
    vec![
        connection(0, "", &[ping.clone(), frame(0x89, b"alive"), close.clone()]),
        connection(
            7,
            "Sec-WebSocket-Protocol: flare.v9, flare.v1.json\r\n",
            &[frame(0x81, br#"{"ping":{"id":2}}"#), close.clone()],
        ),
        connection(
            200,
            "Origin: https://chat.example\r\n",
            &[
                frame(0x02, &[b'a'; 300]),
                frame(0x8a, b""),
                frame(0x80, b"b"),
                close,
            ],
        ),
        connection(0, "", &[frame(0x82, &[0; 2_000]), ping]),
        b"\0GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
    ]
}
