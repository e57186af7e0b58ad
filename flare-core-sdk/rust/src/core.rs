//! What a client decides, without sockets and timers: frames and wishes in, frames and events out.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use flare_core::{
    check,
    codec::{self, ClientFrame, Codec, Payload},
    heartbeat::{HeartbeatRange, PingSchedule},
};
use flare_proto::client::{self, ClientSignal, Connected, Viewing, client_signal};
use tokio::sync::oneshot;

use crate::{
    acks::Acks,
    calls::{Calls, PendingCall},
    clock::ServerClock,
    error::CallError,
    event::{DisconnectReason, Event},
    observer::Observer,
    options::Options,
    outbox::{Command, Outbox},
    queue::EventQueue,
    reading::{Question, Reading},
    requests::{Asked, Requests},
};

mod answers;
mod commands;

/// Most frames that wait to be written: what is beyond is decided when it can leave.
const MAX_OUTGOING: usize = 64;
/// Most conversations that a device shows at a time.
pub const MAX_VIEWED: usize = 16;
/// Taken by the `Connect`.
pub(crate) const CONNECT_ID: u32 = 1;
/// The pause before a question that was not answered is asked again, in milliseconds.
const ASK_AGAIN_MS: u64 = 1_000;

/// The whole state of a client but its connection.
pub(crate) struct Core {
    clock: Arc<ServerClock>,
    observer: Arc<dyn Observer>,
    queue: Arc<EventQueue>,
    codec: Codec,
    request_timeout_ms: u64,
    outbox: Outbox,
    calls: Calls,
    reading: Reading,
    acks: Acks,
    requests: Requests,
    online: Option<Online>,
    outgoing: VecDeque<Payload>,
    /// Why there is no connection.
    trouble: Option<String>,
    /// What the device shows, the latest last.
    viewed: VecDeque<String>,
}

/// What is so while a connection is up.
struct Online {
    connected: Connected,
    ping: PingSchedule,
    limits: check::Limits,
    max_frame_bytes: usize,
    /// The server asked to leave at this time.
    leave_at_ms: Option<u64>,
    /// It said something beside `Connected`.
    has_spoken: bool,
}

impl Core {
    pub(crate) fn new(options: &Options, clock: Arc<ServerClock>, queue: Arc<EventQueue>) -> Self {
        Self {
            reading: Reading::new(
                Arc::clone(&queue),
                Arc::clone(&options.observer),
                options.first_sight,
                options.cursors.clone(),
            ),
            observer: Arc::clone(&options.observer),
            clock,
            queue,
            codec: options.codec,
            request_timeout_ms: millis(options.request_timeout),
            outbox: Outbox::new(),
            calls: Calls::default(),
            acks: Acks::new(millis(options.ack_delay)),
            requests: Requests::new(CONNECT_ID),
            online: None,
            outgoing: VecDeque::new(),
            trouble: None,
            viewed: VecDeque::new(),
        }
    }

    /// A connection is up.
    pub(crate) fn connected(&mut self, connected: Connected, now_ms: u64) {
        self.clock.learn(connected.server_time_ms, now_ms);
        let told = connected.limits.unwrap_or_default();
        let default = check::Limits::default();
        let or = |told: u32, default: usize| match usize::try_from(told) {
            Ok(told) if told > 0 => told,
            _ => default,
        };
        let limits = check::Limits {
            max_content_bytes: or(told.max_content_bytes, default.max_content_bytes),
            max_mentions: or(told.max_mentions, default.max_mentions),
            max_page_size: if told.max_page_size == 0 {
                default.max_page_size
            } else {
                told.max_page_size
            },
        };
        self.outbox.max_in_flight = or(
            told.max_unacked_sends,
            flare_core::pending::DEFAULT_MAX_UNACKED,
        );
        self.reading.max_page = limits.max_page_size;
        self.requests = Requests::new(CONNECT_ID);
        self.observer.connected(&connected);
        self.queue
            .push(Event::Connected(Box::new(connected.clone())));
        self.reading.connected();
        self.trouble = None;
        let heartbeat_ms = match connected.heartbeat_ms {
            0 => HeartbeatRange::default().default_ms,
            agreed => agreed,
        };
        self.online = Some(Online {
            ping: PingSchedule::new(heartbeat_ms, now_ms),
            limits,
            max_frame_bytes: or(told.max_frame_bytes, usize::MAX),
            leave_at_ms: None,
            has_spoken: false,
            connected,
        });
        // Before anything is asked for: what comes after the answers comes by itself.
        for conversation_id in self.viewed.clone() {
            self.say_viewing(conversation_id, true);
        }
    }

    /// The connection is gone. Tells whether it was of any use, and when the server said to come again.
    pub(crate) fn disconnected(&mut self, reason: &DisconnectReason) -> (bool, Option<u64>) {
        self.trouble = Some(reason.to_string());
        self.outgoing.clear();
        let mut questions = Vec::new();
        for asked in self.requests.drain() {
            match asked {
                Asked::Reading(question) => questions.push(question),
                Asked::Refresh(Some(answer)) => {
                    // The next connection is made with the new token.
                    let _ = answer.send(Ok(()));
                }
                Asked::Refresh(None) | Asked::Command(_) | Asked::Call(_) => {}
            }
        }
        self.reading.disconnected(questions);
        self.outbox.disconnected();
        self.calls.disconnected();
        self.acks.disconnected();
        match self.online.take() {
            Some(online) => {
                self.observer.disconnected(reason);
                (online.has_spoken, online.leave_at_ms)
            }
            None => (false, None),
        }
    }

    pub(crate) fn submit(&mut self, command: Command) {
        self.outbox.push(command);
    }

    pub(crate) fn call(&mut self, call: PendingCall) {
        self.calls.push(call);
    }

    /// Sent now or never.
    pub(crate) fn signal(&mut self, signal: ClientSignal) {
        if self.online.is_some() && self.outgoing.len() < MAX_OUTGOING {
            // A signal of the caller's making can always be written.
            let _ = self.put(&ClientFrame::Signal(signal));
        }
    }

    /// The device shows a conversation, or no longer.
    pub(crate) fn view(&mut self, conversation_id: String, active: bool) {
        let before = self.viewed.len();
        self.viewed.retain(|it| *it != conversation_id);
        let was_viewed = self.viewed.len() < before;
        if !active {
            if was_viewed {
                self.say_viewing(conversation_id, false);
            }
            return;
        }
        self.viewed.push_back(conversation_id.clone());
        if was_viewed {
            return;
        }
        if self.viewed.len() > MAX_VIEWED
            && let Some(longest) = self.viewed.pop_front()
        {
            self.say_viewing(longest, false);
        }
        self.say_viewing(conversation_id.clone(), true);
        self.reading.look_at(&conversation_id);
    }

    fn say_viewing(&mut self, conversation_id: String, active: bool) {
        if self.online.is_some() {
            let viewing = client_signal::Signal::Viewing(Viewing { active });
            let signal = ClientSignal {
                conversation_id,
                signal: Some(viewing),
            };
            // There are few of them, and they can always be written.
            let _ = self.put(&ClientFrame::Signal(signal));
        }
    }

    pub(crate) fn refresh(
        &mut self,
        token: String,
        answer: Option<oneshot::Sender<Result<(), CallError>>>,
        now_ms: u64,
    ) {
        if self.online.is_none() {
            if let Some(answer) = answer {
                let _ = answer.send(Ok(()));
            }
            return;
        }
        let id = self.requests.next_id();
        let frame = ClientFrame::Refresh(client::Refresh { id, token });
        match self.put(&frame) {
            Ok(()) => self.ask(id, Asked::Refresh(answer), now_ms),
            Err(reason) => {
                if let Some(answer) = answer {
                    let method = answers::REFRESH.to_owned();
                    let _ = answer.send(Err(CallError::Contract { method, reason }));
                }
            }
        }
    }

    pub(crate) fn give_up(&mut self, client_id: &str) {
        if let Some(key) = self.outbox.find(client_id)
            && let Some(client_id) = self.outbox.give_up(key, "it was given up")
        {
            self.observer.abandoned(&client_id);
        }
    }

    /// What has come due. A reason to end the connection, if there is one.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Option<DisconnectReason> {
        let trouble = self.trouble.as_deref();
        for client_id in self.outbox.expire(now_ms, trouble) {
            self.observer.abandoned(&client_id);
        }
        self.calls.expire(now_ms);
        while let Some(asked) = self.requests.expired(now_ms) {
            match asked {
                // Its place in the order is unknown, so nothing behind it can be trusted either.
                Asked::Command(_) => return Some(DisconnectReason::Silent),
                Asked::Call(key) => self.calls.unanswered(key),
                Asked::Reading(question) => self.reading.failed(question, now_ms + ASK_AGAIN_MS),
                Asked::Refresh(answer) => {
                    if let Some(answer) = answer {
                        let method = answers::REFRESH.to_owned();
                        let _ = answer.send(Err(CallError::TimedOut { method }));
                    }
                }
            }
        }
        let online = self.online.as_ref()?;
        if online.leave_at_ms.is_some_and(|at| at <= now_ms) {
            return Some(DisconnectReason::GoingAway);
        }
        (online.ping.dead_at_ms() <= now_ms).then_some(DisconnectReason::Silent)
    }

    /// Decides what leaves next.
    pub(crate) fn pump(&mut self, now_ms: u64) {
        self.acks.consumed(self.queue.take_positions(), now_ms);
        let Some(online) = &self.online else {
            return;
        };
        // A server that drains refuses what is begun now.
        if online.leave_at_ms.is_none() {
            self.begin(now_ms);
        }
        while self.has_room()
            && let Some(ack) = self.acks.next(now_ms)
        {
            // Positions are strings and numbers: they can always be written.
            let _ = self.put(&ClientFrame::Ack(ack));
        }
        self.ping(now_ms);
    }

    /// Whatever is to be answered.
    fn begin(&mut self, now_ms: u64) {
        while self.has_room()
            && let Some(key) = self.outbox.next(now_ms)
        {
            self.send(key, now_ms);
        }
        while self.has_room()
            && let Some(question) = self.reading.next_question(now_ms)
        {
            self.ask_question(question, now_ms);
        }
        while self.has_room() {
            let id = self.requests.next_id();
            let Some((key, call)) = self.calls.leave(id, now_ms) else {
                break;
            };
            match self.put(&ClientFrame::Call(call)) {
                Ok(()) => self.ask(id, Asked::Call(key), now_ms),
                Err(reason) => self.calls.unwritable(key, reason),
            }
        }
    }

    fn ping(&mut self, now_ms: u64) {
        let is_due = |it: &Online| it.ping.ping_at_ms() <= now_ms;
        if self.has_room() && self.online.as_ref().is_some_and(is_due) {
            let id = self.requests.next_id();
            // A number can always be written.
            let _ = self.put(&ClientFrame::Ping(client::Ping { id }));
            if let Some(online) = &mut self.online {
                online.ping.pinged(now_ms);
            }
        }
    }

    /// When to look again, if nothing happens before.
    pub(crate) fn wake_at(&self, now_ms: u64) -> Option<u64> {
        let always = [
            self.outbox.wake_at(now_ms),
            self.calls.wake_at(now_ms),
            self.requests.wake_at(),
        ];
        let online = self.online.as_ref().map(|it| {
            [
                Some(it.ping.ping_at_ms()).filter(|at| *at > now_ms),
                Some(it.ping.dead_at_ms()),
                it.leave_at_ms,
                self.acks.wake_at(now_ms),
                self.reading.wake_at(now_ms),
            ]
        });
        always
            .into_iter()
            .chain(online.into_iter().flatten())
            .flatten()
            .min()
    }

    /// The next frame to be written.
    pub(crate) fn next_frame(&mut self) -> Option<Payload> {
        self.outgoing.pop_front()
    }

    pub(crate) fn wants_to_write(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// A frame was written.
    pub(crate) fn wrote(&mut self, now_ms: u64) {
        if let Some(online) = &mut self.online {
            online.ping.sent(now_ms);
        }
    }

    /// Something came from the server.
    pub(crate) fn heard(&mut self, now_ms: u64) {
        if let Some(online) = &mut self.online {
            online.ping.heard(now_ms);
        }
    }

    /// What the consumer is done with is to be told at once: the client is about to close.
    pub(crate) fn hurry(&mut self, now_ms: u64) {
        self.acks.consumed(self.queue.take_positions(), now_ms);
        self.acks.hurry();
        while self.online.is_some()
            && let Some(ack) = self.acks.next(now_ms)
        {
            // As in `pump`.
            let _ = self.put(&ClientFrame::Ack(ack));
        }
    }

    /// When the token expires on which the connection stands, in Unix milliseconds.
    pub(crate) fn token_expires_ms(&self) -> Option<i64> {
        Some(self.online.as_ref()?.connected.token_expires_ms)
    }

    /// Nobody waits any longer.
    pub(crate) fn end(&mut self, why: &str) {
        self.outbox.end(why);
        self.calls.end(why);
    }

    fn ask_question(&mut self, question: Question, now_ms: u64) {
        let id = self.requests.next_id();
        match self.put(&answers::question_frame(id, &question)) {
            Ok(()) => self.ask(id, Asked::Reading(question), now_ms),
            Err(reason) => {
                tracing::warn!(%reason, ?question, "a question could not be written");
                self.reading.failed(question, now_ms + ASK_AGAIN_MS);
            }
        }
    }

    fn ask(&mut self, id: u32, asked: Asked, now_ms: u64) {
        self.requests
            .ask(id, asked, now_ms.saturating_add(self.request_timeout_ms));
    }

    fn has_room(&self) -> bool {
        self.outgoing.len() < MAX_OUTGOING
    }

    fn put(&mut self, frame: &ClientFrame) -> Result<(), String> {
        let payload = codec::encode_client(self.codec, frame).map_err(|it| it.to_string())?;
        let most = self
            .online
            .as_ref()
            .map_or(usize::MAX, |it| it.max_frame_bytes);
        // The server would close the connection, and again when it is sent again.
        if payload.bytes.len() > most {
            let actual = payload.bytes.len();
            return Err(format!(
                "a frame has at most {most} bytes, this one has {actual}"
            ));
        }
        self.outgoing.push_back(payload);
        Ok(())
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests;
