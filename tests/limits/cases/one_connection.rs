//! What one connection asks for.

use anyhow::{bail, ensure};
use flare_access_gateway::domain::positions::MAX_OF_A_DEVICE;
use flare_core::{check::MAX_ACK_POSITIONS, codec::ServerFrame};
use flare_proto::client::CloseReason;
use serde_json::{Value, json};

use super::metric::{API, CLOSES, LINK};
use crate::{
    case::Case,
    ground::{Ground, Shape},
    http::Proof,
    link::{Link, ping, text},
    message::{FRAME_ID, call},
    until::until,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("Frames a second, in the long run", |it| Box::pin(fast(it)))
            .set(&[
                "access_gateway.frames_per_s=1",
                "access_gateway.frame_burst=1",
            ])
            .seen(LINK, "RATE_LIMITED"),
        Case::new("Frames above that rate", |it| Box::pin(too_fast(it)))
            .set(&[
                "access_gateway.max_excess_frames=1",
                "access_gateway.frames_per_s=1",
                "access_gateway.frame_burst=1",
            ])
            .seen(CLOSES, "TOO_FAST"),
        Case::new("Sends and Operates without an answer", |it| {
            Box::pin(unacked(it))
        })
        .set(&["access_gateway.max_unacked_sends=1"])
        .seen("flare_access_gateway_reads_paused_total", ""),
        Case::new("Time of a Send or Operate", |it| Box::pin(late_receipt(it)))
            .on(Shape::SilentServices)
            .set(&["access_gateway.command_ms=100"])
            .seen("flare_access_gateway_commands_expired_total", ""),
        Case::new("Conversations with commands outstanding or refused", |it| {
            Box::pin(many_lanes(it))
        })
        .on(Shape::SilentServices)
        .set(&["access_gateway.max_lanes=1"])
        .seen(LINK, "RESOURCE_EXHAUSTED"),
        Case::new("Calls, Syncs and Refreshes at once", |it| {
            Box::pin(many_calls(it))
        })
        .on(Shape::SilentServices)
        .set(&["access_gateway.max_calls=1"])
        .seen(LINK, "RESOURCE_EXHAUSTED"),
        Case::new("Time of a Call or Sync", |it| Box::pin(late_reply(it)))
            .on(Shape::SilentServices)
            .set(&["access_gateway.call_ms=100"])
            .seen(LINK, "DEADLINE_EXCEEDED"),
        Case::new("Bytes of a Reply", |it| Box::pin(long_reply(it)))
            .set(&["access_gateway.max_reply_bytes=4096"])
            .seen(LINK, "LIMIT_EXCEEDED"),
        Case::new("Conversations in one read of events", |it| {
            Box::pin(two_ranges(it))
        })
        .set(&["storage_reader.max_ranges=1"])
        .seen(LINK, "INVALID_ARGUMENT")
        .seen(API, "InvalidArgument"),
        Case::new("Ranges in one Sync", |it| Box::pin(many_ranges(it)))
            .seen(LINK, "INVALID_ARGUMENT"),
        Case::new("Positions in one Ack", |it| Box::pin(many_positions(it)))
            .seen(LINK, "INVALID_ARGUMENT"),
        Case::new(
            "Acknowledged positions of one device that wait in a gateway",
            |it| Box::pin(many_waiting_positions(it)),
        )
        .set(&["access_gateway.positions_ms=10000"])
        .seen(LINK, "RESOURCE_EXHAUSTED"),
        Case::new("Signals a second", |it| Box::pin(many_signals(it)))
            .set(&["access_gateway.signals_per_s=1"])
            .seen(LINK, "RATE_LIMITED"),
        Case::new("Conversations that one connection views", |it| {
            Box::pin(many_viewed(it))
        })
        .set(&["access_gateway.max_viewed=1"])
        .seen(LINK, "LIMIT_EXCEEDED"),
    ]
}

async fn many_viewed(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    for conversation in ["one", "two"] {
        let viewing =
            json!({"signal": {"conversationId": conversation, "viewing": {"active": true}}});
        link.send(&viewing).await?;
    }
    let error = link.refused(0, ground.code()?).await?;
    ensure!(error.field == "viewing", "{error:?}");
    Ok(())
}

/// A call of the session.
fn sync_inbox() -> Value {
    call("flare.session.v1.SessionService/SyncInbox", &json!({}))
}

fn sync(id: u32, ranges: usize) -> Value {
    let ranges = vec![json!({"conversationId": "team"}); ranges];
    json!({"sync": {"id": id, "ranges": ranges}})
}

async fn fast(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&ping(2)).await?;
    link.send(&ping(3)).await?;
    let error = link.refused(3, ground.code()?).await?;
    ensure!((1..=1_000).contains(&error.retry_after_ms), "{error:?}");
    Ok(())
}

async fn too_fast(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    for id in 2..=4 {
        link.send(&ping(id)).await?;
    }
    link.closed(ground.close_reason()?).await
}

/// The Ping is read only when the Send has its receipt.
async fn unacked(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&text(2, "bob", "hello")).await?;
    link.send(&ping(3)).await?;
    match link.next().await? {
        ServerFrame::SendAck(ack) if ack.id == 2 => {}
        other => bail!("{other:?} came before the receipt"),
    }
    match link.next().await? {
        ServerFrame::Pong(pong) if pong.id == 3 => Ok(()),
        other => bail!("{other:?} came instead of the Pong"),
    }
}

async fn late_receipt(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&text(2, "bob", "hello")).await?;
    let error = link.refused(2, ground.code()?).await?;
    ensure!(error.retry_after_ms > 0, "{error:?}");
    Ok(())
}

async fn many_lanes(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&text(2, "bob", "hello")).await?;
    link.send(&text(3, "carl", "hello")).await?;
    link.refused(3, ground.code()?).await?;
    // What was sent behind it must not overtake it.
    link.closed(CloseReason::TooFast).await
}

async fn many_calls(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&sync_inbox()).await?;
    link.send(&sync(3, 1)).await?;
    link.refused(3, ground.code()?).await?;
    Ok(())
}

async fn late_reply(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&sync_inbox()).await?;
    link.refused(FRAME_ID, ground.code()?).await?;
    Ok(())
}

async fn long_reply(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&text(2, "bob", &"x".repeat(6_000))).await?;
    let id = link.placed(2).await?.conversation_id;
    // The store may lag.
    let error = until("the message is in a Reply", async || {
        let range = json!({"conversationId": id});
        link.send(&json!({"sync": {"id": 3, "ranges": [range]}}))
            .await?;
        loop {
            match link.next().await? {
                ServerFrame::Reply(_) => return Ok(None),
                ServerFrame::Error(refused) => return Ok(refused.error),
                _ => {}
            }
        }
    })
    .await?;
    ensure!(error.code() == ground.code()?, "{error:?}");
    Ok(())
}

/// Fewer than the contract allows: the deployment says so.
async fn two_ranges(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&sync(2, 2)).await?;
    let by_link = link.refused(2, ground.code()?).await?;
    let token = ground.token("ann")?;
    let request = json!({"ranges": vec![json!({"conversationId": "team"}); 2]});
    let answer = ground.call(Proof::Token(&token), "ReadRanges", &request);
    let by_grpc = answer.await?.refusal(ground.code()?)?;
    for error in [by_link, by_grpc] {
        ensure!(error.field == "ranges", "{error:?}");
    }
    Ok(())
}

async fn many_ranges(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&sync(2, 51)).await?;
    let error = link.refused(2, ground.code()?).await?;
    ensure!(error.field == "ranges", "{error:?}");
    Ok(())
}

async fn many_positions(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    let positions = vec![json!({"conversationId": "team", "seq": "1"}); 1_001];
    link.send(&json!({"ack": {"positions": positions}})).await?;
    let error = link.refused(0, ground.code()?).await?;
    ensure!(error.field == "positions", "{error:?}");
    Ok(())
}

/// Of conversations that do not exist, for all that the gateway knows. Another device still has its room.
async fn many_waiting_positions(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    let ack = |number: usize| {
        let position = |it| json!({"conversationId": format!("made-up-{number}-{it}"), "seq": "1"});
        let positions: Vec<_> = (0..MAX_ACK_POSITIONS).map(position).collect();
        json!({"ack": {"positions": positions}})
    };
    for number in 0..=MAX_OF_A_DEVICE / MAX_ACK_POSITIONS {
        link.send(&ack(number)).await?;
    }
    let error = link.refused(0, ground.code()?).await?;
    ensure!(
        error.message.contains("of this device") && error.retry_after_ms > 0,
        "{error:?}"
    );
    let mut other = Link::of(ground, "bob").await?;
    other.send(&ack(0)).await?;
    other.send(&ping(2)).await?;
    other.pong(2).await
}

async fn many_signals(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    let typing = json!({"signal": {"conversationId": "welcome", "typing": {"active": true}}});
    link.send(&typing).await?;
    link.send(&typing).await?;
    let error = link.refused(0, ground.code()?).await?;
    ensure!((1..=1_000).contains(&error.retry_after_ms), "{error:?}");
    Ok(())
}
