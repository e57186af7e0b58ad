//! The task that owns the connection: it carries what the [`Core`] decides.

use std::{future::pending, sync::Arc, time::Duration};

use flare_core::{
    codec,
    transport::{
        Incoming, Transport as _, TransportExt, Turn,
        websocket::{ClientStream, WebSocket},
    },
};
use flare_proto::client::ClientSignal;
use futures::FutureExt;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use self::tokens::{Renewal, renewal};
use crate::{
    calls::PendingCall,
    clock::ServerClock,
    core::Core,
    dial::{self, DialError, Dialed, Dialing},
    error::CallError,
    event::{DisconnectReason, Event},
    options::Options,
    outbox::Command,
    queue::EventQueue,
    reconnect::Reconnect,
    token::TokenSource,
};

mod tokens;

/// Frames taken in before what they lead to is written.
const MAX_FRAMES_A_TURN: usize = 64;

/// What a handle wishes, beside commands.
#[derive(Debug)]
pub(crate) enum Order {
    Call(PendingCall),
    Signal(ClientSignal),
    View {
        conversation_id: String,
        active: bool,
    },
    Refresh {
        token: String,
        answer: oneshot::Sender<Result<(), CallError>>,
    },
    GiveUp(String),
    Close,
}

/// What the handles know of the client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// Of the last connection.
    pub(crate) identity: Option<crate::Identity>,
    pub(crate) is_online: bool,
    /// Why it ended.
    pub(crate) ended: Option<String>,
}

pub(crate) struct Driver {
    options: Options,
    clock: Arc<ServerClock>,
    queue: Arc<EventQueue>,
    core: Core,
    reconnect: Reconnect,
    /// Set by [`Order::Refresh`]; newer than the options' own.
    token: Option<String>,
    /// `token` came while an attempt to connect was under way.
    refreshes_when_up: bool,
    commands: mpsc::Receiver<Command>,
    orders: mpsc::Receiver<Order>,
    status: watch::Sender<Status>,
    link: Link,
    renewal: Renewal,
    /// Of the token that `renewal` was planned for.
    expires_ms: Option<i64>,
}

enum Link {
    /// Until this moment.
    Pausing(Instant),
    Dialing(Dialing),
    Up(Box<WebSocket<ClientStream>>),
    Ended,
}

/// What a turn of the task is about.
enum Wake {
    Link(LinkNews),
    Command(Option<Command>),
    Order(Option<Order>),
    /// The consumer is done with something, or a time has come.
    Look,
    Token(Result<String, String>),
}

enum LinkNews {
    PauseOver,
    Dialed(Result<Box<Dialed>, DialError>),
    Turn(Turn),
}

impl Driver {
    pub(crate) fn new(
        options: Options,
        clock: Arc<ServerClock>,
        queue: Arc<EventQueue>,
        commands: mpsc::Receiver<Command>,
        orders: mpsc::Receiver<Order>,
        status: watch::Sender<Status>,
    ) -> Self {
        let has_provider = matches!(options.token, TokenSource::Provider(_));
        Self {
            core: Core::new(&options, Arc::clone(&clock), Arc::clone(&queue)),
            reconnect: Reconnect::new(
                options.shortest_pause,
                options.longest_pause,
                clock.seed(),
                has_provider,
            ),
            options,
            clock,
            queue,
            token: None,
            refreshes_when_up: false,
            commands,
            orders,
            status,
            link: Link::Pausing(Instant::now()),
            renewal: Renewal::None,
            expires_ms: None,
        }
    }

    pub(crate) async fn run(mut self) {
        while !matches!(self.link, Link::Ended) {
            let now_ms = self.clock.now_ms();
            if let Some(reason) = self.core.tick(now_ms) {
                self.leave(reason).await;
                continue;
            }
            self.core.pump(now_ms);
            match self.wait(now_ms).await {
                Wake::Link(news) => self.link_news(news).await,
                Wake::Command(Some(command)) => self.core.submit(command),
                Wake::Order(Some(order)) => self.order(order).await,
                Wake::Command(None) | Wake::Order(None) if self.queue.has_reader() => {}
                Wake::Command(None) | Wake::Order(None) => {
                    self.leave(DisconnectReason::ByOwner).await;
                }
                Wake::Look => {
                    if self.is_abandoned() {
                        self.leave(DisconnectReason::ByOwner).await;
                    }
                }
                Wake::Token(token) => self.renewed(token),
            }
        }
    }

    /// Neither handle nor events are left.
    fn is_abandoned(&self) -> bool {
        !self.queue.has_reader()
            && self.orders.is_closed()
            && self.orders.is_empty()
            && self.commands.is_empty()
    }

    async fn wait(&mut self, now_ms: u64) -> Wake {
        self.plan_renewal(now_ms);
        let renew_at = match self.renewal {
            Renewal::At(at) => Some(at),
            Renewal::None | Renewal::Asking(_) => None,
        };
        let wake_at = self.core.wake_at(now_ms).into_iter().chain(renew_at).min();
        let timer = wake_at.and_then(|it| self.clock.instant(it));
        let wants_to_write = self.core.wants_to_write();
        let handles_left = !self.orders.is_closed() || !self.orders.is_empty();
        let commands_left = !self.commands.is_closed() || !self.commands.is_empty();
        if renew_at.is_some_and(|at| at <= now_ms) {
            self.ask_for_token();
        }
        tokio::select! {
            news = link_news(&mut self.link, wants_to_write) => Wake::Link(news),
            command = self.commands.recv(), if commands_left || !self.queue.has_reader() => Wake::Command(command),
            order = self.orders.recv(), if handles_left || !self.queue.has_reader() => Wake::Order(order),
            () = self.queue.consumed.notified() => Wake::Look,
            () = until(timer) => Wake::Look,
            token = renewal(&mut self.renewal) => Wake::Token(token),
        }
    }

    async fn order(&mut self, order: Order) {
        match order {
            Order::Call(call) => self.core.call(call),
            Order::Signal(signal) => self.core.signal(signal),
            Order::View {
                conversation_id,
                active,
            } => self.core.view(conversation_id, active),
            Order::Refresh { token, answer } => {
                self.token = Some(token.clone());
                // The attempt on its way bears the old one.
                self.refreshes_when_up = matches!(self.link, Link::Dialing(_));
                self.core.refresh(token, Some(answer), self.clock.now_ms());
            }
            Order::GiveUp(client_id) => self.core.give_up(&client_id),
            Order::Close => self.leave(DisconnectReason::ByOwner).await,
        }
    }

    async fn link_news(&mut self, news: LinkNews) {
        match news {
            LinkNews::PauseOver => {
                let token = self.next_token();
                self.refreshes_when_up = false;
                self.link = Link::Dialing(dial::dial(&self.options, token));
            }
            LinkNews::Dialed(Ok(dialed)) => self.up(*dialed),
            LinkNews::Dialed(Err(error)) => self.down(error.reason, error.is_final),
            LinkNews::Turn(Turn::Incoming(first)) => self.take_in(first).await,
            LinkNews::Turn(Turn::Ready(Ok(()))) => self.write_out().await,
            LinkNews::Turn(Turn::Ready(Err(error))) => {
                self.down(DisconnectReason::Broken(error.to_string()), false);
            }
        }
    }

    fn up(&mut self, (socket, connected): Dialed) {
        let identity = crate::Identity {
            tenant_id: connected.tenant_id.clone(),
            user_id: connected.user_id.clone(),
            device_id: connected.device_id.clone(),
        };
        self.reconnect.let_in();
        self.core.connected(connected, self.clock.now_ms());
        if std::mem::take(&mut self.refreshes_when_up)
            && let Some(token) = self.token.clone()
        {
            self.core.refresh(token, None, self.clock.now_ms());
        }
        self.link = Link::Up(Box::new(socket));
        self.status.send_modify(|it| {
            it.identity = Some(identity);
            it.is_online = true;
        });
    }

    /// Takes in the frames that are there.
    async fn take_in(
        &mut self,
        first: Option<Result<Incoming, flare_core::transport::TransportError>>,
    ) {
        let mut incoming = first;
        for taken_in in 1.. {
            let now_ms = self.clock.now_ms();
            let reason = match incoming {
                Some(Ok(Incoming::Frame(bytes))) => {
                    self.core.heard(now_ms);
                    match codec::decode_server(
                        self.options.codec,
                        bytes,
                        self.options.max_frame_bytes,
                    ) {
                        Ok(frame) => self.core.frame(frame, now_ms),
                        // A newer server's frame that this client does not know means nothing to it.
                        Err(error) if !error.closes() => None,
                        Err(error) => Some(DisconnectReason::Protocol(error.to_string())),
                    }
                }
                Some(Ok(Incoming::Alive)) => {
                    self.core.heard(now_ms);
                    None
                }
                Some(Ok(Incoming::Closed { code, reason })) => Some(dial::closed(code, reason)),
                Some(Err(error)) => Some(DisconnectReason::Broken(error.to_string())),
                None => Some(DisconnectReason::Broken("it ended".to_owned())),
            };
            if let Some(reason) = reason {
                self.down(reason, false);
                return;
            }
            let Link::Up(socket) = &mut self.link else {
                return;
            };
            if taken_in == MAX_FRAMES_A_TURN {
                return;
            }
            match socket.recv().now_or_never() {
                Some(next) => incoming = next,
                None => return,
            }
        }
    }

    /// Writes the frames that there is room for, with one flush.
    async fn write_out(&mut self) {
        let Link::Up(socket) = &mut self.link else {
            return;
        };
        let now_ms = self.clock.now_ms();
        let mut broken = None;
        while let Some(payload) = self.core.next_frame() {
            if let Err(error) = socket.feed(payload) {
                broken = Some(error);
                break;
            }
            self.core.wrote(now_ms);
            match socket.ready().now_or_never() {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    broken = Some(error);
                    break;
                }
                None => break,
            }
        }
        if broken.is_none() {
            broken = socket.start_flush().await.err();
        }
        if let Some(error) = broken {
            self.down(DisconnectReason::Broken(error.to_string()), false);
        }
    }

    /// Ends the connection from this side.
    async fn leave(&mut self, reason: DisconnectReason) {
        if let Link::Up(socket) = &mut self.link {
            if reason == DisconnectReason::ByOwner {
                self.core.hurry(self.clock.now_ms());
                while let Some(payload) = self.core.next_frame() {
                    if socket.feed(payload).is_err() {
                        break;
                    }
                }
            }
            if reason != DisconnectReason::Silent {
                socket.close(1_000, "").await;
            }
        }
        self.down(reason, false);
    }

    /// The connection, or the attempt at one, is over.
    fn down(&mut self, reason: DisconnectReason, is_final: bool) {
        let now_ms = self.clock.now_ms();
        let (worked, leave_at_ms) = self.core.disconnected(&reason);
        if worked && !is_our_fault(&reason) {
            self.reconnect.worked();
        }
        let not_before =
            Duration::from_millis(leave_at_ms.unwrap_or_default().saturating_sub(now_ms));
        let retry_in = self.reconnect.after(&reason, is_final, not_before);
        if retry_in.is_none() {
            let why = reason.to_string();
            self.commands.close();
            self.orders.close();
            while let Ok(command) = self.commands.try_recv() {
                self.core.submit(command);
            }
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Call(call) => self.core.call(call),
                    Order::Refresh { answer, .. } => {
                        let method = "Refresh".to_owned();
                        let why = why.clone();
                        let _ = answer.send(Err(CallError::Ended { method, why }));
                    }
                    Order::Signal(_) | Order::View { .. } | Order::GiveUp(_) | Order::Close => {}
                }
            }
            self.core.end(&why);
        }
        let ended = retry_in.is_none().then(|| reason.to_string());
        self.status.send_modify(|it| {
            it.is_online = false;
            it.ended = ended;
        });
        self.queue.push(Event::Disconnected { reason, retry_in });
        match retry_in {
            Some(pause) => self.link = Link::Pausing(Instant::now() + pause),
            None => {
                self.queue.end();
                self.link = Link::Ended;
            }
        }
    }
}

/// A server that closes so would close the next connection likewise.
fn is_our_fault(reason: &DisconnectReason) -> bool {
    use flare_proto::client::CloseReason;
    match reason {
        DisconnectReason::Protocol(_) => true,
        DisconnectReason::Closed { reason, .. } => matches!(
            reason,
            CloseReason::ProtocolError
                | CloseReason::TooFast
                | CloseReason::SlowReader
                | CloseReason::Unauthenticated
        ),
        _ => false,
    }
}

async fn link_news(link: &mut Link, wants_to_write: bool) -> LinkNews {
    match link {
        Link::Pausing(until) => {
            sleep_until(*until).await;
            LinkNews::PauseOver
        }
        Link::Dialing(dialing) => LinkNews::Dialed(dialing.await),
        Link::Up(socket) => LinkNews::Turn(socket.turn(wants_to_write).await),
        Link::Ended => pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
