//! Frames to the server, and what it says to them.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use flare_core::{
    codec::{self, Codec, Payload, ServerFrame},
    transport::{
        Incoming, TransportError, TransportExt, close_reason,
        websocket::{self, ClientStream, ConnectOptions, Trust, WebSocket},
    },
};
use flare_proto::{
    client::{CloseReason, ErrorFrame},
    common::Error,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    answer::Answer,
    message::{FRAME_ID, frame},
    server::Server,
};

/// An answer that has not come by then will not come.
const SOON: Duration = Duration::from_secs(10);
const MAX_FRAME_BYTES: usize = 4 << 20;
const PING_ID: u32 = 9;

/// The first frame of a connection.
pub(crate) fn connect(token: &str, device: &str) -> Value {
    json!({"connect": {"id": FRAME_ID, "token": token, "deviceId": device, "platform": "test", "sdkVersion": "test/1"}})
}

/// A connection to access-gateway.
pub(crate) struct Link {
    socket: WebSocket<ClientStream>,
    codec: Codec,
}

impl Link {
    /// One on which nothing was sent yet.
    pub(crate) async fn dial(server: &Server, codec: Codec) -> anyhow::Result<Self> {
        let options = ConnectOptions {
            url: server.link(),
            trust: Trust::default(),
            codec,
            origin: None,
            max_frame_bytes: MAX_FRAME_BYTES,
        };
        let socket = timeout(SOON, websocket::connect(&options)).await??;
        Ok(Self { socket, codec })
    }

    /// Sends bytes, whatever they are.
    pub(crate) async fn send(&mut self, payload: Payload) -> Result<(), TransportError> {
        self.socket.send(payload).await
    }

    /// The next frame of the server's.
    pub(crate) async fn next(&mut self) -> anyhow::Result<ServerFrame> {
        loop {
            match timeout(SOON, self.socket.recv())
                .await
                .context("the server is silent")?
            {
                Some(Ok(Incoming::Frame(bytes))) => {
                    return Ok(codec::decode_server(self.codec, bytes, MAX_FRAME_BYTES)?);
                }
                Some(Ok(Incoming::Alive)) => {}
                other => bail!("the server ended the connection: {other:?}"),
            }
        }
    }

    /// What the server says to the frame in question; what it tells unasked is passed over.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<Answer> {
        loop {
            match self.next().await? {
                ServerFrame::Error(ErrorFrame { id, error, .. }) => {
                    let error: Error = error.context("a refusal that says nothing")?;
                    ensure!(
                        id == FRAME_ID || id == 0,
                        "the refusal is of request {id}: {error:?}"
                    );
                    return Ok(Answer::Refused(error));
                }
                ServerFrame::Reply(reply) => {
                    let response = reply.response.context("an empty reply")?;
                    let message = response.type_url.rsplit('.').next().unwrap_or_default();
                    return Answer::of_response(message, &response.value);
                }
                done @ (ServerFrame::SendAck(_)
                | ServerFrame::Connected(_)
                | ServerFrame::Pong(_)) => {
                    return Ok(Answer::Done(format!("{done:?}").into_bytes()));
                }
                ServerFrame::Kicked(kicked) => bail!("kicked before a refusal: {kicked:?}"),
                _ => {}
            }
        }
    }

    /// Waits for the server's close, by Kicked and by the close code.
    pub(crate) async fn ends(&mut self, wanted: CloseReason) -> anyhow::Result<()> {
        let mut said = None;
        loop {
            match timeout(SOON, self.socket.recv())
                .await
                .context("the connection stays open")?
            {
                Some(Ok(Incoming::Frame(bytes))) => {
                    if let ServerFrame::Kicked(kicked) =
                        codec::decode_server(self.codec, bytes, MAX_FRAME_BYTES)?
                    {
                        said = Some(kicked.reason());
                    }
                }
                Some(Ok(Incoming::Alive)) => {}
                Some(Ok(Incoming::Closed { code, .. })) => {
                    let closed = code.and_then(close_reason);
                    ensure!(
                        closed == Some(wanted),
                        "closed with {code:?}, not for {wanted:?}"
                    );
                    ensure!(said == Some(wanted), "Kicked said {said:?}, not {wanted:?}");
                    return Ok(());
                }
                other => bail!("it broke instead of closing for {wanted:?}: {other:?}"),
            }
        }
    }

    /// The connection goes on as if nothing had been, and is closed then.
    pub(crate) async fn goes_on(mut self) -> anyhow::Result<()> {
        let ping = frame(self.codec, &json!({"ping": {"id": PING_ID}}));
        self.send(ping).await?;
        loop {
            match self.next().await? {
                ServerFrame::Pong(pong) if pong.id == PING_ID => break,
                ServerFrame::Error(error) => bail!("a second refusal: {error:?}"),
                _ => {}
            }
        }
        self.socket.close(1_000, "").await;
        Ok(())
    }
}
