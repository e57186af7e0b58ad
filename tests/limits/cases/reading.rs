//! Conversations and reading.

use anyhow::{Context, ensure};
use flare_session::{application::ports::KEPT_DEVICES, domain::conversation::MAX_JOINING};
use serde_json::{Value, json};

use super::metric::{API, LINK, SESSION};
use crate::{
    case::Case,
    ground::Ground,
    http::Proof,
    link::{Link, connect, ping},
    until::until,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        // The demo group has three.
        Case::new("Members of a group", |it| Box::pin(grown_group(it)))
            .set(&["session.max_group_members=3"])
            .seen("flare_session_grown_large_total", ""),
        Case::new("Members of a large conversation", |it| {
            Box::pin(many_members(it))
        })
        .set(&["session.max_group_members=3", "session.max_large_members=3"])
        .seen(SESSION, "members"),
        Case::new("Users who join a conversation by one change", |it| {
            Box::pin(many_at_once(it))
        })
        .seen(SESSION, "members_at_once"),
        Case::new("Groups of one user", |it| Box::pin(many_groups(it)))
            .set(&["session.max_conversations_per_user=1"])
            .seen(SESSION, "conversations"),
        // The demo group's has seven.
        Case::new("Characters of a title", |it| Box::pin(long_title(it)))
            .set(&["session.max_title_chars=7"])
            .seen(SESSION, "title_chars"),
        Case::new("Items of a page", |it| Box::pin(wrong_page(it)))
            .seen(LINK, "INVALID_ARGUMENT")
            .seen(API, "400"),
        Case::new("Bytes of one answer of history or sync", |it| {
            Box::pin(long_answer(it))
        })
        .set(&["storage_reader.max_answer_bytes=65536"])
        .seen("flare_storage_reader_answers_cut_total", "history")
        .seen("flare_storage_reader_answers_cut_total", "ranges"),
        Case::new(
            "Devices of a member whose delivered position in a conversation is kept",
            |it| Box::pin(many_devices(it)),
        )
        .set(&[
            "signaling_online.max_devices_per_user=100",
            // It asks until it is so.
            "core_gateway.user_requests_per_s=1000000",
            "core_gateway.user_burst=1000000",
        ])
        .seen("flare_session_positions_dropped_total", "too_many_devices"),
        Case::new("Bytes of one page of an inbox", |it| {
            Box::pin(long_inbox(it))
        })
        .set(&["session.max_inbox_page_bytes=1"])
        .seen("flare_session_inbox_pages_cut_total", ""),
    ]
}

fn group(id: &str, title: &str, members: &[&str]) -> Value {
    json!({"clientId": format!("makes-{id}"), "conversationId": id, "title": title, "memberIds": members})
}

async fn grown_group(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    let proof = Proof::Token(&token);
    let team = group("team", "Team", &["bob", "carl"]);
    let made = ground.post(proof, "/conversations", &team).await?.done()?;
    ensure!(made["conversation"]["class"] == "GROUP", "{made}");
    let more = json!({"clientId": "more", "userIds": ["dora"]});
    let path = "/conversations/team/members";
    ground.post(proof, path, &more).await?.done()?;
    let grown = ground.get(proof, "/conversations/team").await?.done()?;
    ensure!(grown["conversation"]["class"] == "LARGE", "{grown}");
    Ok(())
}

async fn many_at_once(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    let proof = Proof::Token(&token);
    let names: Vec<String> = (0..=MAX_JOINING).map(|it| format!("user-{it}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let answer = ground
        .post(proof, "/conversations", &group("team", "Team", &names))
        .await?;
    let error = answer.refusal(ground.code()?)?;
    ensure!(error.field == "member_ids", "{error:?}");
    let team = group("team", "Team", &names[1..MAX_JOINING]);
    ground.post(proof, "/conversations", &team).await?.done()?;
    Ok(())
}

async fn many_members(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    let group = group("team", "Team", &["bob", "carl", "dora"]);
    let answer = ground
        .post(Proof::Token(&token), "/conversations", &group)
        .await?;
    answer.refusal(ground.code()?)?;
    Ok(())
}

async fn many_groups(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    let proof = Proof::Token(&token);
    let first = group("first", "First", &[]);
    ground.post(proof, "/conversations", &first).await?.done()?;
    let second = group("second", "Second", &[]);
    let answer = ground.post(proof, "/conversations", &second).await?;
    answer.refusal(ground.code()?)?;
    Ok(())
}

async fn long_title(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    let group = group("team", "The team", &[]);
    let answer = ground
        .post(Proof::Token(&token), "/conversations", &group)
        .await?;
    let error = answer.refusal(ground.code()?)?;
    ensure!(error.field == "title", "{error:?}");
    Ok(())
}

async fn wrong_page(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("alice")?;
    let mut link = Link::of(ground, "alice").await?;
    for (id, size) in [(2, 0), (3, 201)] {
        let range = json!({"conversationId": "welcome", "limit": size});
        link.send(&json!({"sync": {"id": id, "ranges": [range]}}))
            .await?;
        let error = link.refused(id, ground.code()?).await?;
        ensure!(error.field == "ranges.limit", "{error:?}");
        for path in [
            "/inbox",
            "/conversations/welcome/messages",
            "/conversations/welcome/members",
        ] {
            let path = format!("{path}?page_size={size}");
            let answer = ground.get(Proof::Token(&token), &path).await?;
            let error = answer.refusal(ground.code()?)?;
            ensure!(error.field == "page_size", "{path}: {error:?}");
        }
    }
    Ok(())
}

/// Three messages, of which two fit.
async fn long_answer(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    let proof = Proof::Token(&token);
    let mut conversation = String::new();
    for number in 1..=3 {
        let message = json!({
            "userId": "bob",
            "clientId": format!("message-{number}"),
            "content": {"text": {"text": "x".repeat(30_000)}},
        });
        let sent = ground.post(proof, "/messages", &message).await?.done()?;
        let placed = sent["placed"]["conversationId"].as_str();
        placed.context("no place")?.clone_into(&mut conversation);
    }
    let path = format!("/conversations/{conversation}");
    // The store may lag.
    let history = until("the store has three", async || {
        let page = ground
            .get(proof, &format!("{path}/messages"))
            .await?
            .done()?;
        Ok((page["headSeq"] == "3").then_some(page))
    })
    .await?;
    let messages = history["messages"].as_array().context("no messages")?;
    ensure!(messages.len() == 2, "{} messages", messages.len());
    ensure!(history["nextPageToken"] != "", "nothing more");

    let range = ground.get(proof, &format!("{path}/events")).await?.done()?;
    let events = range["events"].as_array().context("no events")?;
    ensure!(
        events.len() == 2 && range["hasMore"] == true,
        "{} events",
        events.len()
    );
    Ok(())
}

/// One after the other, a device connects and tells what it has received.
async fn many_devices(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("alice")?;
    for number in 0..=KEPT_DEVICES {
        let mut link = Link::dial(ground).await?;
        link.send(&connect(&token, &format!("device-{number}")))
            .await?;
        let received = json!([{"conversationId": "welcome", "seq": "1"}]);
        link.send(&json!({"ack": {"positions": received}})).await?;
        link.send(&ping(2)).await?;
        link.pong(2).await?;
    }
    let path = "/conversations/welcome/positions";
    until("no more are told of than are kept", async || {
        let told = ground.get(Proof::Token(&token), path).await?.done()?;
        let members = told["positions"].as_array().context("no positions")?;
        let alice = members.iter().find(|it| it["userId"] == "alice");
        let devices = alice.and_then(|it| it["delivered"].as_array());
        Ok(devices.filter(|it| it.len() == KEPT_DEVICES).map(drop))
    })
    .await
}

/// Two conversations, one on a page.
async fn long_inbox(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    let proof = Proof::Token(&token);
    for id in ["first", "second"] {
        ground
            .post(proof, "/conversations", &group(id, id, &[]))
            .await?
            .done()?;
    }
    let page = ground.get(proof, "/inbox").await?.done()?;
    let entries = page["entries"].as_array().context("no entries")?;
    ensure!(entries.len() == 1 && page["hasMore"] == true, "{page}");
    Ok(())
}
