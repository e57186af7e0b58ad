//! A copy of the folder is opened by this version, shows what it must, and goes on.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};
use tokio::time::Instant;

use crate::{
    BINARY,
    api::{Api, As},
    archive, later,
    observation::observe,
    server::{self, Server},
    story::{EXPECTED, Expected},
};

/// The log looks after commits at once, but once in 10 s at most.
const TRIMMED_WITHIN: Duration = Duration::from_secs(30);

pub(crate) async fn goes_on(version: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(version.join(EXPECTED))?;
    let expected: Expected = serde_json::from_str(&text)?;
    let copy = archive::unpack(version)?;
    let data = archive::data(&copy);
    let binary = Path::new(BINARY);
    let server = Server::start(binary, &data, &[])?;
    let api = Api::new(server.api(), &expected.key)?;
    shows(&observe(&api).await?, &expected.state)?;
    refuses(&api, &data, &expected).await?;
    repeats(&api, &expected).await?;
    takes_more(&api, &expected).await?;
    server.stop()?;
    is_closed(&data)?;
    let verified = server::run(binary, &["verify"], &data)?;
    ensure!(verified.contains("promises kept"), "{verified}");
    // And once more, as this version has left it.
    let server = Server::start(binary, &data, &[])?;
    let api = Api::new(server.api(), &expected.key)?;
    repeats(&api, &expected).await?;
    is_trimmed(&api, &expected).await?;
    server.stop()
}

/// Each database is one file again: none has a log beside it that a copy of the file would lack.
fn is_closed(data: &Path) -> anyhow::Result<()> {
    for database in later::DATABASES {
        let file = data.join(database);
        ensure!(file.is_file(), "{database} is not there");
        for beside in ["-wal", "-shm"] {
            let beside = data.join(format!("{database}{beside}"));
            ensure!(!beside.exists(), "{} is left", beside.display());
        }
    }
    Ok(())
}

/// Names the first difference: the whole is long. What this version says more than an earlier one knew of is no difference.
fn shows(is: &Value, ought: &Value) -> anyhow::Result<()> {
    fn difference(at: &str, is: &Value, ought: &Value) -> Option<String> {
        match (is, ought) {
            (Value::Object(is), Value::Object(ought)) => ought.iter().find_map(|(name, ought)| {
                let is = is.get(name).unwrap_or(&Value::Null);
                difference(&format!("{at}/{name}"), is, ought)
            }),
            (Value::Array(is), Value::Array(ought)) if is.len() == ought.len() => {
                let mut pairs = is.iter().zip(ought).enumerate();
                pairs.find_map(|(index, (is, ought))| {
                    difference(&format!("{at}/{index}"), is, ought)
                })
            }
            _ if is == ought => None,
            _ => Some(format!("{at}: is {is}, ought to be {ought}")),
        }
    }
    match difference("", is, ought) {
        None => Ok(()),
        Some(difference) => Err(anyhow::anyhow!(difference)),
    }
}

/// What was revoked stays so.
async fn refuses(api: &Api, data: &Path, expected: &Expected) -> anyhow::Result<()> {
    let board = "/api/v1/conversations/board/events";
    let key = As::Key(&expected.revoked_key);
    let (status, answer) = api.answer(key, Method::GET, board, None).await?;
    ensure!(status == StatusCode::UNAUTHORIZED, "{status} {answer}");
    // No token of then can be good any more, once the folder is old enough: the server's own file says whether it would know.
    let revoked = &expected.revoked_device;
    let file = data.join("online").join("online.sqlite");
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .connect()
        .await?;
    let not_before_s: i64 = sqlx::query_scalar(
        "SELECT not_before_s FROM revocation WHERE tenant_id = 'default' AND user_id = ? AND device_id = ?",
    )
    .bind(&revoked.user)
    .bind(&revoked.device)
    .fetch_one(&mut connection)
    .await?;
    sqlx::Connection::close(connection).await?;
    ensure!(not_before_s * 1_000 >= revoked.token_made_ms);
    Ok(())
}

/// Commands of then, sent once more, get the receipts of then.
async fn repeats(api: &Api, expected: &Expected) -> anyhow::Result<()> {
    for receipt in &expected.receipts {
        let again = receipt.sent.clone();
        let (status, answer) = api
            .answer(As::System, Method::POST, "/api/v1/messages", Some(again))
            .await?;
        let conversation = &receipt.placed["conversationId"];
        let mut ought = receipt.placed.clone();
        ought["duplicate"] = json!(true);
        ensure!(
            status == StatusCode::OK && answer["placed"] == ought,
            "{conversation}: {status} {answer}, ought to be {ought}"
        );
    }
    Ok(())
}

/// Each conversation that is not over goes on at the next seq.
async fn takes_more(api: &Api, expected: &Expected) -> anyhow::Result<()> {
    let conversations = expected.state["inboxes"]["alice"]
        .as_object()
        .context("alice has an inbox")?;
    for (id, entry) in conversations {
        let is_over = entry["conversation"]["disbanded"] == json!(true);
        let head = entry["headSeq"]
            .as_str()
            .context("a head")?
            .parse::<u64>()?;
        let sent = json!({
            "conversationId": id, "senderId": "alice", "clientId": "by-this-version",
            "content": {"text": {"text": "and still here"}},
        });
        let (status, answer) = api
            .answer(As::System, Method::POST, "/api/v1/messages", Some(sent))
            .await?;
        if is_over {
            ensure!(status.is_client_error(), "{id}: {status} {answer}");
        } else {
            let seq = json!((head + 1).to_string());
            ensure!(answer["placed"]["seq"] == seq, "{id}: {status} {answer}");
        }
    }
    Ok(())
}

/// What the store holds safely is given back by the log, which an explanation says.
async fn is_trimmed(api: &Api, expected: &Expected) -> anyhow::Result<()> {
    let first = expected.receipts.first().context("a receipt")?;
    let id = first.placed["messageId"].as_str().context("an id")?;
    let path = format!("/api/v1/admin/messages/{id}");
    let more = json!({
        "conversationId": first.placed["conversationId"], "senderId": "alice",
        "clientId": "by-this-version-again", "content": {"text": {"text": "once more"}},
    });
    api.post(As::System, "/api/v1/messages", more).await?;
    let deadline = Instant::now() + TRIMMED_WITHIN;
    loop {
        let way = api.get(As::System, &path).await?;
        ensure!(way["stored"] == json!(true), "{way}");
        if way["log"] == json!("TRIMMED") {
            ensure!(way.get("logOffset").is_none(), "{way}");
            return Ok(());
        }
        ensure!(way["log"] == json!("IN_LOG"), "{way}");
        ensure!(Instant::now() < deadline, "the log keeps {way}");
    }
}
