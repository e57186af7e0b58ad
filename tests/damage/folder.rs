//! A data folder of which it is known what it holds, and how its server ended.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, ensure};
use flare_server_core::{
    clock::{Clock, IdSource, SystemClock},
    identity::{IdentityConfig, LocalJwt},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    SETTINGS,
    api::{Api, As},
    observation::observe,
    server::{self, Server},
};

/// Inboxes and positions follow the log within this time.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(30);
const SCOPES: &str = "send,conversations,read,presence,admin";

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Clean,
    Killed,
}

impl Stop {
    pub(crate) const ALL: [Self; 2] = [Self::Clean, Self::Killed];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Clean => "stopped",
            Self::Killed => "killed",
        }
    }
}

/// What was decided and acknowledged in a folder.
pub(crate) struct Story {
    pub(crate) stop: Stop,
    /// As its server has left it.
    pub(crate) data: PathBuf,
    /// The same, one clean stop earlier.
    pub(crate) older: PathBuf,
    pub(crate) key: String,
    pub(crate) revoked_keys: Vec<String>,
    /// Tokens that were good once.
    pub(crate) revoked_tokens: Vec<String>,
    pub(crate) good_token: String,
    /// All that the API shows.
    pub(crate) state: Value,
    _folder: TempDir,
}

/// A copy that a server may be started on; goes with its value.
pub(crate) struct Copy {
    pub(crate) data: PathBuf,
    _folder: TempDir,
}

impl Story {
    /// Makes the folder by the server `binary`.
    pub(crate) async fn tell(stop: Stop, binary: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (data, older) = (folder.path().join("data"), folder.path().join("older"));
        let server = Server::start(binary, &data, &SETTINGS)?;
        let (_, key) = server::api_key(binary, &data, "shop", SCOPES)?;
        let mut teller = Teller {
            api: Api::new(server.api(), &key)?,
            data: data.clone(),
            binary: binary.to_owned(),
            revoked_keys: Vec::new(),
            revoked_tokens: Vec::new(),
        };
        teller.begin().await?;
        server.stop()?;
        copy(&data, &older)?;

        let server = Server::start(binary, &data, &SETTINGS)?;
        teller.api = Api::new(server.api(), &key)?;
        teller.go_on().await?;
        let good_token = teller.token("bob", "laptop")?;
        let state = teller.settled().await?;
        match stop {
            Stop::Clean => server.stop()?,
            Stop::Killed => drop(server),
        }
        Ok(Self {
            stop,
            data,
            older,
            key,
            revoked_keys: teller.revoked_keys,
            revoked_tokens: teller.revoked_tokens,
            good_token,
            state,
            _folder: folder,
        })
    }

    pub(crate) fn copy(&self) -> anyhow::Result<Copy> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        copy(&self.data, &data)?;
        Ok(Copy {
            data,
            _folder: folder,
        })
    }
}

struct Teller {
    api: Api,
    data: PathBuf,
    binary: PathBuf,
    revoked_keys: Vec<String>,
    revoked_tokens: Vec<String>,
}

impl Teller {
    async fn begin(&mut self) -> anyhow::Result<()> {
        let team = json!({
            "clientId": "found-team", "conversationId": "team", "title": "Team",
            "memberIds": ["bob", "dave"], "historyVisibility": "ALL",
        });
        let founder = As::User("alice");
        self.api
            .post(founder, "/api/v1/conversations", team)
            .await?;
        self.say("team", "alice", 8).await?;
        self.reads("team", "bob", 3).await?;
        self.revokes("alice", "lost-phone").await?;
        self.revokes_key("leaked").await
    }

    /// What an older copy of a file does not know.
    async fn go_on(&mut self) -> anyhow::Result<()> {
        let add = json!({"clientId": "add-carol", "userIds": ["carol"]});
        let members = "/api/v1/conversations/team/members";
        self.api.post(As::User("alice"), members, add).await?;
        let removed = format!("{members}/dave?client_id=remove-dave");
        self.api
            .call(As::User("alice"), Method::DELETE, &removed, None)
            .await?;
        let late = json!({
            "clientId": "found-late", "conversationId": "late", "title": "Late",
            "memberIds": ["alice", "bob"], "historyVisibility": "ALL",
        });
        let founder = As::User("carol");
        self.api
            .post(founder, "/api/v1/conversations", late)
            .await?;
        self.say("late", "carol", 4).await?;
        self.say("team", "bob", 6).await?;
        self.reads("team", "carol", 7).await?;
        self.reads("late", "bob", 3).await?;
        self.revokes("bob", "lost-tablet").await?;
        self.revokes_key("leaked-later").await
    }

    async fn say(&self, conversation: &str, user: &str, count: usize) -> anyhow::Result<()> {
        for number in 0..count {
            let sent = json!({
                "conversationId": conversation, "senderId": user,
                "clientId": format!("{user}-{number}"),
                "content": {"text": {"text": format!("{user} says {number}")}},
            });
            self.api.post(As::System, "/api/v1/messages", sent).await?;
        }
        Ok(())
    }

    async fn reads(&self, conversation: &str, user: &str, seq: u64) -> anyhow::Result<()> {
        let path = format!("/api/v1/conversations/{conversation}/read-position");
        let read = json!({"seq": seq.to_string()});
        self.api
            .call(As::User(user), Method::PUT, &path, Some(read))
            .await?;
        Ok(())
    }

    /// A token that was good until now.
    async fn revokes(&mut self, user: &str, device: &str) -> anyhow::Result<()> {
        let token = self.token(user, device)?;
        let revoke = json!({"deviceId": device, "reason": "lost"});
        let path = format!("/api/v1/admin/users/{user}/revoke");
        self.api.post(As::System, &path, revoke).await?;
        self.revoked_tokens.push(token);
        Ok(())
    }

    async fn revokes_key(&mut self, name: &str) -> anyhow::Result<()> {
        let (id, secret) = server::api_key(&self.binary, &self.data, name, "read")?;
        server::run(&self.binary, &["apikey", "revoke", &id], &self.data)?;
        self.revoked_keys.push(secret);
        Ok(())
    }

    fn token(&self, user: &str, device: &str) -> anyhow::Result<String> {
        let config = IdentityConfig::default();
        let signer = LocalJwt::open(&config, &self.data, &IdSource::from_os())?;
        // A little ago: a revocation ends what was issued before its second.
        let made_ms = SystemClock.now_ms() - 10_000;
        let hour = Duration::from_secs(3_600);
        Ok(signer.mint("default", user, Some(device), hour, made_ms)?)
    }

    /// What the API shows once each inbox has seen every message.
    async fn settled(&self) -> anyhow::Result<Value> {
        let deadline = Instant::now() + FOLLOWED_WITHIN;
        loop {
            let state = observe(&self.api).await?;
            if follows(&state) {
                return Ok(state);
            }
            ensure!(
                Instant::now() < deadline,
                "the inboxes stay behind: {state}"
            );
        }
    }
}

/// Whether the inbox of each member knows the head of each of his conversations.
pub(crate) fn follows(state: &Value) -> bool {
    let conversations = state["conversations"].as_object().into_iter().flatten();
    conversations.into_iter().all(|(id, conversation)| {
        let head = conversation["events"].as_array().map_or(0, Vec::len);
        let members = conversation["members"].as_array().into_iter().flatten();
        members.into_iter().all(|member| {
            let user = member["userId"].as_str().unwrap_or_default();
            state["inboxes"][user][id]["headSeq"] == json!(head.to_string())
        })
    })
}

/// Whether a token opens its user's inbox.
pub(crate) async fn is_good(api: &str, token: &str) -> anyhow::Result<bool> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request = client.get(format!("{api}/api/v1/inbox?page_size=1"));
    match request.bearer_auth(token).send().await?.status() {
        StatusCode::OK => Ok(true),
        StatusCode::UNAUTHORIZED => Ok(false),
        status => anyhow::bail!("an inbox by token: {status}"),
    }
}

/// All files of a folder, by their paths in it, in order.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                walk(root, &entry.path(), found)?;
            } else {
                found.push(entry.path().strip_prefix(root)?.to_owned());
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found)?;
    found.sort();
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for file in files(from)? {
        let (from, to) = (from.join(&file), to.join(&file));
        fs::create_dir_all(to.parent().context("a folder")?)?;
        let modified: SystemTime = fs::metadata(&from)?.modified()?;
        fs::copy(&from, &to)?;
        fs::File::open(&to)?.set_modified(modified)?;
    }
    Ok(())
}
