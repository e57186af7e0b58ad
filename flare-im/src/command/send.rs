//! `flare send`.

use std::{
    io::{Read as _, stdin},
    time::Duration,
};

use anyhow::Context as _;
use flare_core_sdk::{Client, Draft, Target};

use super::sign_in;
use crate::{cli, output::say};

/// How long the message is tried.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where a message goes.
pub fn target(args: &cli::Target) -> anyhow::Result<Target> {
    match (&args.to, &args.conversation) {
        (Some(user), None) => Ok(Target::user(user)),
        (None, Some(conversation)) => Ok(Target::conversation(conversation)),
        _ => anyhow::bail!("to whom? give --to or --conversation"),
    }
}

/// Sends one message, and says where it stands.
pub async fn run(args: &cli::Send) -> anyhow::Result<()> {
    let text = if args.text == "-" {
        let mut text = String::new();
        stdin()
            .read_to_string(&mut text)
            .context("standard input")?;
        text
    } else {
        args.text.clone()
    };
    let mut draft = Draft::text(target(&args.target)?, text).with_deadline(DEADLINE);
    if let Some(client_id) = &args.client_id {
        draft = draft.with_client_id(client_id);
    }
    // Nothing is read, so no conversations are followed.
    let (client, _) = Client::connect(sign_in::options(&args.client)?);
    let sent = client.send(draft).await;
    client.close().await;
    let sent = sent?;
    if args.json {
        let answer = serde_json::json!({
            "client_id": sent.client_id,
            "conversation_id": sent.conversation_id,
            "message_id": sent.message_id,
            "seq": sent.seq,
            "time_ms": sent.time_ms,
            "duplicate": sent.duplicate,
            "trace_id": sent.trace_id,
        });
        say!("{answer}");
    } else {
        let before = if sent.duplicate {
            " (it was there before)"
        } else {
            ""
        };
        say!(
            "{} is number {} of {}{before}",
            sent.message_id,
            sent.seq,
            sent.conversation_id
        );
    }
    Ok(())
}
