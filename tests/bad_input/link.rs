//! Frames that are refused, and what becomes of their connections.

use anyhow::{Context, ensure};
use flare_core::codec::{Codec, Payload, ServerFrame};
use flare_proto::client::CloseReason;

use crate::surfaces::{
    answer::Answer,
    link::{Link, connect},
    message::frame as encoded,
    server::Server,
};

/// The server's refusal of a connection's first frame, after which it must close for this reason.
pub(crate) async fn first(
    server: &Server,
    codec: Codec,
    payload: &Payload,
    closes: CloseReason,
) -> anyhow::Result<Answer> {
    let mut link = Link::dial(server, codec).await?;
    link.send(payload.clone()).await?;
    let answer = link.answer().await?;
    if let Answer::Refused(_) = answer {
        link.ends(closes).await?;
    }
    Ok(answer)
}

/// The server's refusal of a frame. `closes`: it ends the connection then; else the connection must go on as if nothing had been.
pub(crate) async fn frame(
    server: &Server,
    codec: Codec,
    (token, device): (&str, &str),
    payload: &Payload,
    closes: bool,
) -> anyhow::Result<Answer> {
    let mut link = Link::dial(server, codec).await?;
    link.send(encoded(codec, &connect(token, device))).await?;
    let hello = link.next().await?;
    ensure!(
        matches!(hello, ServerFrame::Connected(_)),
        "{hello:?} came instead of Connected"
    );
    // A server that refuses an oversized frame may close before all of it is written.
    let sent = link.send(payload.clone()).await;
    let answer = link.answer().await;
    let answer = answer.with_context(|| format!("after sending: {sent:?}"))?;
    if closes && matches!(answer, Answer::Refused(_)) {
        link.ends(CloseReason::ProtocolError).await?;
    } else {
        link.goes_on().await?;
    }
    Ok(answer)
}
