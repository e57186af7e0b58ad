//! What the log keeps of what is stored and not read by everybody.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::{
    case::Case,
    ground::{Ground, Shape},
    http::Proof,
    until::until,
};

const REMOVED: &str = "retention removes records that nobody released";
/// Of a batch, and of each message: together less than a request may have.
const MESSAGES: usize = 60;
const MESSAGE_BYTES: usize = 60_000;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("Bytes of the log, if above 0", |it| Box::pin(grows(it)))
            .on(Shape::StuckConsumer)
            .set(&["log.max_bytes=4194304"]),
        Case::new("Age of the log in seconds, if above 0", |it| {
            Box::pin(grows(it))
        })
        .on(Shape::StuckConsumer)
        .set(&["log.max_age_s=1"]),
    ]
}

/// push-server releases nothing: the log grows until its oldest segment goes, which the store must have synced.
async fn grows(ground: &Ground) -> anyhow::Result<()> {
    let key = ground.key().await?;
    ensure!(!ground.has_said(REMOVED)?, "removed from an empty log");
    let mut sent = 0;
    until("a segment is removed", async || {
        let messages: Vec<Value> = (sent..sent + MESSAGES).map(message).collect();
        sent += MESSAGES;
        let request = json!({"messages": messages});
        let answer = ground.post(Proof::Key(&key), "/messages:batch", &request);
        let done = answer.await?.done()?;
        let last = done["outcomes"][MESSAGES - 1].clone();
        ensure!(last["placed"].is_object(), "{last}");
        Ok(ground.has_said(REMOVED)?.then_some(()))
    })
    .await
}

fn message(number: usize) -> Value {
    json!({
        "userId": "bob",
        "senderId": "ann",
        "clientId": format!("message-{number}"),
        "content": {"text": {"text": "x".repeat(MESSAGE_BYTES)}},
    })
}
