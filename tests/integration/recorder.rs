//! Writes a client's history: what it means to send before it leaves, and all that it hears.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use flare_checker::{
    Acked, Client, ClientEvent, Delivered, Durability, HistoryError, HistoryWriter, Intent, Kind,
    Refused, SyncAnswer, Target, Via, body_hash,
};
use flare_core_sdk::{self as sdk, Action, ConversationEvent, DisconnectReason, Observer};
use flare_proto::{
    client::{CloseReason, Connected, SendAck},
    message::{Event, EventBody, EventHeader, EventKind, event_body::Body},
};
use flare_server_core::clock::{Clock, SystemClock};
use prost::Message;

/// One client's history.
pub(crate) struct Recorder {
    state: Mutex<State>,
}

struct State {
    writer: HistoryWriter,
    connections: u64,
    is_connected: bool,
    declared: bool,
    /// The claims are made: what the client does from here on proves nothing.
    finished: bool,
    failed: Option<HistoryError>,
    repeats: Repeats,
}

/// What the device had to do more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repeats {
    /// Commands that left again, each time counted.
    pub(crate) resent: u64,
    /// Refusals after which a command may be tried again.
    pub(crate) refused: u64,
}

impl Recorder {
    /// Opens or continues the history of `user`'s `device`.
    pub(crate) fn open(path: &Path, user: &str, device: &str) -> Result<Self, HistoryError> {
        let client = Client::new("default", user, device);
        let writer = HistoryWriter::open(path, client, Durability::Process)?;
        let state = State {
            writer,
            connections: 0,
            is_connected: false,
            declared: false,
            finished: false,
            failed: None,
            repeats: Repeats::default(),
        };
        Ok(Self {
            state: Mutex::new(state),
        })
    }

    /// Writes one record.
    pub(crate) fn write(&self, event: ClientEvent) {
        self.lock().write(event);
    }

    /// Declares that the client is in step and is to be told of all that follows, if its connection is still the `connection`-th
    /// and this was not declared of it before.
    pub(crate) fn in_step(&self, connection: u64) {
        let mut state = self.lock();
        if state.is_connected && state.connections == connection && !state.declared {
            state.declared = true;
            state.write(ClientEvent::OnlineThroughout);
        }
    }

    /// Ends the history. What kept it from being written, if anything did.
    pub(crate) fn finish(&self) -> Option<HistoryError> {
        let mut state = self.lock();
        state.finished = true;
        state.failed.take()
    }

    /// What was repeated so far.
    pub(crate) fn repeats(&self) -> Repeats {
        self.lock().repeats
    }

    /// The intent to send these bytes.
    pub(crate) fn intends(&self, client_id: &str, target: Target, content: &[u8]) {
        let mut state = self.lock();
        let sender = state.writer.client().user.clone();
        let intent = Intent {
            client_id: client_id.to_owned(),
            target,
            sender,
            body_hash: body_hash(content),
            kind: Kind::Message,
        };
        state.write(ClientEvent::Intent(intent));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, event: ClientEvent) {
        if self.finished {
            return;
        }
        if let Err(error) = self.writer.append(SystemClock.now_ms(), event) {
            self.failed.get_or_insert(error);
        }
    }
}

/// The record of an event that came in the bytes `event`.
pub(crate) fn delivered(event: &Event, via: Via) -> Option<Delivered> {
    let header = event.header.as_ref()?;
    Some(record(header, &event.body, via))
}

fn record(header: &EventHeader, body: &[u8], via: Via) -> Delivered {
    let by_system = header.sender_id.is_empty();
    let kind = match header.kind() {
        EventKind::MessageCreated | EventKind::MessageRecalled if by_system => Kind::Other,
        EventKind::MessageCreated => Kind::Message,
        EventKind::MessageRecalled => Kind::Recall,
        _ => Kind::Member,
    };
    let content = match EventBody::decode(body).ok().and_then(|it| it.body) {
        Some(Body::MessageCreated(created)) => Some(body_hash(&created.content)),
        _ => None,
    };
    Delivered {
        conversation: header.conversation_id.clone(),
        seq: header.seq,
        message_id: header.message_id.clone(),
        sender: header.sender_id.clone(),
        via,
        client_id: Some(header.client_id.clone()).filter(|it| !it.is_empty()),
        body_hash: content,
        kind: Some(kind),
        ordinal: Some(header.ordinal),
        server_time_ms: Some(header.time_ms),
        recalled_seq: (header.target_seq > 0).then_some(header.target_seq),
        tenant: Some(header.tenant_id.clone()),
    }
}

/// The record of a receipt.
pub(crate) fn acked(ack: &SendAck) -> ClientEvent {
    ClientEvent::Acked(Acked {
        client_id: ack.client_id.clone(),
        conversation: ack.conversation_id.clone(),
        seq: ack.seq,
        message_id: ack.message_id.clone(),
        duplicate: ack.duplicate,
        body_hash: None,
    })
}

impl Observer for Recorder {
    fn intent(&self, command: &sdk::Intent<'_>) {
        let mut state = self.lock();
        let (hash, kind) = match command.action {
            Action::Send(content) => (body_hash(content), Kind::Message),
            Action::Recall(seq) => (body_hash(format!("recall {seq}").as_bytes()), Kind::Recall),
        };
        let intent = Intent {
            client_id: command.client_id.to_owned(),
            target: match command.target {
                sdk::Target::Conversation(id) => Target::Conversation(id.clone()),
                sdk::Target::User(user) => Target::User(user.clone()),
            },
            sender: state.writer.client().user.clone(),
            body_hash: hash,
            kind,
        };
        state.write(ClientEvent::Intent(intent));
    }

    fn resent(&self, client_id: &str) {
        let mut state = self.lock();
        state.repeats.resent += 1;
        state.write(ClientEvent::Resent {
            client_id: client_id.to_owned(),
        });
    }

    fn abandoned(&self, client_id: &str) {
        self.write(ClientEvent::Abandoned {
            client_id: client_id.to_owned(),
        });
    }

    fn acked(&self, ack: &SendAck) {
        self.write(acked(ack));
    }

    fn refused(&self, client_id: &str, refusal: &sdk::Refusal) {
        let mut state = self.lock();
        state.repeats.refused += u64::from(refusal.is_retryable());
        state.write(ClientEvent::Refused(Refused {
            client_id: client_id.to_owned(),
            code: refusal.code.as_str_name().to_owned(),
            retryable: refusal.is_retryable(),
        }));
    }

    fn arrived(&self, event: &ConversationEvent) {
        let via = match event.via {
            sdk::Via::Deliver => Via::Deliver,
            sdk::Via::Sync => Via::Sync,
            // The receipt is in the history, and stands for it.
            sdk::Via::OwnAck => return,
        };
        self.write(ClientEvent::Delivered(record(
            &event.header,
            &event.body,
            via,
        )));
    }

    fn synced(&self, answer: &sdk::SyncAnswer<'_>) {
        self.write(ClientEvent::Sync(SyncAnswer {
            conversation: answer.conversation_id.to_owned(),
            from: answer.after_seq,
            to: answer.to_seq,
            head: answer.head_seq,
            events: Some(answer.events as u64),
        }));
    }

    fn snapshot(&self, conversation_id: &str, as_of_seq: u64) {
        self.write(ClientEvent::Snapshot {
            conversation: conversation_id.to_owned(),
            as_of: as_of_seq,
        });
    }

    fn floor(&self, conversation_id: &str, floor_seq: u64) {
        self.write(ClientEvent::Floor {
            conversation: conversation_id.to_owned(),
            floor: floor_seq,
        });
    }

    fn sync_hint(&self, conversation_id: Option<&str>) {
        self.write(ClientEvent::SyncHint {
            conversation: conversation_id.map(str::to_owned),
        });
    }

    fn connected(&self, _connected: &Connected) {
        let mut state = self.lock();
        state.connections += 1;
        state.is_connected = true;
        state.declared = false;
        state.write(ClientEvent::Connected);
    }

    fn disconnected(&self, reason: &DisconnectReason) {
        let mut state = self.lock();
        state.is_connected = false;
        if let DisconnectReason::Closed { reason, .. } = reason
            && matches!(
                reason,
                CloseReason::Kicked | CloseReason::Replaced | CloseReason::Unauthenticated
            )
        {
            state.write(ClientEvent::Kicked {
                reason: reason.as_str_name().to_owned(),
            });
        }
        state.write(ClientEvent::Disconnected);
    }
}
