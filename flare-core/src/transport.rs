//! Frames over some connection. The frame layer knows no more of it than this; [`websocket`] is one, QUIC will be another.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use flare_proto::{client::CloseReason, common::ErrorCode};

use crate::codec::Payload;

pub mod websocket;

/// WebSocket's close code is this plus the reason.
const CLOSE_CODE_BASE: u16 = 4_000;
/// How long [`TransportExt::close`] waits for the peer to see the close.
const CLOSE_LINGER: Duration = Duration::from_secs(1);

/// The close code of a reason: 4000 and more.
pub fn close_code(reason: CloseReason) -> u16 {
    u16::try_from(i32::from(reason)).map_or(CLOSE_CODE_BASE, |it| CLOSE_CODE_BASE + it)
}

/// The reason of a close code; `None` for codes that are not ours.
pub fn close_reason(code: u16) -> Option<CloseReason> {
    let number = code.checked_sub(CLOSE_CODE_BASE)?;
    CloseReason::try_from(i32::from(number)).ok()
}

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// One whole frame, in memory of its own: it may be kept.
    Frame(Bytes),
    /// The transport's own sign of life (WebSocket's ping and pong, which a library may send unasked); needs no answer.
    Alive,
    /// The peer closes. Nothing follows.
    Closed {
        /// Its close code, if it gave one; see [`close_reason`].
        code: Option<u16>,
        /// For people.
        reason: String,
    },
}

/// Why a transport is of no more use. Only [`TransportExt::close`] makes sense after it.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The peer sends a frame above the limit.
    #[error("a frame has at most {limit} bytes, this one has {actual}")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// At least as many bytes it has.
        actual: usize,
    },
    /// The peer breaks the transport's protocol, or sends text where binary was agreed, or the other way round.
    #[error("not the agreed protocol: {reason}")]
    Protocol {
        /// What was wrong.
        reason: String,
    },
    /// It was closed before.
    #[error("the connection is closed")]
    Closed,
}

impl TransportError {
    /// The code to tell the peer, where it is the peer's doing and the connection still carries an answer.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::TooLarge { .. } => Some(ErrorCode::FrameTooLarge),
            Self::Protocol { .. } => Some(ErrorCode::MalformedFrame),
            Self::Io(_) | Self::Closed => None,
        }
    }
}

/// A connection that carries frames both ways, driven by one task. No method loses anything when its task stops polling it.
///
/// Obligations: frames arrive whole, once and in order, or an error tells that the connection is gone; a frame handed out shares no buffer
/// of the connection; what is fed reaches the peer only by a flush, or when enough has gathered; `poll_recv` also flushes what was left over by an
/// unfinished `poll_flush`, so that one task can wait on it alone; memory that a large frame took is given back.
pub trait Transport: Send + Unpin {
    /// The next thing that comes in; `None` after [`Incoming::Closed`] or an error.
    fn poll_recv(&mut self, cx: &mut Context<'_>)
    -> Poll<Option<Result<Incoming, TransportError>>>;

    /// Whether [`Self::feed`] may be called.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>;

    /// Takes a frame for writing, after [`Self::poll_ready`] said so.
    ///
    /// # Errors
    /// If the connection is broken, or closing.
    fn feed(&mut self, payload: Payload) -> Result<(), TransportError>;

    /// Writes what was fed.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>;

    /// Tells the peer why, writes what was fed before, and waits for the peer to have read it. `code` and `reason` of the first call count. Bound
    /// it by a time: the peer may never answer.
    fn poll_close(&mut self, cx: &mut Context<'_>, code: u16, reason: &str) -> Poll<()>;

    /// Gives back whatever memory an idle connection does not need; for the moments when nothing is going on, such as a heartbeat.
    fn shrink(&mut self);
}

/// What a turn of a connection's task is about.
#[derive(Debug)]
pub enum Turn {
    /// Something came in; `None` when nothing more will.
    Incoming(Option<Result<Incoming, TransportError>>),
    /// There is room to feed.
    Ready(Result<(), TransportError>),
}

/// A transport's methods as futures. Each may be dropped before it is done without losing anything.
pub trait TransportExt: Transport {
    /// Waits for what comes in next; also flushes.
    fn recv(&mut self) -> impl Future<Output = Option<Result<Incoming, TransportError>>> + Send {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// Waits for room to feed.
    ///
    /// # Errors
    /// If the connection is broken.
    fn ready(&mut self) -> impl Future<Output = Result<(), TransportError>> + Send {
        poll_fn(|cx| self.poll_ready(cx))
    }

    /// Waits for what comes in, or, if there is something to write, for room: whichever is first, incoming frames before room.
    fn turn(&mut self, wants_to_write: bool) -> impl Future<Output = Turn> + Send {
        poll_fn(move |cx| {
            if let Poll::Ready(incoming) = self.poll_recv(cx) {
                return Poll::Ready(Turn::Incoming(incoming));
            }
            if wants_to_write {
                return self.poll_ready(cx).map(Turn::Ready);
            }
            Poll::Pending
        })
    }

    /// Waits until all that was fed is written.
    ///
    /// # Errors
    /// If the connection is broken.
    fn flush(&mut self) -> impl Future<Output = Result<(), TransportError>> + Send {
        poll_fn(|cx| self.poll_flush(cx))
    }

    /// Begins to write what was fed, without waiting for a slow peer: the next `recv` or `turn` goes on with it.
    ///
    /// # Errors
    /// If the connection is broken.
    fn start_flush(&mut self) -> impl Future<Output = Result<(), TransportError>> + Send {
        poll_fn(|cx| match self.poll_flush(cx) {
            Poll::Pending => Poll::Ready(Ok(())),
            done => done,
        })
    }

    /// Feeds one frame and flushes it. Dropped before it is done, it may or may not have fed the frame.
    ///
    /// # Errors
    /// If the connection is broken.
    fn send(
        &mut self,
        payload: Payload,
    ) -> impl Future<Output = Result<(), TransportError>> + Send {
        async move {
            self.ready().await?;
            self.feed(payload)?;
            self.flush().await
        }
    }

    /// Closes with a code of [`close_code`], or 1000 for a client that is done. Waits at most a second for the peer.
    fn close(&mut self, code: u16, reason: &str) -> impl Future<Output = ()> + Send {
        async move {
            let closed = poll_fn(|cx| self.poll_close(cx, code, reason));
            // Late is as good as done: dropping the connection ends it in any case.
            let _ = tokio::time::timeout(CLOSE_LINGER, closed).await;
        }
    }
}

impl<T: Transport + ?Sized> TransportExt for T {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_4000_and_the_reason() {
        assert_eq!(close_code(CloseReason::Idle), 4_003);
        assert_eq!(close_reason(4_007), Some(CloseReason::SlowReader));
        for code in [0, 1_000, 3_999, 4_999, u16::MAX] {
            assert_eq!(close_reason(code), None, "{code}");
        }
    }
}
