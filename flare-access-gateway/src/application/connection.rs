//! What the rest of the gateway sees of a connection: where to put what goes out, and how to end it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use flare_core::{
    codec::{Codec, Payload},
    deliver::EncodedEvent,
    outbound::{Outbound, OutboundQueue, Pushed},
};
use flare_proto::client::CloseReason;
use flare_server_core::error::Refusal;
use tokio::sync::Notify;

use super::ports::{Placed, Registration};
use crate::domain::{Identity, broken_lanes::BrokenLanes};

/// Why a connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// As the contract has it.
    pub reason: CloseReason,
    /// For people.
    pub message: String,
}

impl Close {
    /// Gives a reason.
    pub fn new(reason: CloseReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// The receipt of a command of this connection.
#[derive(Debug)]
pub struct Settled {
    /// As the connection numbered it.
    pub ticket: u64,
    /// Its place, or why it has none.
    pub result: Result<Placed, Refusal>,
}

/// What has happened to a connection since it last looked.
#[derive(Debug, Default)]
pub struct News {
    /// Receipts, in the order in which they came.
    pub receipts: Vec<Settled>,
    /// It is to end.
    pub close: Option<Close>,
    /// The gateway drains: the client is to reconnect after so many milliseconds.
    pub goaway: Option<u32>,
}

/// One connection. Its task takes from it, everybody else puts in.
#[derive(Debug)]
pub struct Connection {
    /// Unique in the gateway's incarnation, rising.
    pub id: u64,
    /// How its frames are written.
    pub codec: Codec,
    /// Who is at the other end.
    pub identity: Arc<Identity>,
    platform: Box<str>,
    connected_ms: i64,
    token_issued_s: AtomicI64,
    token_expires_s: AtomicI64,
    /// Presence has taken it: only then is it registered again where presence has lost it.
    has_stood: AtomicBool,
    inbox: Mutex<Inbox>,
    /// Its task has something to look at.
    wake: Notify,
    /// There is room for a reply that waits.
    room: Notify,
}

#[derive(Debug)]
struct Inbox {
    queue: OutboundQueue,
    max_bytes: usize,
    /// Each command has one receipt, so there are no more of these than unacked commands.
    receipts: Vec<Settled>,
    close: Option<Close>,
    goaway: Option<u32>,
    broken: BrokenLanes,
    calls: usize,
    /// Replies that wait for room, so that popping tells them.
    waiting_replies: usize,
    has_ended: bool,
}

/// What a token says of a connection's time.
#[derive(Clone, Copy, Debug)]
pub struct TokenTimes {
    /// In Unix seconds.
    pub issued_s: i64,
    /// In Unix seconds.
    pub expires_s: i64,
}

impl Connection {
    /// A connection with nothing to do. At most `max_bytes` wait for it.
    pub fn new(
        registration: &Registration,
        expires_s: i64,
        codec: Codec,
        max_bytes: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: registration.connection_id,
            codec,
            identity: Arc::clone(&registration.identity),
            platform: registration.platform.clone(),
            connected_ms: registration.connected_ms,
            token_issued_s: AtomicI64::new(registration.token_issued_s),
            token_expires_s: AtomicI64::new(expires_s),
            has_stood: AtomicBool::new(false),
            inbox: Mutex::new(Inbox {
                queue: OutboundQueue::new(codec, max_bytes),
                max_bytes,
                receipts: Vec::new(),
                close: None,
                goaway: None,
                broken: BrokenLanes::default(),
                calls: 0,
                waiting_replies: 0,
                has_ended: false,
            }),
            wake: Notify::new(),
            room: Notify::new(),
        })
    }

    /// As presence is to know it.
    pub fn registration(&self) -> Registration {
        Registration {
            identity: Arc::clone(&self.identity),
            platform: self.platform.clone(),
            connection_id: self.id,
            connected_ms: self.connected_ms,
            token_issued_s: self.token_issued_s.load(Ordering::Relaxed),
            again: self.has_stood(),
        }
    }

    /// Presence has taken it.
    pub fn stands(&self) {
        self.has_stood.store(true, Ordering::Relaxed);
    }

    /// Whether presence has ever taken it.
    pub fn has_stood(&self) -> bool {
        self.has_stood.load(Ordering::Relaxed)
    }

    /// The client brought another token.
    pub fn renew_token(&self, times: TokenTimes) {
        self.token_issued_s.store(times.issued_s, Ordering::Relaxed);
        self.token_expires_s
            .store(times.expires_s, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// When the token expires, in Unix seconds.
    pub fn token_expires_s(&self) -> i64 {
        self.token_expires_s.load(Ordering::Relaxed)
    }

    /// Puts an event out. False: the connection has ended.
    pub fn deliver(&self, event: Arc<EncodedEvent>, now_ms: u64) -> bool {
        self.push(Outbound::Deliver(event), now_ms)
    }

    /// Puts anything out. False: the connection has ended.
    pub fn push(&self, item: Outbound, now_ms: u64) -> bool {
        let mut inbox = self.inbox();
        if inbox.has_ended {
            return false;
        }
        inbox.put(item, now_ms);
        drop(inbox);
        self.wake.notify_one();
        true
    }

    /// Puts a large answer out as soon as there is room. It does not wait for a connection that ends.
    pub async fn reply(&self, payload: Payload, now_ms: impl Fn() -> u64) {
        let bytes = payload.bytes.len();
        let mut waits = false;
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            {
                let mut inbox = self.inbox();
                inbox.waiting_replies -= usize::from(waits);
                if inbox.has_ended || inbox.close.is_some() {
                    return;
                }
                if inbox.queue.is_empty() || inbox.queue.bytes() + bytes <= inbox.max_bytes {
                    inbox.put(Outbound::Answer(payload), now_ms());
                    break;
                }
                inbox.waiting_replies += 1;
                waits = true;
                // Under the lock, so that whoever makes room after it finds this one waiting.
                room.as_mut().enable();
            }
            room.await;
        }
        self.wake.notify_one();
    }

    /// Brings receipts, in the order of decisions.
    pub fn settle(&self, settled: Settled) {
        let mut inbox = self.inbox();
        if !inbox.has_ended {
            inbox.receipts.push(settled);
        }
        drop(inbox);
        self.wake.notify_one();
    }

    /// Holds a lane back; see [`BrokenLanes`].
    pub fn break_lane(&self, lane: u64, generation: u32) {
        self.inbox().broken.break_up_to(lane, generation);
    }

    /// Whether a command of this lane and generation is held back.
    pub fn holds(&self, lane: u64, generation: u32) -> bool {
        self.inbox().broken.holds(lane, generation)
    }

    /// Nothing is outstanding, and every receipt was seen.
    pub fn forget_lanes(&self) {
        self.inbox().broken.forget();
    }

    /// Ends it. The first reason stands. False: it has ended, or is about to.
    pub fn close(&self, close: Close) -> bool {
        let mut inbox = self.inbox();
        let closes = inbox.close_for(close);
        drop(inbox);
        self.wake.notify_one();
        self.room.notify_waiters();
        closes
    }

    /// Tells it that the gateway drains.
    pub fn goaway(&self, reconnect_after_ms: u32) {
        self.inbox().goaway = Some(reconnect_after_ms);
        self.wake.notify_one();
    }

    /// Takes one of `max` places for a call.
    pub fn begin_call(&self, max: usize) -> bool {
        let mut inbox = self.inbox();
        let begins = inbox.calls < max;
        inbox.calls += usize::from(begins);
        begins
    }

    /// Gives the place of a call back.
    pub fn end_call(&self) {
        self.inbox().calls -= 1;
        self.wake.notify_one();
    }

    /// How many calls are under way.
    pub fn calls(&self) -> usize {
        self.inbox().calls
    }

    /// Waits until there is something to look at.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// What has happened.
    pub fn news(&self) -> News {
        let mut inbox = self.inbox();
        News {
            receipts: std::mem::take(&mut inbox.receipts),
            close: inbox.close.clone(),
            goaway: inbox.goaway.take(),
        }
    }

    /// Whether something waits to be written.
    pub fn has_outbound(&self) -> bool {
        !self.inbox().queue.is_empty()
    }

    /// Takes what is to be written next.
    pub fn pop(&self, max_frame_bytes: usize) -> Option<Payload> {
        let mut inbox = self.inbox();
        let payload = inbox.queue.pop(max_frame_bytes);
        let waiting = inbox.waiting_replies > 0;
        drop(inbox);
        if waiting {
            self.room.notify_waiters();
        }
        payload
    }

    /// Its task has ended: nothing more is taken.
    pub fn end(&self) {
        let mut inbox = self.inbox();
        inbox.has_ended = true;
        inbox.queue = OutboundQueue::new(self.codec, inbox.max_bytes);
        inbox.receipts = Vec::new();
        drop(inbox);
        self.room.notify_waiters();
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn put(&mut self, item: Outbound, now_ms: u64) {
        match self.queue.push(item, now_ms) {
            Pushed::Queued => {}
            Pushed::Overflowed => {
                let hint = if self.queue.hints_at_inbox() {
                    "inbox"
                } else {
                    "conversations"
                };
                metrics::counter!("flare_access_gateway_outbound_overflows_total", "hint" => hint)
                    .increment(1);
            }
            Pushed::SlowReader => {
                let message = "what goes out is not read fast enough: sync after reconnecting";
                self.close_for(Close::new(CloseReason::SlowReader, message));
            }
        }
    }

    fn close_for(&mut self, close: Close) -> bool {
        let closes = self.close.is_none() && !self.has_ended;
        if closes {
            self.close = Some(close);
        }
        closes
    }
}

#[cfg(test)]
mod tests;
