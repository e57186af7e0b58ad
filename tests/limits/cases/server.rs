//! The server as a whole.

use anyhow::{Context, bail, ensure};
use flare_core::codec::ServerFrame;
use flare_proto::common::{Error, ErrorCode};
use futures::{TryStreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::metric::{LINK, ORCHESTRATOR, SESSION};
use crate::{
    answer::Answer,
    case::Case,
    ground::{Ground, Shape},
    http::Proof,
    link::{Link, connect, ping, text},
    until::until,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "Connections in a gateway that wait to be registered",
            |it| Box::pin(many_unregistered(it)),
        )
        .on(Shape::SilentPresence)
        .set(&["access_gateway.registration_queue=1"])
        .seen(LINK, "UNAVAILABLE"),
        Case::new(
            "Pairs of a user who is connected to a gateway and a large conversation of his",
            |it| Box::pin(many_large_places(it)),
        )
        .set(&["access_gateway.max_large_places=1"])
        .seen("flare_access_gateway_large_places_refused_total", ""),
        Case::new("Commands in a gateway that wait to be submitted", |it| {
            Box::pin(full_queue(it))
        })
        .on(Shape::SilentServices)
        .set(&[
            "access_gateway.command_queue=1",
            "access_gateway.max_commands_in_flight=1",
        ])
        .seen(LINK, "RESOURCE_EXHAUSTED"),
        Case::new(
            "Commands in a gateway that are submitted and have no receipt",
            |it| Box::pin(full_queue(it)),
        )
        .on(Shape::SilentServices)
        .set(&[
            "access_gateway.max_commands_in_flight=1",
            "access_gateway.command_queue=1",
        ])
        .seen(LINK, "RESOURCE_EXHAUSTED"),
        Case::new(
            "Bytes of commands in a gateway that have no receipt",
            |it| Box::pin(long_contents(it)),
        )
        .on(Shape::SilentServices)
        .set(&["access_gateway.max_command_bytes=65536"])
        .seen(LINK, "RESOURCE_EXHAUSTED"),
        Case::new("Commands that a partition holds", |it| {
            Box::pin(many_commands(it))
        })
        .set(&["message_orchestrator.max_pending_commands=20"])
        .seen(ORCHESTRATOR, "RESOURCE_EXHAUSTED"),
        Case::new("Bytes of commands that a partition holds", |it| {
            Box::pin(long_commands(it))
        })
        .set(&["message_orchestrator.max_pending_bytes=1048576"])
        .seen(ORCHESTRATOR, "RESOURCE_EXHAUSTED"),
        Case::new("Events by which the store is behind the log", |it| {
            Box::pin(store_lag(it))
        })
        .on(Shape::NoWriter)
        .set(&["message_orchestrator.max_store_lag_events=2"])
        .seen(ORCHESTRATOR, "RESOURCE_EXHAUSTED"),
        Case::new("Seconds by which the store is behind the log", |it| {
            Box::pin(old_store_lag(it))
        })
        .on(Shape::NoWriter)
        .set(&["message_orchestrator.max_store_lag_s=1"])
        .seen(ORCHESTRATOR, "RESOURCE_EXHAUSTED"),
        Case::new("Free bytes of the disk", |it| Box::pin(full_disk(it)))
            .on(Shape::SmallDisk)
            .seen(ORCHESTRATOR, "RESOURCE_EXHAUSTED"),
        Case::new("Acknowledged positions that wait in a gateway", |it| {
            Box::pin(many_positions(it))
        })
        .set(&[
            "access_gateway.max_positions=2",
            "access_gateway.positions_ms=10000",
        ])
        .seen(LINK, "RESOURCE_EXHAUSTED"),
        Case::new(
            "Positions that wait to be written in a session, read ones and delivered ones each",
            |it| Box::pin(many_waiting_positions(it)),
        )
        .set(&[
            "session.max_waiting_positions=1",
            "session.position_interval_ms=60000",
        ])
        .seen(SESSION, "waiting_positions")
        .seen(SESSION, "waiting_delivered"),
        Case::new("Signals on their way in a gateway", |it| {
            Box::pin(many_signals(it))
        })
        .on(Shape::SilentServices)
        .set(&[
            "access_gateway.signal_queue=1",
            "access_gateway.signals_per_s=1000",
        ])
        .seen(LINK, "RESOURCE_EXHAUSTED"),
        Case::new("Time of a drain", |it| Box::pin(late_drain(it))).set(&["process.drain_ms=100"]),
    ]
}

/// Presence is asked for one, and one waits; of four, others are refused.
async fn many_large_places(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    let hall = json!({"clientId": "makes-hall", "conversationId": "hall", "class": "LARGE", "memberIds": ["bob"]});
    ground
        .post(Proof::Token(&token), "/conversations", &hall)
        .await?
        .done()?;
    let mut ann = Link::of(ground, "ann").await?;
    let bob = Link::of(ground, "bob").await?;
    bob.closed(ground.close_reason()?).await?;
    ann.send(&ping(2)).await?;
    ann.pong(2).await
}

async fn many_unregistered(ground: &Ground) -> anyhow::Result<()> {
    let (code, reason) = (ground.code()?, ground.close_reason()?);
    let mut ends = FuturesUnordered::new();
    for user in ["ann", "bob", "carl", "dora"] {
        let mut link = Link::dial(ground).await?;
        link.send(&connect(&ground.token(user)?, "phone")).await?;
        ends.push(async move {
            let error = link.refused(1, code).await?;
            link.closed(reason).await.map(|()| error)
        });
    }
    // Those for whom presence was asked are told that it does not answer.
    while let Some(error) = ends.try_next().await? {
        if error.message.contains("wait to be registered") {
            ensure!(error.retry_after_ms > 0, "{error:?}");
            return Ok(());
        }
    }
    bail!("nobody had to wait")
}

/// The orchestrator takes one, and one waits; of five, others are refused.
async fn full_queue(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    for (id, to) in (2..).zip(["bob", "carl", "dora", "emil", "fritz"]) {
        link.send(&text(id, to, "hello")).await?;
    }
    let refused = refusal_of_any(&mut link).await?;
    ensure!(refused.code() == ground.code()?, "{refused:?}");
    ensure!(refused.retry_after_ms > 0, "{refused:?}");
    Ok(())
}

/// Contents that nobody answers for.
async fn long_contents(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    let long = "x".repeat(40_000);
    for (id, to) in (2..).zip(["bob", "carl"]) {
        link.send(&text(id, to, &long)).await?;
    }
    let refused = link.refused(3, ground.code()?).await?;
    ensure!(refused.retry_after_ms > 0, "{refused:?}");
    Ok(())
}

async fn refusal_of_any(link: &mut Link) -> anyhow::Result<Error> {
    loop {
        if let ServerFrame::Error(refused) = link.next().await? {
            return refused.error.context("a refusal that says nothing");
        }
    }
}

/// Messages of Ann's to Bob, all in one batch.
async fn batch(ground: &Ground, count: usize, bytes: usize) -> anyhow::Result<Vec<Value>> {
    let key = ground.key().await?;
    let messages: Vec<Value> = (0..count)
        .map(|number| {
            json!({
                "userId": "bob",
                "senderId": "ann",
                "clientId": format!("message-{number}"),
                "content": {"text": {"text": "x".repeat(bytes)}},
            })
        })
        .collect();
    let request = json!({"messages": messages});
    let answer = ground
        .post(Proof::Key(&key), "/messages:batch", &request)
        .await?;
    let mut done = answer.done()?;
    serde_json::from_value(done["outcomes"].take()).context("no outcomes")
}

/// The first of the batch fill the partition's hands: the rest is refused.
fn check_hands(ground: &Ground, outcomes: &[Value], fit: usize) -> anyhow::Result<()> {
    let code = ground.code()?.as_str_name();
    for (number, outcome) in outcomes.iter().enumerate() {
        if number < fit {
            ensure!(
                outcome["placed"].is_object(),
                "{number} of {fit}: {outcome}"
            );
        } else {
            let error = &outcome["error"];
            ensure!(error["code"] == code, "{number} of {fit}: {outcome}");
            ensure!(error["retryAfterMs"] != "0", "{number} of {fit}: {outcome}");
        }
    }
    Ok(())
}

async fn many_commands(ground: &Ground) -> anyhow::Result<()> {
    let outcomes = batch(ground, 50, 10).await?;
    check_hands(ground, &outcomes, 20)
}

async fn long_commands(ground: &Ground) -> anyhow::Result<()> {
    let outcomes = batch(ground, 40, 50_000).await?;
    let fit = outcomes
        .iter()
        .take_while(|it| it["placed"].is_object())
        .count();
    // 21 contents make a mebibyte, and a command takes a little more than its content.
    ensure!((15..21).contains(&fit), "{fit} fit");
    check_hands(ground, &outcomes, fit)
}

/// Nothing reaches the store: the third command finds it two events behind.
async fn store_lag(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    let mut conversation = String::new();
    for id in 2..4 {
        link.send(&text(id, "bob", "hello")).await?;
        conversation = link.placed(id).await?.conversation_id;
    }
    link.send(&text(4, "bob", "hello")).await?;
    let error = link.refused(4, ground.code()?).await?;
    ensure!(
        error.retry_after_ms > 0 && error.message.contains("2 events behind"),
        "{error:?}"
    );
    // A read is answered, from a store that has nothing of it.
    read(ground, &conversation)
        .await?
        .refusal(ErrorCode::ConversationNotFound)?;
    Ok(())
}

/// Nothing reaches the store: what was sent first gets old.
async fn old_store_lag(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&text(2, "bob", "hello")).await?;
    link.placed(2).await?;
    let mut id = 2;
    let error = until("the first is a second old", async || {
        id += 1;
        link.send(&text(id, "bob", "hello")).await?;
        loop {
            match link.next().await? {
                ServerFrame::SendAck(ack) if ack.id == id => return Ok(None),
                ServerFrame::Error(refused) => return Ok(refused.error),
                _ => {}
            }
        }
    })
    .await?;
    ensure!(error.code() == ground.code()?, "{error:?}");
    ensure!(error.message.contains("1 s behind"), "{error:?}");
    Ok(())
}

/// As the backend, which no membership concerns.
async fn read(ground: &Ground, conversation: &str) -> anyhow::Result<Answer> {
    let key = ground.key().await?;
    let path = format!("/conversations/{conversation}/events");
    ground.get(Proof::Key(&key), &path).await
}

async fn full_disk(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    let send = async |number: u32| {
        let message = json!({
            "userId": "bob",
            "clientId": format!("message-{number}"),
            "content": {"text": {"text": "x".repeat(60_000)}},
        });
        ground
            .post(Proof::Token(&token), "/messages", &message)
            .await
    };
    let sent = send(0).await?.done()?;
    let conversation = sent["placed"]["conversationId"]
        .as_str()
        .context("no place")?;
    ground.fill_disk()?;
    let mut number = 0;
    // The disk is looked at every few megabytes.
    let refused = until("there is no room", async || {
        number += 1;
        match send(number).await? {
            Answer::Done(_) => Ok(None),
            Answer::Refused(error) => Ok(Some(error)),
        }
    })
    .await?;
    ensure!(refused.code() == ground.code()?, "{refused:?}");
    ensure!(
        refused.retry_after_ms > 0 && refused.message.contains("room"),
        "{refused:?}"
    );
    let range = read(ground, conversation).await?.done()?;
    ensure!(
        range["events"].as_array().is_some_and(|it| !it.is_empty()),
        "{range}"
    );
    Ok(())
}

async fn many_positions(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    let positions =
        ["first", "second", "third"].map(|it| json!({"conversationId": it, "seq": "1"}));
    link.send(&json!({"ack": {"positions": positions}})).await?;
    let error = link.refused(0, ground.code()?).await?;
    ensure!(
        error.field == "positions" && error.retry_after_ms > 0,
        "{error:?}"
    );
    Ok(())
}

/// Alice has read two conversations, and her phone has received two: of each, one position may wait.
async fn many_waiting_positions(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("alice")?;
    let proof = Proof::Token(&token);
    let team = json!({"clientId": "makes-team", "conversationId": "team", "title": "Team"});
    ground.post(proof, "/conversations", &team).await?.done()?;
    let key = ground.key().await?;
    for id in ["welcome", "team"] {
        let notice = json!({"conversationId": id, "clientId": "notice", "content": {"notice": {"text": "hear"}}});
        ground
            .post(Proof::Key(&key), "/messages", &notice)
            .await?
            .done()?;
    }
    // The session has taken both in, when it answers this.
    ground.get(proof, "/inbox").await?.done()?;
    let read = |id: &str| json!({"conversationId": id, "seq": "2"});
    // Of her making the team, a position may wait already.
    ground.call(proof, "MarkRead", &read("welcome")).await?;
    let second = ground.call(proof, "MarkRead", &read("team")).await?;
    let error = second.refusal(ground.code()?)?;
    ensure!(error.retry_after_ms > 0, "{error:?}");
    let mut link = Link::of(ground, "alice").await?;
    let received = ["welcome", "team"].map(|it| json!({"conversationId": it, "seq": "2"}));
    link.send(&json!({"ack": {"positions": received}})).await
}

/// One is on its way to push-server, which does not answer; what comes then waits, one at most.
async fn many_signals(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    let typing = json!({"signal": {"conversationId": "team", "typing": {"active": true}}});
    for _ in 0..600 {
        link.send(&typing).await?;
    }
    let error = link.refused(0, ground.code()?).await?;
    ensure!(error.message.contains("signals"), "{error:?}");
    Ok(())
}

/// A request whose body is not whole, when the process is asked to end.
async fn late_drain(ground: &Ground) -> anyhow::Result<()> {
    let address = ground.api()?;
    let token = ground.token("ann")?;
    let head = format!(
        "POST /api/v1/messages HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n"
    );
    let mut request = TcpStream::connect(address).await?;
    request.write_all(head.as_bytes()).await?;
    let mut answer = [0; 12];
    request.read_exact(&mut answer).await?;
    ensure!(answer == *b"HTTP/1.1 100", "{answer:?}");
    ground.terminate().await?;
    // The connection lasts as long as the process.
    let mut rest = Vec::new();
    let _ = request.read_to_end(&mut rest).await;
    Ok(())
}
