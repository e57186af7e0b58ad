//! A server that says what a test tells it to.

use std::time::Duration;

use flare_core::{
    codec::{ClientFrame, Codec, Payload, ServerFrame, decode_client, encode_server},
    transport::{
        Incoming, Transport as _, TransportExt,
        websocket::{AcceptOptions, OriginRule, WebSocket, accept},
    },
};
use flare_core_sdk::{
    Options,
    proto::{
        client::{Connect, Connected, Deliver, ErrorFrame, Limits, Pong, Reply, Send, SendAck},
        common::{Error, ErrorCode},
        message::{
            Content, Event, EventBody, EventHeader, MessageCreated, Text, content::Kind,
            event_body::Body,
        },
        session::SyncInboxResponse,
    },
};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
const MAX_FRAME: usize = 1 << 20;

pub(crate) struct FakeServer {
    listener: TcpListener,
}

/// One connection.
pub(crate) struct Peer {
    socket: WebSocket<TcpStream>,
    codec: Codec,
    pub(crate) connect: Connect,
}

impl FakeServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    /// What a client of this server starts with: short pauses.
    pub(crate) fn options(&self) -> Options {
        let url = format!("ws://{}/ws", self.listener.local_addr().unwrap());
        let mut options = Options::new(url, "token-1", "phone");
        options.shortest_pause = Duration::from_millis(5);
        options.longest_pause = Duration::from_millis(50);
        options.ack_delay = Duration::from_millis(5);
        options.first_sight = flare_core_sdk::FirstSight::FromStart;
        options.seed = Some(7);
        options
    }

    /// The next connection, whose Connect has come.
    pub(crate) async fn connection(&self) -> Peer {
        let (stream, _) = timeout(SOON, self.listener.accept())
            .await
            .unwrap()
            .unwrap();
        let options = AcceptOptions {
            max_frame_bytes: MAX_FRAME,
            origins: OriginRule::Any,
        };
        let accepted = timeout(SOON, accept(stream, &options))
            .await
            .unwrap()
            .unwrap();
        let mut peer = Peer {
            socket: accepted.socket,
            codec: accepted.codec,
            connect: Connect::default(),
        };
        match peer.raw_frame().await {
            Some(ClientFrame::Connect(connect)) => peer.connect = connect,
            other => panic!("{other:?}"),
        }
        peer
    }

    /// The next connection, let in.
    pub(crate) async fn welcomed(&self) -> Peer {
        let mut peer = self.connection().await;
        peer.welcome(0).await;
        peer
    }
}

impl Peer {
    pub(crate) async fn welcome(&mut self, token_expires_ms: i64) {
        let connected = Connected {
            id: self.connect.id,
            tenant_id: "default".to_owned(),
            user_id: "alice".to_owned(),
            device_id: self.connect.device_id.clone(),
            server_time_ms: NOW_MS,
            heartbeat_ms: 30_000,
            token_expires_ms,
            limits: Some(Limits {
                max_unacked_sends: 64,
                max_frame_bytes: MAX_FRAME as u32,
                ..Limits::default()
            }),
            ..Connected::default()
        };
        self.say(ServerFrame::Connected(connected)).await;
    }

    pub(crate) async fn say(&mut self, frame: ServerFrame) {
        let payload: Payload = encode_server(self.codec, &frame).unwrap();
        timeout(SOON, self.socket.send(payload))
            .await
            .unwrap()
            .unwrap();
    }

    /// Says all of them in one go.
    pub(crate) async fn say_at_once(&mut self, frames: impl IntoIterator<Item = ServerFrame>) {
        for frame in frames {
            let payload = encode_server(self.codec, &frame).unwrap();
            timeout(SOON, self.socket.ready()).await.unwrap().unwrap();
            self.socket.feed(payload).unwrap();
        }
        timeout(SOON, self.socket.flush()).await.unwrap().unwrap();
    }

    /// The next frame; `None` when the client has gone.
    async fn raw_frame(&mut self) -> Option<ClientFrame> {
        loop {
            match timeout(SOON, self.socket.recv()).await.unwrap() {
                Some(Ok(Incoming::Frame(bytes))) => {
                    return Some(decode_client(self.codec, bytes, MAX_FRAME).unwrap());
                }
                Some(Ok(Incoming::Alive)) => {}
                Some(Ok(Incoming::Closed { .. }) | Err(_)) | None => return None,
            }
        }
    }

    /// The next frame that is neither a Ping nor a question for the inbox, both of which are answered: nothing is there.
    pub(crate) async fn next(&mut self) -> Option<ClientFrame> {
        loop {
            match self.raw_frame().await? {
                ClientFrame::Ping(ping) => {
                    let pong = Pong {
                        id: ping.id,
                        server_time_ms: NOW_MS,
                    };
                    self.say(ServerFrame::Pong(pong)).await;
                }
                ClientFrame::Call(call) if call.method.ends_with("/SyncInbox") => {
                    let page = SyncInboxResponse {
                        token: "t".to_owned(),
                        ..SyncInboxResponse::default()
                    };
                    self.reply(call.id, "flare.session.v1.SyncInboxResponse", &page)
                        .await;
                }
                other => return Some(other),
            }
        }
    }

    pub(crate) async fn send(&mut self) -> Send {
        match self.next().await {
            Some(ClientFrame::Send(send)) => send,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn sends(&mut self, count: usize) -> Vec<Send> {
        let mut sends = Vec::new();
        while sends.len() < count {
            sends.push(self.send().await);
        }
        sends
    }

    pub(crate) async fn reply(&mut self, id: u32, name: &str, answer: &impl Message) {
        let response = prost_types::Any {
            type_url: format!("type.googleapis.com/{name}"),
            value: answer.encode_to_vec(),
        };
        let reply = Reply {
            id,
            response: Some(response),
        };
        self.say(ServerFrame::Reply(reply)).await;
    }

    pub(crate) async fn ack(&mut self, send: &Send, seq: u64, duplicate: bool) {
        let ack = SendAck {
            id: send.id,
            client_id: send.client_id.clone(),
            conversation_id: send.conversation_id.clone(),
            message_id: format!("m{seq}"),
            seq,
            duplicate,
            ..SendAck::default()
        };
        self.say(ServerFrame::SendAck(ack)).await;
    }

    pub(crate) async fn refuse(&mut self, id: u32, code: ErrorCode, retry_after_ms: i64) {
        let error = Error {
            code: code.into(),
            retry_after_ms,
            ..Error::default()
        };
        let frame = ErrorFrame {
            id,
            error: Some(error),
            ..ErrorFrame::default()
        };
        self.say(ServerFrame::Error(frame)).await;
    }

    pub(crate) async fn deliver(
        &mut self,
        conversation: &str,
        seqs: impl IntoIterator<Item = u64>,
    ) {
        let events = seqs.into_iter().map(|it| event(conversation, it)).collect();
        self.say(ServerFrame::Deliver(Deliver { events })).await;
    }
}

/// An encoded event of bob's that says its seq.
pub(crate) fn event(conversation: &str, seq: u64) -> bytes::Bytes {
    let text = Text {
        text: seq.to_string(),
    };
    let content = Content {
        kind: Some(Kind::Text(text)),
        ..Content::default()
    };
    let created = MessageCreated {
        content: content.encode_to_vec().into(),
    };
    let body = EventBody {
        body: Some(Body::MessageCreated(created)),
    };
    let event = Event {
        header: Some(EventHeader {
            conversation_id: conversation.to_owned(),
            seq,
            sender_id: "bob".to_owned(),
            ..EventHeader::default()
        }),
        body: body.encode_to_vec().into(),
    };
    event.encode_to_vec().into()
}

/// What a sent message says.
pub(crate) fn text(send: &Send) -> String {
    match Content::decode(send.content.clone()).unwrap().kind {
        Some(Kind::Text(it)) => it.text,
        other => panic!("{other:?}"),
    }
}
