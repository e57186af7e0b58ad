//! The server that the table asks, and what is there: users, conversations, tokens and keys.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use flare_proto::{
    common::ErrorCode,
    gateway::{AdminDeviceRequest, SendMessageRequest},
    session::{DisbandConversationRequest, ListMembersRequest, MarkReadRequest, MembershipState},
    storage::HistoryRequest,
};
use flare_server_core::error::Refusal;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::surfaces::{
    api::Api,
    backend::{Backend, group_of, key_for, text, with},
    message::{Headers, bearer},
    server::{NO_TENANT, Server},
    state::State,
};

/// Whoever asks.
pub(crate) const ANN: &str = "ann";
/// Owns every group.
pub(crate) const BEN: &str = "ben";
const CARL: &str = "carl";
/// Whose tokens are revoked.
pub(crate) const REX: &str = "rex";
/// Of another tenant.
pub(crate) const ZOE: &str = "zoe";

/// The users of the default tenant whose inboxes are looked at.
const USERS: [&str; 3] = [ANN, BEN, CARL];

/// Ann is in it, and has said something.
pub(crate) const TEAM: &str = "team";
/// Ann is in it, too.
pub(crate) const SIDE: &str = "side";
/// Ann never was in it.
pub(crate) const CLOSED: &str = "closed";
/// Ann has left it.
pub(crate) const LEFT: &str = "left";
/// Ann was in it when it was disbanded.
pub(crate) const ENDED: &str = "ended";
/// Of the other tenant.
pub(crate) const THEIRS: &str = "theirs";
/// What Ann said to the team, under which client id.
pub(crate) const SAID: (&str, &str) = ("said-once", "the first content");

const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// The server and its inhabitants.
pub(crate) struct Ground {
    pub(crate) server: Server,
    pub(crate) api: Api,
    pub(crate) backend: Backend,
    /// Those of the default tenant.
    pub(crate) conversations: Vec<String>,
    /// The direct conversation of Ben and Carl.
    pub(crate) direct_of_others: String,
    /// The secret of one that may only read.
    pub(crate) reading_key: String,
    /// The secret of one that was revoked.
    pub(crate) revoked_key: String,
    pub(crate) tokens: Tokens,
    pub(crate) cursors: Cursors,
    _folder: TempDir,
}

/// Tokens of all kinds.
pub(crate) struct Tokens {
    pub(crate) ann: String,
    /// Good on her phone alone.
    pub(crate) ann_on_her_phone: String,
    pub(crate) ann_expired: String,
    pub(crate) ann_of_no_tenant: String,
    /// Of a user of the same name in the other tenant.
    pub(crate) ann_elsewhere: String,
    pub(crate) ben: String,
    pub(crate) revoked: String,
    zoe: String,
}

/// Page tokens of the team's.
#[derive(Default)]
pub(crate) struct Cursors {
    pub(crate) history: String,
    pub(crate) members: String,
}

impl Ground {
    /// Starts the server and lets things happen until all is settled.
    pub(crate) async fn prepare() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::ephemeral(folder.path(), &[])?;
        let token = |tenant: &str, user: &str| server.token(tenant, user, None, Duration::ZERO);
        let tokens = Tokens {
            ann: token("default", ANN)?,
            ann_on_her_phone: server.token("default", ANN, Some("phone"), Duration::ZERO)?,
            ann_expired: server.token("default", ANN, None, Duration::from_secs(7_200))?,
            ann_of_no_tenant: token(NO_TENANT, ANN)?,
            ann_elsewhere: token("other", ANN)?,
            ben: token("default", BEN)?,
            revoked: token("default", REX)?,
            zoe: token("other", ZOE)?,
        };
        let (_, key) = server.api_key("default", "send,conversations,read,presence,admin")?;
        let (_, reading_key) = server.api_key("default", "read")?;
        let (revoked_id, revoked_key) = server.api_key("default", "send,read")?;
        server.revoke_api_key(&revoked_id)?;
        let api = Api::of(server.api()).await?;
        let backend = Backend {
            channel: api.channel.clone(),
            key,
        };
        let mut ground = Self {
            server,
            api,
            backend,
            conversations: Vec::new(),
            direct_of_others: String::new(),
            reading_key,
            revoked_key,
            tokens,
            cursors: Cursors::default(),
            _folder: folder,
        };
        ground.live().await?;
        Ok(ground)
    }

    /// A picture of all that is there in the default tenant.
    pub(crate) async fn state(&self) -> anyhow::Result<State> {
        State::read(&self.backend, &self.conversations, &USERS).await
    }

    /// The headers by which the key acts for a user.
    pub(crate) fn key_for(&self, user: &str) -> Headers {
        key_for(&self.backend.key, user)
    }

    async fn live(&mut self) -> anyhow::Result<()> {
        let groups = [
            (TEAM, &[ANN, CARL][..]),
            (SIDE, &[ANN]),
            (CLOSED, &[CARL]),
            (LEFT, &[ANN]),
            (ENDED, &[ANN]),
        ];
        let mut heads = BTreeMap::new();
        for (group, members) in groups {
            self.backend.create(BEN, group, members).await?;
            let seq = self
                .backend
                .say(BEN, group, &format!("hello-{group}"), "hello")
                .await?
                .1;
            heads.insert(group.to_owned(), seq);
        }
        heads.insert(
            TEAM.to_owned(),
            self.backend.say(ANN, TEAM, SAID.0, SAID.1).await?.1,
        );
        let theirs = group_of(THEIRS, &[ZOE]);
        self.backend
            .client()
            .create_conversation(with(&bearer(&self.tokens.zoe), theirs))
            .await?;

        let seq = self.backend.leave(ANN, LEFT).await?;
        heads.insert(LEFT.to_owned(), seq);
        let ended = DisbandConversationRequest {
            client_id: "ends".to_owned(),
            conversation_id: ENDED.to_owned(),
            ..DisbandConversationRequest::default()
        };
        let seq = self
            .backend
            .client()
            .disband_conversation(self.backend.as_user(BEN, ended))
            .await?
            .into_inner()
            .seq;
        heads.insert(ENDED.to_owned(), seq);

        let request = SendMessageRequest {
            user_id: CARL.to_owned(),
            ..text("", "direct", "hello")
        };
        let placed = self
            .backend
            .client()
            .send_message(self.backend.as_user(BEN, request))
            .await?
            .into_inner()
            .placed;
        let placed = placed.context("not placed")?;
        self.direct_of_others.clone_from(&placed.conversation_id);
        heads.insert(placed.conversation_id, placed.seq);

        let revoked = AdminDeviceRequest {
            user_id: REX.to_owned(),
            ..AdminDeviceRequest::default()
        };
        self.backend
            .client()
            .revoke(self.backend.as_system(revoked))
            .await?;
        self.conversations = heads.keys().cloned().collect();
        self.settle(&heads).await?;
        self.cursors = self.cursors().await?;
        Ok(())
    }

    /// Waits until everything that was said is in the store and in the inboxes, and is read.
    async fn settle(&self, heads: &BTreeMap<String, u64>) -> anyhow::Result<()> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        let entries = [(ANN, 4), (BEN, 6), (CARL, 3)];
        loop {
            for user in USERS {
                for (conversation, seq) in heads {
                    self.mark_read(user, conversation, *seq).await?;
                }
            }
            let state = self.state().await?;
            let has_all = entries
                .iter()
                .all(|(user, count)| entries_of(&state, user) == *count);
            let unsettled = unsettled(&state);
            if state.heads == *heads && unsettled.is_empty() && has_all {
                return Ok(());
            }
            let counts = entries.map(|(user, _)| (user, entries_of(&state, user)));
            ensure!(
                Instant::now() < deadline,
                "not settled: {:?} instead of {heads:?}, {counts:?}, {:?}",
                state.heads,
                unsettled
            );
        }
    }

    /// Where he is no member, or the store is not so far, there is nothing to read yet.
    async fn mark_read(&self, user: &str, conversation: &str, seq: u64) -> anyhow::Result<()> {
        let request = MarkReadRequest {
            conversation_id: conversation.to_owned(),
            seq,
            ..MarkReadRequest::default()
        };
        match self
            .backend
            .client()
            .mark_read(self.backend.as_user(user, request))
            .await
        {
            Ok(_) => Ok(()),
            Err(status) => match Refusal::from(status) {
                refusal if NOT_YET.contains(&refusal.code) => Ok(()),
                refusal => Err(refusal).context(format!("{user} reads {conversation} up to {seq}")),
            },
        }
    }

    async fn cursors(&self) -> anyhow::Result<Cursors> {
        let request = HistoryRequest {
            conversation_id: TEAM.to_owned(),
            page_size: Some(1),
            ..HistoryRequest::default()
        };
        let history = self
            .backend
            .client()
            .history(self.backend.as_user(ANN, request))
            .await?
            .into_inner()
            .next_page_token;
        let request = ListMembersRequest {
            conversation_id: TEAM.to_owned(),
            page_size: Some(1),
            ..ListMembersRequest::default()
        };
        let members = self
            .backend
            .client()
            .list_members(self.backend.as_user(ANN, request))
            .await?
            .into_inner()
            .next_page_token;
        ensure!(
            !history.is_empty() && !members.is_empty(),
            "one page has it all"
        );
        Ok(Cursors { history, members })
    }

    /// Says something good wherever that is possible, and names where the seq is not the next one: there something had been let in.
    pub(crate) async fn next_seqs(&self, state: &State) -> anyhow::Result<Vec<String>> {
        let mut gaps = Vec::new();
        for (conversation, head) in &state.heads {
            if conversation == ENDED {
                continue;
            }
            let (_, seq) = self
                .backend
                .say(BEN, conversation, "and-then", "goodbye")
                .await?;
            if seq != head + 1 {
                gaps.push(format!(
                    "{conversation}: the next seq was {seq}, the head {head}"
                ));
            }
        }
        Ok(gaps)
    }
}

fn entries_of(state: &State, user: &str) -> usize {
    state.entries.iter().filter(|(of, _)| of == user).count()
}

/// Where a user's list does not agree with the conversation's head, or he has not read it all.
fn unsettled(state: &State) -> Vec<String> {
    let mut found = Vec::new();
    for (user, entry) in &state.entries {
        let id = entry.conversation.as_ref().map(|it| &it.conversation_id);
        let head = id.and_then(|it| state.heads.get(it)).copied();
        let is_active = entry.state() == MembershipState::Active;
        if is_active && (Some(entry.head_seq) != head || entry.read_seq != entry.head_seq) {
            found.push(format!("{user}: head {head:?}, {entry:?}"));
        }
    }
    found
}

/// Refusals of a read position that a later one may not get.
const NOT_YET: [ErrorCode; 3] = [
    ErrorCode::PositionBeyondHead,
    ErrorCode::NotAMember,
    ErrorCode::ConversationNotFound,
];
