//! A connection of a client that speaks JSON frames.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use flare_core::{
    codec::{self, Codec, ServerFrame},
    transport::{
        Incoming, TransportExt, close_reason,
        websocket::{self, ClientStream, ConnectOptions, Trust, WebSocket},
    },
};
use flare_proto::{
    client::{CloseReason, Connected, SendAck},
    common::{Error, ErrorCode},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{ground::Ground, message::frame};

/// What has not come by then will not come.
const SOON: Duration = Duration::from_secs(20);
const MAX_FRAME_BYTES: usize = 16 << 20;

/// A connection.
pub(crate) struct Link {
    socket: WebSocket<ClientStream>,
    /// What the server said when it let it in.
    pub(crate) connected: Connected,
}

/// The first frame of a connection, whose request id is 1.
pub(crate) fn connect(token: &str, device: &str) -> Value {
    json!({"connect": {"id": 1, "token": token, "deviceId": device, "platform": "test", "sdkVersion": "test/1"}})
}

/// A text to a user, under a client id that is made of both.
pub(crate) fn text(id: u32, to: &str, text: &str) -> Value {
    json!({"send": {"id": id, "userId": to, "clientId": format!("{to}-{id}"), "content": {"text": {"text": text}}}})
}

/// A Ping.
pub(crate) fn ping(id: u32) -> Value {
    json!({"ping": {"id": id}})
}

impl Link {
    /// Opens a connection, and sends nothing.
    pub(crate) async fn dial(ground: &Ground) -> anyhow::Result<Self> {
        let options = ConnectOptions {
            url: format!("ws://{}/ws", ground.link()?),
            trust: Trust::default(),
            codec: Codec::Json,
            origin: None,
            max_frame_bytes: MAX_FRAME_BYTES,
        };
        let socket = timeout(SOON, websocket::connect(&options)).await??;
        Ok(Self {
            socket,
            connected: Connected::default(),
        })
    }

    /// A connection of a user's phone, let in.
    pub(crate) async fn of(ground: &Ground, user: &str) -> anyhow::Result<Self> {
        Self::with(ground, &ground.token(user)?).await
    }

    /// A connection with this token, let in.
    pub(crate) async fn with(ground: &Ground, token: &str) -> anyhow::Result<Self> {
        let mut link = Self::dial(ground).await?;
        link.send(&connect(token, "phone")).await?;
        match link.next().await? {
            ServerFrame::Connected(connected) => link.connected = connected,
            other => bail!("{other:?} came instead of Connected"),
        }
        Ok(link)
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, json: &Value) -> anyhow::Result<()> {
        Ok(self.socket.send(frame(Codec::Json, json)).await?)
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> anyhow::Result<ServerFrame> {
        loop {
            let came = timeout(SOON, self.socket.recv()).await;
            match came.context("the server is silent")? {
                Some(Ok(Incoming::Frame(bytes))) => {
                    return Ok(codec::decode_server(Codec::Json, bytes, MAX_FRAME_BYTES)?);
                }
                Some(Ok(Incoming::Alive)) => {}
                other => bail!("the server ended the connection: {other:?}"),
            }
        }
    }

    /// The refusal of a request, with this code; what else comes is passed over, but for a success of the request.
    pub(crate) async fn refused(&mut self, id: u32, code: ErrorCode) -> anyhow::Result<Error> {
        loop {
            match self.next().await? {
                ServerFrame::Error(refused) if refused.id == id => {
                    let error = refused.error.context("a refusal that says nothing")?;
                    ensure!(error.code() == code, "want {code:?}, got {error:?}");
                    return Ok(error);
                }
                ServerFrame::SendAck(ack) if ack.id == id => {
                    bail!("request {id} was done: {ack:?}")
                }
                ServerFrame::Reply(reply) if reply.id == id => {
                    bail!("request {id} was answered: {reply:?}")
                }
                ServerFrame::Pong(pong) if pong.id == id => bail!("ping {id} was answered"),
                ServerFrame::Connected(_) => bail!("it was let in"),
                _ => {}
            }
        }
    }

    /// The receipt of a request.
    pub(crate) async fn placed(&mut self, id: u32) -> anyhow::Result<SendAck> {
        loop {
            match self.next().await? {
                ServerFrame::SendAck(ack) if ack.id == id => return Ok(ack),
                ServerFrame::Error(error) => bail!("refused: {error:?}"),
                _ => {}
            }
        }
    }

    /// The answer to a Ping; a refusal that comes before is none.
    pub(crate) async fn pong(&mut self, id: u32) -> anyhow::Result<()> {
        loop {
            match self.next().await? {
                ServerFrame::Pong(pong) if pong.id == id => return Ok(()),
                ServerFrame::Error(error) => bail!("refused: {error:?}"),
                _ => {}
            }
        }
    }

    /// Waits for the server's close, which says this reason by Kicked and by the close code.
    pub(crate) async fn closed(mut self, reason: CloseReason) -> anyhow::Result<()> {
        let mut said = None;
        loop {
            let came = timeout(SOON, self.socket.recv()).await;
            match came.context("the connection stays open")? {
                Some(Ok(Incoming::Frame(bytes))) => {
                    let frame = codec::decode_server(Codec::Json, bytes, MAX_FRAME_BYTES)?;
                    if let ServerFrame::Kicked(kicked) = frame {
                        said = Some(kicked.reason());
                    }
                }
                Some(Ok(Incoming::Alive)) => {}
                Some(Ok(Incoming::Closed { code, .. })) => {
                    let closed = code.and_then(close_reason);
                    ensure!(
                        closed == Some(reason),
                        "closed with {code:?}, not for {reason:?}"
                    );
                    ensure!(said == closed, "Kicked said {said:?}, not {reason:?}");
                    return Ok(());
                }
                other => bail!("it broke instead of closing for {reason:?}: {other:?}"),
            }
        }
    }

    /// Waits for the end, however it comes: one who did not read may not be told.
    pub(crate) async fn ended(mut self) -> anyhow::Result<()> {
        loop {
            let came = timeout(SOON, self.socket.recv()).await;
            match came.context("the connection stays open")? {
                Some(Ok(Incoming::Frame(_) | Incoming::Alive)) => {}
                Some(Ok(Incoming::Closed { .. }) | Err(_)) | None => return Ok(()),
            }
        }
    }
}
