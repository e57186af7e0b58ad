//! The handle of a client.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use flare_proto::client::{ClientSignal, Typing, client_signal};
use prost::Message;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};

use crate::{
    calls::PendingCall,
    clock::ServerClock,
    core::millis,
    draft::{Draft, Sent, Target},
    driver::{Driver, Order, Status},
    error::{CallError, SendError},
    methods::{self, Method},
    observer::Action,
    options::Options,
    outbox::Command,
    permits::Permits,
    queue::{EventQueue, Events},
};

mod conversations;

/// Most calls that wait for their answers.
const MAX_CALLS: usize = 256;
/// Most orders on their way to the task.
const MAX_ORDERS: usize = 256;

/// As whom a client is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The tenant of the token.
    pub tenant_id: String,
    /// The user of the token.
    pub user_id: String,
    /// This device.
    pub device_id: String,
}

/// A client: one device of one user, connected or about to be. Cheap to clone. It ends when it is closed, when the server wants it no longer (see
/// [`crate::Event::Disconnected`]), or when all its clones, pending [`Sending`]s and its [`Events`] are dropped.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    commands: mpsc::Sender<Command>,
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Status>,
    clock: Arc<ServerClock>,
    outbox: Arc<Permits>,
    calls: Arc<Permits>,
    send_deadline: Duration,
    request_timeout: Duration,
}

impl Client {
    /// Starts a client. It connects at once and stays connected, as far as it can; what happens is told in the events. Sending does not wait for that.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(options: Options) -> (Self, Events) {
        let clock = Arc::new(ServerClock::new(options.seed));
        let queue = EventQueue::new(options.queued_events.max(1), options.queued_bytes.max(1));
        let events = Events::new(Arc::clone(&queue), options.cursors.clone());
        let (commands, commands_out) = mpsc::channel(options.outbox_messages.max(1));
        let (orders, orders_out) = mpsc::channel(MAX_ORDERS);
        let (status_in, status) = watch::channel(Status::default());
        let shared = Shared {
            commands,
            orders,
            status,
            clock: Arc::clone(&clock),
            outbox: Permits::new(options.outbox_messages.max(1), options.outbox_bytes),
            calls: Permits::new(MAX_CALLS, usize::MAX),
            send_deadline: options.send_deadline,
            request_timeout: options.request_timeout,
        };
        let driver = Driver::new(options, clock, queue, commands_out, orders_out, status_in);
        tokio::spawn(driver.run());
        let client = Self {
            shared: Arc::new(shared),
        };
        (client, events)
    }

    /// Sends a message: it is queued before this returns, and what is sent to one conversation keeps its order. It is sent again, under the same
    /// client id, until it has its receipt, is refused for good, or its deadline passes. Await the answer, or drop it: the message goes its way.
    pub fn send(&self, draft: Draft) -> Sending {
        let Draft {
            target,
            content,
            client_id,
            trace_id,
            deadline,
        } = draft;
        let action = Action::Send(content);
        self.submit(target, action, client_id, trace_id, deadline)
    }

    /// Sends a text.
    pub fn send_text(&self, target: Target, text: impl Into<String>) -> Sending {
        self.send(Draft::text(target, text))
    }

    /// Takes back the message of this seq, in order with what is sent to the conversation.
    pub fn recall(&self, conversation_id: impl Into<String>, seq: u64) -> Sending {
        let target = Target::conversation(conversation_id);
        self.submit(target, Action::Recall(seq), None, String::new(), None)
    }

    fn submit(
        &self,
        target: Target,
        action: Action,
        client_id: Option<String>,
        trace_id: String,
        deadline: Option<Duration>,
    ) -> Sending {
        let bytes = match &action {
            Action::Send(content) => content.len(),
            Action::Recall(_) => 0,
        };
        let permit = match self.shared.outbox.take(bytes) {
            Ok(permit) => permit,
            Err((messages, bytes)) => {
                return Sending(State::Failed(Some(SendError::Full { messages, bytes })));
            }
        };
        let (outcome, answer) = oneshot::channel();
        let deadline = deadline.unwrap_or(self.shared.send_deadline);
        let command = Command {
            target,
            action,
            client_id,
            trace_id,
            deadline_ms: self.shared.clock.now_ms().saturating_add(millis(deadline)),
            outcome: Some(outcome),
            _permit: permit,
        };
        // There is a place for each permit, so only an ended client takes no more.
        match self.shared.commands.try_send(command) {
            Ok(()) => Sending(State::Waiting {
                answer,
                client: self.clone(),
            }),
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                let why = self.why_ended();
                Sending(State::Failed(Some(SendError::NotSent { why })))
            }
        }
    }

    /// Gives up a message by the client id that it was given: its sender is told at once, and it is not sent again. It may have been stored.
    pub async fn give_up(&self, client_id: impl Into<String>) {
        // An ended client has given up everything.
        let _ = self
            .shared
            .orders
            .send(Order::GiveUp(client_id.into()))
            .await;
    }

    /// Calls a method of the contract. On a lost connection, or a refusal that may be retried, it is called again until
    /// [`Options::request_timeout`] has passed since the first: every method is idempotent, by a client id where it changes something.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<Q: Message, A: Message + Default>(
        &self,
        method: &Method<Q, A>,
        request: &Q,
    ) -> Result<A, CallError> {
        let name = method.name();
        let contract = |reason: String| CallError::Contract {
            method: name.to_owned(),
            reason,
        };
        let (request_type, response_type) = methods::types_of(name)
            .ok_or_else(|| contract("no method that is open to clients".to_owned()))?;
        let permit = self
            .shared
            .calls
            .take(0)
            .map_err(|(waiting, _)| CallError::TooMany {
                method: name.to_owned(),
                waiting,
            })?;
        let (answer, answered) = oneshot::channel();
        let call = PendingCall {
            method: name,
            request_type,
            response_type,
            request: request.encode_to_vec().into(),
            deadline_ms: self
                .shared
                .clock
                .now_ms()
                .saturating_add(millis(self.shared.request_timeout)),
            answer,
            _permit: permit,
        };
        let ended = || CallError::Ended {
            method: name.to_owned(),
            why: self.why_ended(),
        };
        let sent = self.shared.orders.send(Order::Call(call)).await;
        sent.map_err(|_| ended())?;
        let bytes = answered.await.map_err(|_| ended())??;
        A::decode(bytes).map_err(|error| contract(error.to_string()))
    }

    /// Says that the user types, or no longer. Lost if there is no connection just now.
    pub fn typing(&self, conversation_id: impl Into<String>, active: bool) {
        let signal = ClientSignal {
            conversation_id: conversation_id.into(),
            signal: Some(client_signal::Signal::Typing(Typing { active })),
        };
        let _ = self.shared.orders.try_send(Order::Signal(signal));
    }

    /// Says that the device shows a conversation, or no longer. Of a large conversation it gets each event as it comes while it shows it, on this
    /// connection and those that follow; else it syncs it now and then, when the server tells that there is more. At most [`MAX_VIEWED`](crate::MAX_VIEWED) are
    /// shown at a time: one more, and the one that was shown for longest counts as shown no longer.
    pub async fn view(&self, conversation_id: impl Into<String>, active: bool) {
        let order = Order::View {
            conversation_id: conversation_id.into(),
            active,
        };
        // Without the client's driver there is no connection that could show anything.
        let _ = self.shared.orders.send(order).await;
    }

    /// Brings a new token, for this connection and those that follow. Without a connection it returns at once.
    ///
    /// # Errors
    /// If the server refuses it, or does not answer.
    pub async fn refresh(&self, token: impl Into<String>) -> Result<(), CallError> {
        let (answer, answered) = oneshot::channel();
        let token = token.into();
        let ended = || CallError::Ended {
            method: "Refresh".to_owned(),
            why: self.why_ended(),
        };
        let order = Order::Refresh { token, answer };
        self.shared.orders.send(order).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// Ends the client: what its consumer is done with is acknowledged, and the connection closed. Messages without a receipt are
    /// told as failed; await them before. Returns when it has ended.
    pub async fn close(&self) {
        // An ended client takes no more orders.
        let _ = self.shared.orders.send(Order::Close).await;
        let mut status = self.shared.status.clone();
        // The task is gone when the status is.
        let _ = status.wait_for(|it| it.ended.is_some()).await;
    }

    /// As whom the client is connected, or was last; `None` before the first connection.
    pub fn identity(&self) -> Option<Identity> {
        self.shared.status.borrow().identity.clone()
    }

    /// Whether there is a connection.
    pub fn is_online(&self) -> bool {
        self.shared.status.borrow().is_online
    }

    /// A client id, as [`Draft::with_client_id`] takes it: a ULID of the server's time; `None` before the first connection has told it.
    pub fn mint_client_id(&self) -> Option<String> {
        self.shared.clock.mint(self.shared.clock.now_ms())
    }

    fn why_ended(&self) -> String {
        let ended = self.shared.status.borrow().ended.clone();
        ended.unwrap_or_else(|| "the client's task is gone".to_owned())
    }
}

/// A message on its way: a future of its receipt. Dropped, the message is sent all the same.
#[derive(Debug)]
#[must_use = "a message may fail: await its receipt, or drop it with intent"]
pub struct Sending(State);

#[derive(Debug)]
enum State {
    Waiting {
        answer: oneshot::Receiver<Result<Sent, SendError>>,
        /// Keeps the client alive.
        client: Client,
    },
    Failed(Option<SendError>),
}

impl Future for Sending {
    type Output = Result<Sent, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Waiting { answer, client } => {
                let told = ready!(Pin::new(answer).poll(cx));
                Poll::Ready(told.unwrap_or_else(|_| {
                    let why = client.why_ended();
                    Err(SendError::NotSent { why })
                }))
            }
            State::Failed(error) => {
                let why = "asked for twice".to_owned();
                Poll::Ready(Err(error.take().unwrap_or(SendError::NotSent { why })))
            }
        }
    }
}
