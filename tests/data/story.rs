//! What happened in a version's data folder, and how that is made.

use std::path::Path;

use anyhow::Context;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    BINARY,
    api::{Api, As},
    archive,
    observation::observe,
    server::{self, Server},
};

/// What must be read from the archive, beside it.
pub(crate) const EXPECTED: &str = "expected.json";
/// The smallest segments that there are, so that several fill.
const SMALL_SEGMENTS: [&str; 1] = ["log.segment_bytes=4194304"];
const SCOPES: &str = "send,conversations,read,presence,admin";
/// More than a segment holds.
const LARGE_MESSAGES: usize = 75;
const LARGE: usize = 60_000;
/// When the lost phone got its token.
const LONG_AGO_MS: i64 = 1_700_000_000_000;

/// What a version's folder must show. Its secrets are secrets of this test and of nothing else.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Expected {
    /// May do everything.
    pub(crate) key: String,
    /// Was revoked.
    pub(crate) revoked_key: String,
    /// Whose tokens made before then are worthless.
    pub(crate) revoked_device: Device,
    /// Commands with what they got: the same again is answered the same.
    pub(crate) receipts: Vec<Receipt>,
    /// All the rest.
    pub(crate) state: Value,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Device {
    pub(crate) user: String,
    pub(crate) device: String,
    /// Unix milliseconds.
    pub(crate) token_made_ms: i64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Receipt {
    pub(crate) sent: Value,
    pub(crate) placed: Value,
}

/// Makes the folder of this version: the archive, and what must be read from it.
pub(crate) async fn write(version: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(version)?;
    let binary = Path::new(BINARY);
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("flare-data");
    // Makes the folder; keys can be made where nobody serves.
    Server::start(binary, &data, &SMALL_SEGMENTS)?.stop()?;
    let (_, key) = server::api_key(binary, &data, "shop", SCOPES)?;
    server::api_key(binary, &data, "reports", "read")?;
    let (revoked_id, revoked_key) = server::api_key(binary, &data, "leaked", "send,read")?;
    server::run(binary, &["apikey", "revoke", &revoked_id], &data)?;

    let server = Server::start(binary, &data, &SMALL_SEGMENTS)?;
    let mut teller = Teller {
        api: Api::new(server.api(), &key)?,
        said: 0,
        receipts: Vec::new(),
    };
    teller.begin().await?;
    server.stop()?;
    let store = folder.path().join("store");
    copy(&data.join("store"), &store)?;

    let server = Server::start(binary, &data, &SMALL_SEGMENTS)?;
    teller.api = Api::new(server.api(), &key)?;
    teller.go_on().await?;
    let state = observe(&teller.api).await?;
    server.stop()?;
    // As after a power cut: what was said last is in the log, the store has yet to be given it.
    std::fs::remove_dir_all(data.join("store"))?;
    copy(&store, &data.join("store"))?;

    archive::pack(&data, &version.join(archive::NAME))?;
    let expected = Expected {
        key,
        revoked_key,
        revoked_device: Device {
            user: "alice".to_owned(),
            device: "lost-phone".to_owned(),
            token_made_ms: LONG_AGO_MS,
        },
        receipts: teller.receipts,
        state,
    };
    let text = serde_json::to_string_pretty(&expected)?;
    std::fs::write(version.join(EXPECTED), text + "\n")?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

struct Teller {
    api: Api,
    said: usize,
    receipts: Vec<Receipt>,
}

impl Teller {
    /// What is in log and store.
    async fn begin(&mut self) -> anyhow::Result<()> {
        self.found("team", "alice", &["bob", "carol", "dave"], "ALL")
            .await?;
        for (index, content) in contents().into_iter().enumerate() {
            let sent = json!({
                "conversationId": "team", "senderId": "alice",
                "clientId": format!("kind-{index}"), "content": content,
            });
            self.send(sent).await?;
        }
        self.say("team", "bob", "wrong").await?;
        let wrong = self.say("team", "bob", "a slip of the tongue").await?;
        self.recall("team", "bob", &wrong).await?;
        self.change(
            Method::PATCH,
            "team",
            "bob",
            "/settings",
            json!({"pinned": true}),
        )
        .await?;
        let mute = json!({"muteUntilMs": "-1"});
        self.change(Method::PATCH, "team", "carol", "/settings", mute)
            .await?;
        let read = json!({"seq": "9"});
        self.change(Method::PUT, "team", "carol", "/read-position", read)
            .await?;
        let role = json!({"clientId": "role-1", "role": "ADMIN"});
        self.change(Method::PUT, "team", "alice", "/members/carol/role", role)
            .await?;
        let removed = "/api/v1/conversations/team/members/dave?client_id=remove-1";
        self.api
            .call(As::User("alice"), Method::DELETE, removed, None)
            .await?;

        // Carol joins late and sees what comes; dave leaves and sees what came.
        self.found("board", "alice", &["dave"], "SINCE_JOIN")
            .await?;
        self.say("board", "alice", "before carol").await?;
        let joining = json!({"clientId": "add-1", "userIds": ["carol"]});
        self.change(Method::POST, "board", "alice", "/members", joining)
            .await?;
        self.say("board", "alice", "since carol").await?;
        let leaving = json!({"clientId": "leave-1"});
        self.change(Method::POST, "board", "dave", "/leave", leaving)
            .await?;
        self.say("board", "carol", "without dave").await?;

        self.found("ended", "bob", &["alice"], "ALL").await?;
        self.say("ended", "bob", "the last word").await?;
        let ended = "/api/v1/conversations/ended?client_id=end-1";
        self.api
            .call(As::User("bob"), Method::DELETE, ended, None)
            .await?;

        self.whisper("alice", "bob", "between us").await?;
        self.whisper("bob", "alice", "only the two of us").await?;
        let hidden = self.whisper("carol", "dave", "hide this").await?;
        let id = text(&hidden["conversationId"])?;
        self.change(
            Method::PATCH,
            &id,
            "carol",
            "/settings",
            json!({"hidden": true}),
        )
        .await?;
        let revoke = json!({"deviceId": "lost-phone", "reason": "lost"});
        self.api
            .post(As::System, "/api/v1/admin/users/alice/revoke", revoke)
            .await?;
        Ok(())
    }

    /// What is in the log alone.
    async fn go_on(&mut self) -> anyhow::Result<()> {
        let large = "x".repeat(LARGE);
        for _ in 0..LARGE_MESSAGES {
            self.say("board", "alice", &large).await?;
        }
        let said = self.whisper("alice", "bob", "not yet in the store").await?;
        let id = text(&said["conversationId"])?;
        let slip = self
            .whisper("bob", "alice", "nor this, and taken back")
            .await?;
        self.recall(&id, "bob", &slip).await?;
        self.found("late", "carol", &["alice", "bob"], "ALL")
            .await?;
        self.say("late", "carol", "made last").await?;
        let rename = json!({"clientId": "rename-1", "title": "The team"});
        self.change(Method::PATCH, "team", "alice", "", rename)
            .await?;
        let read = json!({"seq": "2"});
        self.change(Method::PUT, "late", "bob", "/read-position", read)
            .await?;
        Ok(())
    }

    async fn found(
        &self,
        id: &str,
        owner: &str,
        members: &[&str],
        visibility: &str,
    ) -> anyhow::Result<()> {
        let request = json!({
            "clientId": format!("found-{id}"), "conversationId": id, "title": id,
            "memberIds": members, "historyVisibility": visibility,
        });
        let owner = As::User(owner);
        self.api
            .post(owner, "/api/v1/conversations", request)
            .await?;
        Ok(())
    }

    async fn say(&mut self, conversation: &str, user: &str, text: &str) -> anyhow::Result<Value> {
        self.said += 1;
        let number = self.said;
        self.send(json!({
            "conversationId": conversation, "senderId": user,
            "clientId": format!("said-{number}"), "content": {"text": {"text": text}},
        }))
        .await
    }

    async fn whisper(&mut self, user: &str, peer: &str, text: &str) -> anyhow::Result<Value> {
        self.said += 1;
        let number = self.said;
        self.send(json!({
            "userId": peer, "senderId": user,
            "clientId": format!("said-{number}"), "content": {"text": {"text": text}},
        }))
        .await
    }

    async fn send(&mut self, sent: Value) -> anyhow::Result<Value> {
        let mut answer = self
            .api
            .post(As::System, "/api/v1/messages", sent.clone())
            .await?;
        let placed = answer["placed"].take();
        let is_large = sent.to_string().len() > LARGE;
        if !is_large {
            let placed = placed.clone();
            self.receipts.push(Receipt { sent, placed });
        }
        Ok(placed)
    }

    async fn recall(&self, conversation: &str, user: &str, placed: &Value) -> anyhow::Result<()> {
        let seq = text(&placed["seq"])?;
        let path = format!("/messages/{seq}/recall");
        let command = json!({"clientId": format!("recall-{seq}")});
        self.change(Method::POST, conversation, user, &path, command)
            .await
    }

    async fn change(
        &self,
        method: Method,
        conversation: &str,
        user: &str,
        path: &str,
        body: Value,
    ) -> anyhow::Result<()> {
        let path = format!("/api/v1/conversations/{conversation}{path}");
        self.api
            .call(As::User(user), method, &path, Some(body))
            .await?;
        Ok(())
    }
}

fn text(value: &Value) -> anyhow::Result<String> {
    let text = value
        .as_str()
        .with_context(|| format!("{value} is no text"))?;
    Ok(text.to_owned())
}

/// One of each kind.
fn contents() -> Vec<Value> {
    let mentions = json!([{"userId": "bob", "offset": 0, "length": 4}]);
    let url = "https://example.com/file";
    let forwarded = json!({
        "senderId": "eve", "senderName": "Eve", "timeMs": "1700000000000",
        "content": {"text": {"text": "heard elsewhere"}},
    });
    vec![
        json!({"text": {"text": "@bob 你好 👋"}, "mentions": mentions}),
        json!({"text": {"text": "everybody!"}, "mentionAll": true}),
        json!({"image": {"url": url, "widthPx": 640, "heightPx": 480, "sizeBytes": "12345"}, "fallback": "an image"}),
        json!({"audio": {"url": url, "durationMs": 1500}}),
        json!({"video": {"url": url, "durationMs": 2500, "mimeType": "video/mp4"}}),
        json!({"file": {"url": url, "name": "plan.pdf", "sizeBytes": "99"}}),
        json!({"location": {"latitudeDeg": 52.5, "longitudeDeg": 13.4, "name": "Berlin"}}),
        json!({"card": {"subjectId": "bob", "subjectKind": "user", "title": "Bob"}}),
        json!({"sticker": {"packId": "cats", "stickerId": "7"}}),
        json!({"forward": {"title": "A talk", "messages": [forwarded]}}),
        json!({"quote": {"seq": "2", "senderId": "alice", "preview": "@bob", "text": "as I said"}}),
        json!({"notice": {"text": "the office is closed"}}),
        json!({"custom": {"type": "shop.order", "data": "AAEC"}, "fallback": "an order"}),
        json!({"encrypted": {"scheme": "mls", "data": "/////w=="}}),
    ]
}
