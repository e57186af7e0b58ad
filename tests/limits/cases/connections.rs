//! Connections.

use std::{io::ErrorKind, time::Duration};

use anyhow::{bail, ensure};
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpStream, time::Instant};

use super::metric::{CLOSES, HANDSHAKES, LINK, OVERFLOWS};
use crate::{
    case::Case,
    flood::Flood,
    ground::Ground,
    link::{Link, connect, text},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("Open connections", |it| Box::pin(no_seat(it, "503")))
            .set(&["access_gateway.max_connections=1"])
            .seen(HANDSHAKES, "503"),
        Case::new("Open connections from one address", |it| {
            Box::pin(no_seat(it, "429"))
        })
        .set(&["access_gateway.max_connections_per_ip=1"])
        .seen(HANDSHAKES, "429"),
        Case::new("Time of a handshake", |it| Box::pin(silent_handshake(it)))
            .set(&["access_gateway.handshake_ms=100"])
            .seen(HANDSHAKES, "0"),
        Case::new("Time until Connect", |it| Box::pin(no_connect(it)))
            .set(&["access_gateway.connect_ms=100"])
            .seen(CLOSES, "CONNECT_TIMEOUT"),
        Case::new("Silence of a client, in heartbeats", |it| {
            Box::pin(silence(it))
        })
        .set(&[
            "access_gateway.min_heartbeat_ms=150",
            "access_gateway.default_heartbeat_ms=150",
        ])
        .seen(CLOSES, "IDLE"),
        Case::new("Time after a token's expiry", |it| {
            Box::pin(expired_token(it))
        })
        .set(&["access_gateway.token_grace_ms=200", "identity.leeway_s=0"])
        .seen(CLOSES, "UNAUTHENTICATED"),
        Case::new("Devices of one user at once", |it| {
            Box::pin(second_device(it))
        })
        .set(&["signaling_online.max_devices_per_user=1"])
        .seen(LINK, "LIMIT_EXCEEDED"),
        Case::new("Bytes of a frame", |it| Box::pin(long_frame(it)))
            .set(&[
                "access_gateway.max_frame_bytes=2048",
                "access_gateway.max_content_bytes=1024",
            ])
            .seen(LINK, "FRAME_TOO_LARGE"),
        Case::new("Bytes of a token", |it| Box::pin(long_token(it))).seen(LINK, "UNAUTHENTICATED"),
        Case::new("Bytes of platform and SDK version", |it| {
            Box::pin(long_labels(it))
        })
        .seen(LINK, "INVALID_ARGUMENT"),
        Case::new("Bytes that wait to be written to one connection", |it| {
            Box::pin(slow_reader(it))
        })
        .set(&[
            "access_gateway.outbound_bytes=262144",
            "access_gateway.max_reply_bytes=262144",
        ])
        .seen(OVERFLOWS, "conversations"),
        Case::new("Conversations that a `SyncHint` names", |it| {
            Box::pin(many_hinted(it))
        })
        .seen(OVERFLOWS, "inbox"),
    ]
}

async fn no_seat(ground: &Ground, status: &str) -> anyhow::Result<()> {
    let _first = Link::dial(ground).await?;
    let mut second = TcpStream::connect(ground.link()?).await?;
    let mut answer = String::new();
    second.read_to_string(&mut answer).await?;
    ensure!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
    Ok(())
}

async fn silent_handshake(ground: &Ground) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(ground.link()?).await?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        Ok(_) => ensure!(answer.is_empty(), "it was answered: {answer:?}"),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => bail!(error),
    }
    Ok(())
}

async fn no_connect(ground: &Ground) -> anyhow::Result<()> {
    Link::dial(ground)
        .await?
        .closed(ground.close_reason()?)
        .await
}

async fn silence(ground: &Ground) -> anyhow::Result<()> {
    let before = Instant::now();
    let link = Link::of(ground, "ann").await?;
    let two_heartbeats = Duration::from_millis(2 * u64::from(link.connected.heartbeat_ms));
    link.closed(ground.close_reason()?).await?;
    ensure!(
        two_heartbeats == Duration::from_millis(300),
        "{two_heartbeats:?} was agreed"
    );
    ensure!(
        before.elapsed() >= two_heartbeats,
        "after {:?}",
        before.elapsed()
    );
    Ok(())
}

async fn expired_token(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token_for("ann", Duration::from_secs(2))?;
    let link = Link::with(ground, &token).await?;
    let allowed_to = link.connected.token_expires_ms + 200;
    link.closed(ground.close_reason()?).await?;
    ensure!(ground.now_ms() >= allowed_to, "closed before {allowed_to}");
    Ok(())
}

async fn second_device(ground: &Ground) -> anyhow::Result<()> {
    let _phone = Link::of(ground, "ann").await?;
    let mut laptop = Link::dial(ground).await?;
    laptop
        .send(&connect(&ground.token("ann")?, "laptop"))
        .await?;
    laptop.refused(1, ground.code()?).await?;
    laptop.closed(ground.close_reason()?).await
}

async fn long_frame(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&text(2, "bob", &"x".repeat(4_096))).await?;
    link.refused(0, ground.code()?).await?;
    link.closed(ground.close_reason()?).await
}

async fn long_token(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::dial(ground).await?;
    link.send(&connect(&"x".repeat(8_193), "phone")).await?;
    let error = link.refused(1, ground.code()?).await?;
    ensure!(error.message.contains("too long"), "{error:?}");
    link.closed(ground.close_reason()?).await
}

async fn long_labels(ground: &Ground) -> anyhow::Result<()> {
    for (label, field) in [("platform", "platform"), ("sdkVersion", "sdk_version")] {
        let mut frame = connect(&ground.token("ann")?, "phone");
        frame["connect"][label] = json!("x".repeat(65));
        let mut link = Link::dial(ground).await?;
        link.send(&frame).await?;
        let error = link.refused(1, ground.code()?).await?;
        ensure!(error.field == field, "{error:?}");
        link.closed(ground.close_reason()?).await?;
    }
    Ok(())
}

/// The first time he is told to sync the conversation, the second time he is closed.
async fn slow_reader(ground: &Ground) -> anyhow::Result<()> {
    let mut eve = Link::of(ground, "eve").await?;
    let mut flood = Flood::of(ground, "eve", 1, 25).await?;
    flood.overflows().await?;
    let hint = flood.hint(&mut eve).await?;
    ensure!(hint.conversation_ids.len() == 1, "{hint:?}");
    flood.closes().await?;
    eve.ended().await
}

/// More conversations were cleared than a hint names: it names none.
async fn many_hinted(ground: &Ground) -> anyhow::Result<()> {
    let mut eve = Link::of(ground, "eve").await?;
    let mut flood = Flood::of(ground, "eve", 100, 100).await?;
    flood.overflows().await?;
    let hint = flood.hint(&mut eve).await?;
    ensure!(hint.conversation_ids.is_empty(), "{hint:?}");
    Ok(())
}
