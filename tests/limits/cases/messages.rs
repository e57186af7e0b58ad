//! Messages.

use anyhow::ensure;
use flare_proto::common::Error;
use flare_server_core::clock::IdSource;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::metric::{API, LINK, ORCHESTRATOR};
use crate::{
    case::Case,
    ground::Ground,
    http::Proof,
    link::{Link, connect, text},
    until::until,
};

/// Above what the cases set, below what is usual.
const LONG: usize = 2_000;
const ORCHESTRATOR_RATES: &str = "flare_orchestrator_rate_limited_total";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("Bytes of a content, over the client link", |it| {
            Box::pin(long_content_by_link(it))
        })
        .set(&["access_gateway.max_content_bytes=1024"])
        .seen(LINK, "CONTENT_TOO_LARGE"),
        Case::new("Bytes of a content, over gRPC and HTTP", |it| {
            Box::pin(long_content_by_api(it))
        })
        .set(&["core_gateway.max_content_bytes=1024"])
        .seen(API, "413")
        .seen(API, "InvalidArgument"),
        Case::new("Bytes of a content, whatever the way", |it| {
            Box::pin(long_content(it))
        })
        .set(&["message_orchestrator.max_content_bytes=1024"])
        .seen(ORCHESTRATOR, "CONTENT_TOO_LARGE"),
        Case::new("Mentions, over the client link", |it| {
            Box::pin(many_mentions_by_link(it))
        })
        .set(&["access_gateway.max_mentions=1"])
        .seen(LINK, "LIMIT_EXCEEDED"),
        Case::new("Mentions, over gRPC and HTTP", |it| {
            Box::pin(many_mentions_by_api(it))
        })
        .set(&["core_gateway.max_mentions=1"])
        .seen(API, "409")
        .seen(API, "FailedPrecondition"),
        Case::new("Mentions, whatever the way", |it| {
            Box::pin(many_mentions(it))
        })
        .set(&["message_orchestrator.max_mentions=1"])
        .seen(ORCHESTRATOR, "LIMIT_EXCEEDED"),
        Case::new("Forwards within forwards", |it| Box::pin(deep_forwards(it)))
            .seen(LINK, "INVALID_ARGUMENT"),
        Case::new(
            "Forwarded messages of one content, those within others too",
            |it| Box::pin(many_forwards(it)),
        )
        .seen(LINK, "LIMIT_EXCEEDED"),
        Case::new("Time in which a sender may recall, in seconds", |it| {
            Box::pin(late_recall(it))
        })
        .set(&["message_orchestrator.recall_window_s=0"])
        .seen(ORCHESTRATOR, "RECALL_WINDOW_PASSED"),
        Case::new(
            "Time that a client id may be ahead of the server, in ms",
            |it| Box::pin(future_client_id(it)),
        )
        .seen(ORCHESTRATOR, "CLIENT_ID_IN_FUTURE"),
        Case::new("Commands of one user a second", |it| {
            Box::pin(fast_user(it))
        })
        .set(&[
            "message_orchestrator.rate.user_per_s=1",
            "message_orchestrator.rate.user_burst=1",
        ])
        .seen(ORCHESTRATOR_RATES, "user"),
        Case::new("Commands to one conversation a second", |it| {
            Box::pin(fast_conversation(it))
        })
        .set(&[
            "message_orchestrator.rate.conversation_per_s=1",
            "message_orchestrator.rate.conversation_burst=1",
        ])
        .seen(ORCHESTRATOR_RATES, "conversation"),
        Case::new("Bytes of a tenant id", |it| Box::pin(long_tenant_id(it)))
            .seen(LINK, "UNAUTHENTICATED"),
        Case::new("Bytes of any other id", |it| Box::pin(long_id(it)))
            .seen(LINK, "INVALID_ARGUMENT")
            .seen(API, "400"),
    ]
}

fn content(text: &str) -> Value {
    json!({"text": {"text": text}})
}

/// A message to Bob, as the API takes it.
fn message(content: &Value) -> Value {
    json!({"userId": "bob", "clientId": "message", "content": content})
}

async fn sent_by_link(ground: &Ground, content: &Value) -> anyhow::Result<Error> {
    let mut link = Link::of(ground, "ann").await?;
    let mut frame = text(2, "bob", "");
    frame["send"]["content"] = content.clone();
    link.send(&frame).await?;
    link.refused(2, ground.code()?).await
}

/// By HTTP and by gRPC.
async fn sent_by_api(ground: &Ground, content: &Value) -> anyhow::Result<[Error; 2]> {
    let token = ground.token("ann")?;
    let (proof, message) = (Proof::Token(&token), message(content));
    let by_http = ground.post(proof, "/messages", &message).await?;
    let by_grpc = ground.call(proof, "SendMessage", &message).await?;
    Ok([
        by_http.refusal(ground.code()?)?,
        by_grpc.refusal(ground.code()?)?,
    ])
}

async fn long_content_by_link(ground: &Ground) -> anyhow::Result<()> {
    let error = sent_by_link(ground, &content(&"x".repeat(LONG))).await?;
    ensure!(error.field == "content", "{error:?}");
    Ok(())
}

async fn long_content_by_api(ground: &Ground) -> anyhow::Result<()> {
    for error in sent_by_api(ground, &content(&"x".repeat(LONG))).await? {
        ensure!(error.field == "content", "{error:?}");
    }
    Ok(())
}

async fn long_content(ground: &Ground) -> anyhow::Result<()> {
    let long = content(&"x".repeat(LONG));
    let mut errors = vec![sent_by_link(ground, &long).await?];
    errors.extend(sent_by_api(ground, &long).await?);
    ensure!(errors.iter().all(|it| it.field == "content"), "{errors:?}");
    Ok(())
}

fn two_mentions() -> Value {
    let mut content = content("hello");
    content["mentions"] = json!([{"userId": "bob"}, {"userId": "carl"}]);
    content
}

async fn many_mentions_by_link(ground: &Ground) -> anyhow::Result<()> {
    let error = sent_by_link(ground, &two_mentions()).await?;
    ensure!(error.field == "content.mentions", "{error:?}");
    Ok(())
}

async fn many_mentions_by_api(ground: &Ground) -> anyhow::Result<()> {
    for error in sent_by_api(ground, &two_mentions()).await? {
        ensure!(error.field == "content.mentions", "{error:?}");
    }
    Ok(())
}

async fn many_mentions(ground: &Ground) -> anyhow::Result<()> {
    let mut errors = vec![sent_by_link(ground, &two_mentions()).await?];
    errors.extend(sent_by_api(ground, &two_mentions()).await?);
    let of_mentions = |it: &Error| it.field == "content.mentions";
    ensure!(errors.iter().all(of_mentions), "{errors:?}");
    Ok(())
}

async fn deep_forwards(ground: &Ground) -> anyhow::Result<()> {
    let deep = (0..9).fold(
        content("the first"),
        |inner, _| json!({"forward": {"messages": [{"senderId": "carl", "content": inner}]}}),
    );
    let error = sent_by_link(ground, &deep).await?;
    ensure!(error.message.contains("forward"), "{error:?}");
    Ok(())
}

async fn many_forwards(ground: &Ground) -> anyhow::Result<()> {
    let many = json!({"forward": {"messages": vec![json!({}); 501]}});
    let error = sent_by_link(ground, &many).await?;
    ensure!(error.message.contains("forwarded"), "{error:?}");
    Ok(())
}

async fn late_recall(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&text(2, "bob", "hello")).await?;
    let placed = link.placed(2).await?;
    until("the window has passed", async || {
        Ok((ground.now_ms() > placed.time_ms + 1).then_some(()))
    })
    .await?;
    let recall = json!({
        "id": 3,
        "conversationId": placed.conversation_id,
        "clientId": "recall",
        "recall": {"seq": placed.seq.to_string()},
    });
    link.send(&json!({"operate": recall})).await?;
    link.refused(3, ground.code()?).await?;
    Ok(())
}

async fn future_client_id(ground: &Ground) -> anyhow::Result<()> {
    let in_a_minute = ground.now_ms() + 60_000;
    let mut link = Link::of(ground, "ann").await?;
    let mut frame = text(2, "bob", "hello");
    frame["send"]["clientId"] = json!(IdSource::from_os().ulid(in_a_minute).to_string());
    link.send(&frame).await?;
    let error = link.refused(2, ground.code()?).await?;
    ensure!(
        (error.server_time_ms - ground.now_ms()).abs() < 20_000,
        "{error:?}"
    );
    Ok(())
}

async fn fast_user(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "ann").await?;
    link.send(&text(2, "bob", "hello")).await?;
    link.send(&text(3, "carl", "hello")).await?;
    let error = link.refused(3, ground.code()?).await?;
    ensure!((1..=1_000).contains(&error.retry_after_ms), "{error:?}");
    Ok(())
}

async fn fast_conversation(ground: &Ground) -> anyhow::Result<()> {
    let mut ann = Link::of(ground, "ann").await?;
    let mut bob = Link::of(ground, "bob").await?;
    ann.send(&text(2, "bob", "hello")).await?;
    ann.placed(2).await?;
    bob.send(&text(2, "ann", "hello")).await?;
    let error = bob.refused(2, ground.code()?).await?;
    ensure!((1..=1_000).contains(&error.retry_after_ms), "{error:?}");
    Ok(())
}

/// A token that nobody but a business with the key would sign.
async fn long_tenant_id(ground: &Ground) -> anyhow::Result<()> {
    let now_s = ground.now_ms() / 1_000;
    let claims = json!({"sub": "ann", "tid": "t".repeat(33), "iat": now_s, "exp": now_s + 3_600});
    let key = EncodingKey::from_secret(&ground.token_key()?);
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?;
    let mut link = Link::dial(ground).await?;
    link.send(&connect(&token, "phone")).await?;
    let error = link.refused(1, ground.code()?).await?;
    ensure!(
        error.message.contains("tenant id") && error.message.contains("32"),
        "{error:?}"
    );
    Ok(())
}

async fn long_id(ground: &Ground) -> anyhow::Result<()> {
    let long = "u".repeat(65);
    let mut link = Link::of(ground, "ann").await?;
    let mut frame = text(2, &long, "hello");
    frame["send"]["clientId"] = json!("message");
    link.send(&frame).await?;
    let by_link = link.refused(2, ground.code()?).await?;
    let token = ground.token("ann")?;
    let mut message = message(&content("hello"));
    message["userId"] = json!(long);
    let by_http = ground
        .post(Proof::Token(&token), "/messages", &message)
        .await?;
    for error in [by_link, by_http.refusal(ground.code()?)?] {
        ensure!(error.field == "user_id", "{error:?}");
    }
    Ok(())
}
