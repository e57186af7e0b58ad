//! All that a server shows of its data, by its public API.

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

use crate::api::{Api, As};

/// Everybody in the story.
pub(crate) const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
/// Texts that are longer stand in the expectation by their length and beginning.
const LONG: usize = 200;

/// What is there: each user's inbox, each conversation as the system and as each user sees it, the API keys.
pub(crate) async fn observe(api: &Api) -> anyhow::Result<Value> {
    let mut inboxes = Map::new();
    let mut conversations = Map::new();
    for user in USERS {
        let entries = inbox(api, user).await?;
        for id in entries.keys() {
            if !conversations.contains_key(id) {
                conversations.insert(id.clone(), conversation(api, id).await?);
            }
        }
        inboxes.insert(user.to_owned(), Value::Object(entries));
    }
    let keys = api
        .all(
            As::System,
            "/api/v1/api-keys?page_size=200",
            "apiKeys",
            "nextPageToken",
        )
        .await?;
    let mut state = json!({"inboxes": inboxes, "conversations": conversations, "apiKeys": keys});
    shorten(&mut state);
    Ok(state)
}

/// By conversation.
async fn inbox(api: &Api, user: &str) -> anyhow::Result<Map<String, Value>> {
    let mut entries = Map::new();
    let mut path = "/api/v1/inbox?page_size=200".to_owned();
    loop {
        let page = api.get(As::User(user), &path).await?;
        for entry in page["entries"].as_array().into_iter().flatten() {
            let id = entry["conversation"]["conversationId"].as_str();
            entries.insert(id.context("no id")?.to_owned(), entry.clone());
        }
        if page["hasMore"] != json!(true) {
            return Ok(entries);
        }
        let token = page["token"].as_str().context("no token")?;
        path = format!("/api/v1/inbox?page_size=200&token={token}");
    }
}

async fn conversation(api: &Api, id: &str) -> anyhow::Result<Value> {
    let path = format!("/api/v1/conversations/{id}");
    let mut seen_by = Map::new();
    for user in USERS {
        seen_by.insert(user.to_owned(), sight(api, &path, As::User(user)).await?);
    }
    let listed = |field| (format!("{path}/{field}?page_size=200"), field);
    let (members, field) = listed("members");
    let members = api.all(As::System, &members, field, "nextPageToken").await;
    let (positions, field) = listed("positions");
    let positions = api
        .all(As::System, &positions, field, "nextPageToken")
        .await?;
    let events = events(api, &path).await?;
    Ok(json!({
        // A direct one has no list of them.
        "members": members.ok(),
        "positions": positions,
        "history": history(api, &path, &events).await?,
        "events": events,
        "seenBy": seen_by,
    }))
}

/// The messages by their seqs, with what took them back: the rest is as the events say.
async fn history(api: &Api, path: &str, events: &[Value]) -> anyhow::Result<Vec<Value>> {
    let path = format!("{path}/messages?after_seq=0&page_size=200");
    let messages = api
        .all(As::System, &path, "messages", "nextPageToken")
        .await?;
    let mut told = Vec::new();
    for mut message in messages {
        let event = message["event"].take();
        ensure!(events.contains(&event), "{path} has {event}, no sync has");
        message["event"] = event["header"]["seq"].clone();
        told.push(message);
    }
    Ok(told)
}

/// What a reader sees: from where to where, or nothing.
async fn sight(api: &Api, path: &str, who: As<'_>) -> anyhow::Result<Value> {
    let snapshot = format!("{path}/snapshot?page_size=1");
    let (status, answer) = api
        .answer(who, reqwest::Method::GET, &snapshot, None)
        .await?;
    Ok(match status.as_u16() {
        200 => json!({"from": answer["floorSeq"], "to": answer["asOfSeq"]}),
        404 => Value::Null,
        _ => bail!("{snapshot} as {who:?}: {status} {answer}"),
    })
}

async fn events(api: &Api, path: &str) -> anyhow::Result<Vec<Value>> {
    let mut events = Vec::new();
    loop {
        let after = events.len();
        let page = format!("{path}/events?after_seq={after}&limit=200");
        let page = api.get(As::System, &page).await?;
        events.extend(page["events"].as_array().into_iter().flatten().cloned());
        if page["hasMore"] != json!(true) {
            return Ok(events);
        }
    }
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > LONG => {
            let first: String = text.chars().take(16).collect();
            *text = format!("{} characters: {first}…", text.chars().count());
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}
