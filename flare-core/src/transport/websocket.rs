//! Frames as WebSocket messages: binary for protobuf, text for JSON.
//!
//! Memory: tungstenite keeps the largest buffers that a connection ever needed. It offers no way to shrink them, so a server's connection is
//! taken apart and put together with fresh ones at a moment when they hold nothing. `boundary::Boundary` watches the bytes go by to know such
//! a moment, since tungstenite does not tell what it has buffered. Clients, which have few connections, keep their buffers.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{FutureExt, Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        error::CapacityError,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use self::boundary::Boundary;
use super::{Incoming, Transport, TransportError};
use crate::codec::{Codec, Payload};

pub use self::{
    client::{ClientStream, ConnectError, ConnectOptions, connect},
    origin::OriginRule,
    server::{AcceptError, AcceptOptions, Accepted, accept, refuse},
    trust::{Trust, TrustError},
};

mod boundary;
mod client;
mod origin;
mod server;
mod trust;

/// The only path that is served.
pub const PATH: &str = "/ws";
/// What an idle connection keeps for reading.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// So much is gathered before it is written without a flush.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// Above this, buffers are given back as soon as they are empty; below, when the connection is told to shrink.
const INFLATED_BYTES: usize = 32 * 1024;
/// An idle connection keeps no write buffer above this.
const KEPT_WRITE_BYTES: usize = 1024;
/// A frame's header has at most so many bytes.
const MAX_HEADER_BYTES: usize = 14;
/// A close frame's reason has at most so many bytes.
const MAX_REASON_BYTES: usize = 123;
/// A peer that goes on sending is heard no further than this after a close.
const MAX_DRAINED_BYTES: usize = 4 * 1024 * 1024;

/// One WebSocket connection.
pub struct WebSocket<S> {
    /// Always there but within [`Self::renew`].
    inner: Option<WebSocketStream<Boundary<S>>>,
    role: Role,
    codec: Codec,
    /// Messages that tungstenite has handed out, to compare with those that the boundary has seen go in.
    handed_out: u64,
    /// What the buffers have grown to, at most.
    peak_read: usize,
    peak_written: usize,
    /// Fed since the last finished flush.
    unflushed: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The peer closed, or broke the protocol: nothing more is read.
    Ended,
    Closing(Closing),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    Flush,
    Shutdown,
    Drain { bytes: usize },
    Done,
}

fn config(max_frame_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(max_frame_bytes))
        .max_frame_size(Some(max_frame_bytes))
}

impl<S> WebSocket<S> {
    fn new(inner: WebSocketStream<Boundary<S>>, role: Role, codec: Codec) -> Self {
        Self {
            inner: Some(inner),
            role,
            codec,
            handed_out: 0,
            peak_read: 0,
            peak_written: 0,
            unflushed: 0,
            state: State::Open,
        }
    }

    /// How this connection's frames are written.
    pub fn codec(&self) -> Codec {
        self.codec
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    fn inner(&mut self) -> Result<Pin<&mut WebSocketStream<Boundary<S>>>, TransportError> {
        self.inner
            .as_mut()
            .map(Pin::new)
            .ok_or(TransportError::Closed)
    }

    fn take(&mut self, message: Message) -> Option<Result<Incoming, TransportError>> {
        self.handed_out += 1;
        self.peak_read = self.peak_read.max(message.len());
        // Copied: tungstenite's payloads are cut from its read buffer, which could not be reused while one is kept.
        match message {
            Message::Binary(bytes) if !self.codec.is_text() => {
                Some(Ok(Incoming::Frame(Bytes::copy_from_slice(&bytes))))
            }
            Message::Text(text) if self.codec.is_text() => {
                Some(Ok(Incoming::Frame(Bytes::copy_from_slice(text.as_bytes()))))
            }
            Message::Binary(_) | Message::Text(_) => {
                self.state = State::Ended;
                let reason = format!(
                    "{} has {} messages only",
                    self.codec.subprotocol(),
                    if self.codec.is_text() {
                        "text"
                    } else {
                        "binary"
                    }
                );
                Some(Err(TransportError::Protocol { reason }))
            }
            Message::Ping(_) | Message::Pong(_) => Some(Ok(Incoming::Alive)),
            Message::Close(frame) => {
                self.state = State::Ended;
                let (code, reason) = frame.map_or((None, String::new()), |it| {
                    (Some(it.code.into()), it.reason.to_string())
                });
                Some(Ok(Incoming::Closed { code, reason }))
            }
            Message::Frame(_) => None,
        }
    }

    /// Whether tungstenite's buffers hold nothing in either direction.
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        let handed_out = self.handed_out;
        let Ok(mut inner) = self.inner() else {
            return false;
        };
        let flushed = matches!(inner.as_mut().poll_flush(cx), Poll::Ready(Ok(())));
        flushed && inner.get_ref().is_between_messages(handed_out)
    }

    /// Fresh buffers in place of grown ones, if these hold nothing.
    fn renew(&mut self, cx: &mut Context<'_>) -> bool {
        if self.role == Role::Client || self.state != State::Open || !self.is_quiet(cx) {
            return false;
        }
        let Some(old) = self.inner.take() else {
            return false;
        };
        let config = *old.get_config();
        let renewed = WebSocketStream::from_raw_socket(old.into_inner(), self.role, Some(config));
        // There is no handshake to wait for.
        self.inner = renewed.now_or_never();
        (self.peak_read, self.peak_written, self.unflushed) = (0, 0, 0);
        true
    }

    fn begin_close(&mut self, code: u16, reason: &str) {
        let mut end = reason.len().min(MAX_REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = reason.get(..end).unwrap_or_default();
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        if let Ok(inner) = self.inner() {
            // Where the peer closed first, its own close frame is answered by the flush that follows.
            let _ = inner.start_send(Message::Close(Some(frame)));
        }
    }

    /// Reads past tungstenite, which may have refused to read on: unread bytes would reset the connection before the peer sees why.
    fn poll_drain(&mut self, cx: &mut Context<'_>, mut drained: usize) -> Poll<()> {
        let mut scratch = [0; 1024];
        loop {
            let Ok(inner) = self.inner() else {
                return Poll::Ready(());
            };
            let mut into = ReadBuf::new(&mut scratch);
            let read = Pin::new(inner.get_mut().get_mut()).poll_read(cx, &mut into);
            self.state = State::Closing(Closing::Drain { bytes: drained });
            match ready!(read) {
                Ok(()) if !into.filled().is_empty() && drained < MAX_DRAINED_BYTES => {
                    drained += into.filled().len();
                }
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for WebSocket<S> {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Incoming, TransportError>>> {
        if self.unflushed > 0
            && let Poll::Ready(Err(error)) = self.poll_flush(cx)
        {
            self.state = State::Ended;
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            if self.state != State::Open {
                return Poll::Ready(None);
            }
            match self.inner()?.poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    if let Some(taken) = self.take(message) {
                        return Poll::Ready(Some(taken));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.state = State::Ended;
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Ready(None) => {
                    self.state = State::Ended;
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let inflated = self.peak_read.max(self.peak_written) > INFLATED_BYTES;
                    // What is renewed must be polled again, to be woken.
                    if !inflated || !self.renew(cx) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner()?.poll_ready(cx).map_err(TransportError::from)
    }

    fn feed(&mut self, payload: Payload) -> Result<(), TransportError> {
        let bytes = payload.bytes.len();
        let message = if payload.text {
            let text = payload.bytes.try_into();
            Message::Text(text.map_err(|_| TransportError::Protocol {
                reason: "a text frame that is not UTF-8".to_owned(),
            })?)
        } else {
            Message::Binary(payload.bytes)
        };
        self.inner()?.start_send(message)?;
        self.unflushed += bytes + MAX_HEADER_BYTES;
        // Beyond the buffer's size plus one message it writes by itself.
        let held = self.unflushed.min(WRITE_BUFFER_BYTES + bytes);
        self.peak_written = self.peak_written.max(held);
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        ready!(self.inner()?.poll_flush(cx))?;
        self.unflushed = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, code: u16, reason: &str) -> Poll<()> {
        loop {
            match self.state {
                State::Open | State::Ended => {
                    self.begin_close(code, reason);
                    self.state = State::Closing(Closing::Flush);
                }
                State::Closing(Closing::Flush) => {
                    // An error here means that the peer is gone or has been answered: either way it goes on to the end.
                    let _ = ready!(Transport::poll_flush(self, cx));
                    self.state = State::Closing(Closing::Shutdown);
                }
                State::Closing(Closing::Shutdown) => {
                    if let Ok(inner) = self.inner() {
                        let _ = ready!(Pin::new(inner.get_mut().get_mut()).poll_shutdown(cx));
                    }
                    self.state = State::Closing(Closing::Drain { bytes: 0 });
                }
                State::Closing(Closing::Drain { bytes }) => {
                    ready!(self.poll_drain(cx, bytes));
                    self.state = State::Closing(Closing::Done);
                }
                State::Closing(Closing::Done) => return Poll::Ready(()),
            }
        }
    }

    fn shrink(&mut self) {
        if self.peak_read > READ_BUFFER_BYTES || self.peak_written > KEPT_WRITE_BYTES {
            // Whoever shrinks goes on to `poll_recv`, which registers for being woken.
            self.renew(&mut Context::from_waker(futures::task::noop_waker_ref()));
        }
    }
}

impl From<tungstenite::Error> for TransportError {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Io(error) => Self::Io(error),
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
                Self::Closed
            }
            tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                Self::TooLarge {
                    limit: max_size,
                    actual: size,
                }
            }
            tungstenite::Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            ) => Self::Io(std::io::ErrorKind::ConnectionReset.into()),
            other => Self::Protocol {
                reason: other.to_string(),
            },
        }
    }
}
