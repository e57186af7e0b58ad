//! A connection's life between its Connected and its close.

use std::sync::Arc;

use flare_core::{
    check,
    codec::Codec,
    heartbeat::IdleDeadline,
    outbound::Outbound,
    pending::{Lanes, Unacked},
    transport::{Incoming, Transport, TransportError, TransportExt, Turn},
};
use flare_proto::client::{CloseReason, ErrorFrame, Goaway};
use flare_server_core::error::Refusal;
use futures::FutureExt;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::{
    LAST_FRAMES, Link, close,
    commands::Pending,
    connect::Registered,
    frames::{self, ServerFrame},
    pace::Pace,
};
use crate::application::connection::{Close, Connection};

/// Frames that are read before what they gave rise to is written.
const FRAMES_A_WAKE_UP: usize = 32;
/// Events that go out together are joined up to about this.
const JOINED_BYTES: usize = 64 * 1024;

/// Why a session ends.
pub(super) enum End {
    /// The peer has gone, or closed.
    Gone,
    /// The peer is told why.
    Close(Close),
}

/// One connection, driven by one task.
pub struct Session {
    registered: Registered,
    pub(super) lanes: Lanes,
    pub(super) unacked: Unacked<Pending>,
    pub(super) next_ticket: u64,
    pub(super) limits: check::Limits,
    pub(super) pace: Pace,
    pub(super) signal_pace: Option<Pace>,
    idle: IdleDeadline,
    /// Nothing that begins is taken any more; closed when all is answered, at the latest at this time.
    pub(super) drains_until_ms: Option<u64>,
    /// The expiry by which the timer was set, in Unix seconds.
    timed_by_s: i64,
    /// A heartbeat came: the moment to give memory back.
    pub(super) shrinks: bool,
}

impl Session {
    /// Begins with the agreed heartbeat.
    pub(super) fn new(registered: Registered, heartbeat_ms: u32) -> Self {
        let link = registered.link();
        let config = &link.config;
        Self {
            lanes: Lanes::new(Arc::clone(&link.lane_ids), config.max_lanes),
            unacked: Unacked::new(config.max_unacked_sends),
            next_ticket: 0,
            limits: link.check_limits(),
            pace: Pace::new(
                config.frames_per_s,
                config.frame_burst,
                config.max_excess_frames,
            ),
            signal_pace: None,
            idle: IdleDeadline::new(heartbeat_ms, link.connections.now_ms()),
            drains_until_ms: None,
            timed_by_s: registered.connection().token_expires_s(),
            shrinks: false,
            registered,
        }
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        self.registered.link()
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        self.registered.connection()
    }

    /// Runs to the connection's end.
    pub async fn run(mut self, socket: &mut impl Transport, codec: Codec) {
        let link = self.link();
        if link.shutdown.is_draining() {
            // It came too late to be seen off with the others.
            self.connection().goaway(link.reconnect_after_ms());
        }
        let end = self.serve(socket).await;
        let Self { registered, .. } = self;
        match end {
            End::Gone => {
                metrics::counter!("flare_access_gateway_closes_total", "reason" => "GONE")
                    .increment(1);
                registered.end().await;
                socket.close(1_000, "").await;
            }
            End::Close(reason) => {
                if reason.reason != CloseReason::SlowReader {
                    let _ = timeout(LAST_FRAMES, write_all(registered.connection(), socket)).await;
                }
                registered.end().await;
                close(socket, codec, &reason).await;
            }
        }
    }

    async fn serve(&mut self, socket: &mut impl Transport) -> End {
        let timer = sleep_until(self.next_deadline());
        tokio::pin!(timer);
        loop {
            if let Some(end) = self.look(timer.as_mut()) {
                return end;
            }
            if write(self.connection(), socket).await.is_err() {
                return End::Gone;
            }
            if std::mem::take(&mut self.shrinks) {
                socket.shrink();
            }
            let (full, wants_to_write) = (self.unacked.is_full(), self.connection().has_outbound());
            let connection = Arc::clone(self.connection());
            let turn = tokio::select! {
                turn = turn(socket, full, wants_to_write) => turn,
                () = connection.woken() => continue,
                () = &mut timer => {
                    if let Some(end) = self.on_time(full) {
                        return end;
                    }
                    timer.as_mut().reset(self.next_deadline());
                    self.shrinks = true;
                    continue;
                }
            };
            match turn {
                Turn::Ready(Ok(())) => {}
                Turn::Ready(Err(_)) => return End::Gone,
                Turn::Incoming(incoming) => {
                    if let Err(end) = self.take(incoming) {
                        return end;
                    }
                    for _ in 1..FRAMES_A_WAKE_UP {
                        if self.unacked.is_full() {
                            break;
                        }
                        let Some(incoming) = socket.recv().now_or_never() else {
                            break;
                        };
                        if let Err(end) = self.take(incoming) {
                            return end;
                        }
                    }
                }
            }
        }
    }

    /// Looks at what others have put in.
    fn look(&mut self, mut timer: std::pin::Pin<&mut Sleep>) -> Option<End> {
        let news = self.connection().news();
        if !news.receipts.is_empty() {
            for settled in news.receipts {
                self.on_receipt(settled);
            }
            if self.unacked.is_empty() {
                self.connection().forget_lanes();
            }
        }
        if let Some(close) = news.close {
            return Some(End::Close(close));
        }
        if let Some(reconnect_after_ms) = news.goaway {
            let link = self.link();
            self.drains_until_ms = Some(
                link.connections
                    .now_ms()
                    .saturating_add(link.config.drain_ms),
            );
            self.answer(ServerFrame::Goaway(Goaway { reconnect_after_ms }));
            timer.as_mut().reset(self.next_deadline());
        }
        let expires_s = self.connection().token_expires_s();
        if expires_s != self.timed_by_s {
            self.timed_by_s = expires_s;
            timer.reset(self.next_deadline());
        }
        let is_done = self.unacked.is_empty()
            && self.connection().calls() == 0
            && !self.connection().has_outbound();
        (self.drains_until_ms.is_some() && is_done).then(going_away)
    }

    fn on_time(&mut self, full: bool) -> Option<End> {
        let now_ms = self.link().connections.now_ms();
        if self.drains_until_ms.is_some_and(|at| at <= now_ms) {
            return Some(going_away());
        }
        if full {
            // It is not read, so it cannot be heard.
            self.idle.heard(now_ms);
        }
        if self.idle.has_passed(now_ms) {
            return Some(End::Close(Close::new(
                CloseReason::Idle,
                "no frame in twice the heartbeat",
            )));
        }
        (self.token_ends_in_ms() <= 0).then(|| {
            End::Close(Close::new(
                CloseReason::Unauthenticated,
                "the token has expired: bring another by Refresh",
            ))
        })
    }

    fn next_deadline(&self) -> Instant {
        let connections = &self.link().connections;
        let idle = connections.instant(self.idle.closes_at_ms());
        let token_ms = u64::try_from(self.token_ends_in_ms())
            .unwrap_or_default()
            .max(1);
        let token = Instant::now() + tokio::time::Duration::from_millis(token_ms.min(86_400_000));
        let drain = self.drains_until_ms.map(|at| connections.instant(at));
        drain.unwrap_or(idle).min(idle).min(token)
    }

    /// By the wall clock, which may jump, so it is asked again at least once a day.
    fn token_ends_in_ms(&self) -> i64 {
        let grace_ms = i64::try_from(self.link().config.token_grace_ms).unwrap_or(i64::MAX);
        let ends_ms = self
            .connection()
            .token_expires_s()
            .saturating_mul(1_000)
            .saturating_add(grace_ms);
        ends_ms.saturating_sub(self.link().clock.now_ms())
    }

    fn take(&mut self, incoming: Option<Result<Incoming, TransportError>>) -> Result<(), End> {
        self.idle.heard(self.link().connections.now_ms());
        match incoming {
            Some(Ok(Incoming::Frame(bytes))) => self.on_frame(bytes).map_err(End::Close),
            Some(Ok(Incoming::Alive)) => Ok(()),
            Some(Ok(Incoming::Closed { .. })) | None => Err(End::Gone),
            Some(Err(error)) => Err(match error.code() {
                Some(code) => {
                    self.refuse(frames::error(0, Refusal::new(code, error.to_string())));
                    End::Close(Close::new(CloseReason::ProtocolError, error.to_string()))
                }
                None => End::Gone,
            }),
        }
    }

    /// Puts an answer out.
    pub(super) fn answer(&self, frame: ServerFrame) {
        let payload = frames::encode(self.connection().codec, &frame);
        self.connection()
            .push(Outbound::Answer(payload), self.link().connections.now_ms());
    }

    /// Puts a refusal out.
    pub(super) fn refuse(&self, error: ErrorFrame) {
        frames::count(&error);
        self.answer(ServerFrame::Error(error));
    }
}

fn going_away() -> End {
    End::Close(Close::new(
        CloseReason::GoingAway,
        "the server ends: connect again",
    ))
}

/// A full connection is read no further, but what was fed goes on being written.
async fn turn(socket: &mut impl Transport, full: bool, wants_to_write: bool) -> Turn {
    if !full {
        return socket.turn(wants_to_write).await;
    }
    if wants_to_write {
        return Turn::Ready(socket.ready().await);
    }
    match socket.flush().await {
        Ok(()) => std::future::pending().await,
        broken => Turn::Ready(broken),
    }
}

/// Writes what waits, as far as there is room, and flushes once.
async fn write(connection: &Connection, socket: &mut impl Transport) -> Result<(), TransportError> {
    let (mut frames, mut bytes) = (0_u64, 0_u64);
    while connection.has_outbound() {
        match socket.ready().now_or_never() {
            Some(ready) => ready?,
            None => break,
        }
        let Some(payload) = connection.pop(JOINED_BYTES) else {
            break;
        };
        frames += 1;
        bytes += payload.bytes.len() as u64;
        socket.feed(payload)?;
    }
    if frames > 0 {
        metrics::counter!("flare_access_gateway_outbound_frames_total").increment(frames);
        metrics::counter!("flare_access_gateway_outbound_bytes_total").increment(bytes);
        socket.start_flush().await?;
    }
    Ok(())
}

/// Writes what is left, waiting for the peer.
async fn write_all(
    connection: &Connection,
    socket: &mut impl Transport,
) -> Result<(), TransportError> {
    while let Some(payload) = connection.pop(JOINED_BYTES) {
        socket.ready().await?;
        socket.feed(payload)?;
    }
    socket.flush().await
}
