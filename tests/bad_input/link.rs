//! Frames to the server, and what it says to them.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use flare_core::{
    codec::{self, Codec, Payload, ServerFrame},
    transport::{
        Incoming, TransportExt, close_reason,
        websocket::{self, ClientStream, ConnectOptions, Trust, WebSocket},
    },
};
use flare_proto::{
    client::{CloseReason, ErrorFrame},
    common::Error,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    answer::Answer,
    ask::{FRAME_ID, frame as encoded},
    cell::of_ranges,
    ground::Ground,
};

/// An answer that has not come by then will not come.
const SOON: Duration = Duration::from_secs(10);
const MAX_FRAME_BYTES: usize = 4 << 20;
const PING_ID: u32 = 9;

/// The first frame of a connection.
pub(crate) fn connect(token: &str, device: &str) -> Value {
    json!({"connect": {"id": FRAME_ID, "token": token, "deviceId": device, "platform": "test", "sdkVersion": "test/1"}})
}

/// The server's refusal of a connection's first frame, after which it must close for this reason.
pub(crate) async fn first(
    ground: &Ground,
    codec: Codec,
    payload: &Payload,
    closes: CloseReason,
) -> anyhow::Result<Answer> {
    let mut socket = dial(ground, codec).await?;
    socket.send(payload.clone()).await?;
    let answer = answer(&mut socket, codec).await?;
    if let Answer::Refused(_) = answer {
        ends(&mut socket, codec, closes).await?;
    }
    Ok(answer)
}

/// The server's refusal of a frame. `closes`: it ends the connection then; else the connection must go on as if nothing had been.
pub(crate) async fn frame(
    ground: &Ground,
    codec: Codec,
    (token, device): (&str, &str),
    payload: &Payload,
    closes: bool,
) -> anyhow::Result<Answer> {
    let mut socket = dial(ground, codec).await?;
    socket.send(encoded(codec, &connect(token, device))).await?;
    let hello = next(&mut socket, codec).await?;
    ensure!(
        matches!(hello, ServerFrame::Connected(_)),
        "{hello:?} came instead of Connected"
    );
    // A server that refuses an oversized frame may close before all of it is written.
    let sent = socket.send(payload.clone()).await;
    let answer = answer(&mut socket, codec).await;
    let answer = answer.with_context(|| format!("after sending: {sent:?}"))?;
    if closes && matches!(answer, Answer::Refused(_)) {
        ends(&mut socket, codec, CloseReason::ProtocolError).await?;
        return Ok(answer);
    }
    socket
        .send(encoded(codec, &json!({"ping": {"id": PING_ID}})))
        .await?;
    loop {
        match next(&mut socket, codec).await? {
            ServerFrame::Pong(pong) if pong.id == PING_ID => break,
            ServerFrame::Error(error) => bail!("a second refusal: {error:?}"),
            _ => {}
        }
    }
    socket.close(1_000, "").await;
    Ok(answer)
}

async fn dial(ground: &Ground, codec: Codec) -> anyhow::Result<WebSocket<ClientStream>> {
    let options = ConnectOptions {
        url: ground.server.link(),
        trust: Trust::default(),
        codec,
        origin: None,
        max_frame_bytes: MAX_FRAME_BYTES,
    };
    Ok(timeout(SOON, websocket::connect(&options)).await??)
}

/// The next frame of the server's.
async fn next(socket: &mut WebSocket<ClientStream>, codec: Codec) -> anyhow::Result<ServerFrame> {
    loop {
        match timeout(SOON, socket.recv())
            .await
            .context("the server is silent")?
        {
            Some(Ok(Incoming::Frame(bytes))) => {
                return Ok(codec::decode_server(codec, bytes, MAX_FRAME_BYTES)?);
            }
            Some(Ok(Incoming::Alive)) => {}
            other => bail!("the server ended the connection: {other:?}"),
        }
    }
}

/// What the server says to the frame in question; what it tells unasked is passed over.
async fn answer(socket: &mut WebSocket<ClientStream>, codec: Codec) -> anyhow::Result<Answer> {
    loop {
        match next(socket, codec).await? {
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
                if response.type_url.ends_with("ReadRangesResponse") {
                    return of_ranges(&response.value);
                }
                return Ok(Answer::Done(format!("{response:?}")));
            }
            done @ (ServerFrame::SendAck(_) | ServerFrame::Connected(_) | ServerFrame::Pong(_)) => {
                return Ok(Answer::Done(format!("{done:?}")));
            }
            ServerFrame::Kicked(kicked) => bail!("kicked before a refusal: {kicked:?}"),
            _ => {}
        }
    }
}

/// Waits for the server's close, by Kicked and by the close code.
async fn ends(
    socket: &mut WebSocket<ClientStream>,
    codec: Codec,
    wanted: CloseReason,
) -> anyhow::Result<()> {
    let mut said = None;
    loop {
        match timeout(SOON, socket.recv())
            .await
            .context("the connection stays open")?
        {
            Some(Ok(Incoming::Frame(bytes))) => {
                if let ServerFrame::Kicked(kicked) =
                    codec::decode_server(codec, bytes, MAX_FRAME_BYTES)?
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
