//! What a row's cells are asked about: a conversation with a cast of its own, so that no cell can spoil another one's.

use std::time::Duration;

use anyhow::{Context, ensure};
use flare_core_gateway::handler::method::Method;
use flare_proto::{
    gateway::{CreateApiKeyRequest, ListApiKeysRequest, SendMessageRequest},
    message::Role,
    session::{
        DisbandConversationRequest, GetConversationRequest, InboxEntry, MembershipState,
        RemoveMemberRequest, SetRoleRequest, SyncInboxRequest,
    },
};
use flare_server_core::error::Refusal;
use flare_storage_model::direct_conversation_id;
use tokio::time::Instant;

use crate::{
    expect::{EARLY, LATE},
    ground::{GONE, Ground, LOST},
    surfaces::{
        backend::{text, with},
        message::bearer,
        state::State,
    },
    table::{Call, Row},
};

const SETTLED_WITHIN: Duration = Duration::from_secs(30);
const MANY: u32 = 200;

/// A group with its users, and what else may be asked for.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) room: String,
    /// The direct conversation of owner and member.
    pub(crate) direct: String,
    /// A conversation that is not there yet.
    pub(crate) new_room: String,
    pub(crate) owner: String,
    pub(crate) admin: String,
    /// Another admin.
    pub(crate) deputy: String,
    pub(crate) member: String,
    pub(crate) left: String,
    pub(crate) removed: String,
    /// Never was in it.
    pub(crate) stranger: String,
    /// Is not in it either: whom others write to, add, kick.
    pub(crate) other: String,
    /// What the member said before some had gone.
    pub(crate) early_id: String,
    pub(crate) early_seq: u64,
    /// What the owner said before that.
    pub(crate) owners_seq: u64,
    /// The newest message.
    pub(crate) late_seq: u64,
    /// The newest event.
    head_seq: u64,
    /// An API key that may be revoked.
    pub(crate) key_id: String,
}

/// A stage and the user's devices, keys and tokens, to be compared with a later one.
pub(crate) struct Picture {
    state: State,
    more: Vec<String>,
}

impl Stage {
    /// The names alone, of nothing that is there.
    pub(crate) fn named(number: u64) -> Self {
        let user = |role: &str| format!("{role}-{number}");
        Self {
            room: user("room"),
            direct: direct_conversation_id("default", &user("owner"), &user("member")),
            new_room: user("new-room"),
            owner: user("owner"),
            admin: user("admin"),
            deputy: user("deputy"),
            member: user("member"),
            left: user("left"),
            removed: user("removed"),
            stranger: user("stranger"),
            other: user("other"),
            early_id: String::new(),
            early_seq: 0,
            owners_seq: 0,
            late_seq: 0,
            head_seq: 0,
            key_id: String::new(),
        }
    }

    /// Makes all that a row is about, and waits until it is in the store and in the inboxes.
    pub(crate) async fn prepare(ground: &Ground, row: &Row) -> anyhow::Result<Self> {
        let mut stage = Self::named(ground.next_number());
        stage
            .live(ground, row)
            .await
            .with_context(|| stage.room.clone())?;
        Ok(stage)
    }

    /// The same people, who are asked about another conversation.
    pub(crate) fn asked_about(&self, conversation: &str) -> Self {
        Self {
            room: conversation.to_owned(),
            direct: conversation.to_owned(),
            ..self.clone()
        }
    }

    async fn live(&mut self, ground: &Ground, row: &Row) -> anyhow::Result<()> {
        let (backend, owner, room) = (&ground.backend, self.owner.as_str(), self.room.as_str());
        let members = [
            &self.admin,
            &self.deputy,
            &self.member,
            &self.left,
            &self.removed,
        ];
        let members: Vec<&str> = members
            .into_iter()
            .map(String::as_str)
            .chain([GONE, LOST])
            .collect();
        backend.create(owner, room, &members).await?;
        for admin in [&self.admin, &self.deputy] {
            let request = SetRoleRequest {
                client_id: format!("promotes-{admin}"),
                conversation_id: room.to_owned(),
                user_id: admin.clone(),
                role: Role::Admin.into(),
                ..SetRoleRequest::default()
            };
            let request = backend.as_user(owner, request);
            backend.client().set_role(request).await?;
        }
        let greeting = SendMessageRequest {
            user_id: self.member.clone(),
            ..text("", "greets", "hello")
        };
        let greeting = backend.as_user(owner, greeting);
        backend.client().send_message(greeting).await?;
        let owners_seq = backend.say(owner, room, "first", "hello").await?.1;
        let (early_id, early_seq) = backend.say(&self.member, room, "early", EARLY).await?;
        let left_at = backend.leave(&self.left, room).await?;
        let request = RemoveMemberRequest {
            client_id: "removes".to_owned(),
            conversation_id: room.to_owned(),
            user_id: self.removed.clone(),
            ..RemoveMemberRequest::default()
        };
        let request = backend.as_user(owner, request);
        backend.client().remove_member(request).await?;
        let late_seq = backend.say(owner, room, "late", LATE).await?.1;
        ensure!(left_at < late_seq, "{left_at} is not before {late_seq}");
        self.head_seq = late_seq;
        if row.has_ended {
            let request = DisbandConversationRequest {
                client_id: "ends".to_owned(),
                conversation_id: room.to_owned(),
                ..DisbandConversationRequest::default()
            };
            let request = backend.as_user(owner, request);
            let ended = backend.client().disband_conversation(request).await?;
            self.head_seq = ended.into_inner().seq;
        }
        if row.call == Call::Method(Method::RevokeApiKey) {
            let request = CreateApiKeyRequest {
                name: self.room.clone(),
                scopes: vec!["read".to_owned()],
                ..CreateApiKeyRequest::default()
            };
            let request = backend.as_system(request);
            let made = backend.client().create_api_key(request).await?.into_inner();
            self.key_id = made.api_key.context("no key")?.key_id;
        }
        self.owners_seq = owners_seq;
        (self.early_id, self.early_seq, self.late_seq) = (early_id, early_seq, late_seq);
        self.settle(ground).await
    }

    async fn settle(&self, ground: &Ground) -> anyhow::Result<()> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        let rooms = [self.room.clone(), self.direct.clone()];
        let present = [&self.owner, &self.admin, &self.deputy, &self.member];
        let gone = [&self.left, &self.removed];
        // One inbox tells, most of the time, that it is too early to look at everything.
        loop {
            let inbox = State::read(&ground.backend, &[], &[&self.member]).await?;
            let mut of_member = inbox.entries.iter();
            if of_member.any(|(_, it)| it.head_seq == self.head_seq) {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "{}: the newest event is in no inbox: {:?}",
                self.room,
                inbox.entries
            );
        }
        loop {
            let users: Vec<&String> = present.into_iter().chain(gone).collect();
            let state = State::read(&ground.backend, &rooms, &users).await?;
            let has = |user: &String, room: &String, is_so: fn(&InboxEntry, u64) -> bool| {
                let mut of = state.entries.iter().filter(|(of, _)| of == user);
                of.any(|(_, it)| {
                    let id = it.conversation.as_ref().map(|it| &it.conversation_id);
                    id == Some(room) && is_so(it, state.heads[room])
                })
            };
            let is_at_head = |it: &InboxEntry, head: u64| it.head_seq == head;
            let is_former = |it: &InboxEntry, _: u64| it.state() == MembershipState::Former;
            let is_settled = state.heads.get(&self.room) == Some(&self.head_seq)
                && present.iter().all(|it| has(it, &self.room, is_at_head))
                && [&self.owner, &self.member]
                    .iter()
                    .all(|it| has(it, &self.direct, is_at_head))
                && gone.iter().all(|it| has(it, &self.room, is_former));
            if is_settled {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{} is not settled: {:?}, {:?}",
                self.room,
                state.heads,
                state.entries
            );
        }
    }

    /// All that a call about the stage might change.
    pub(crate) async fn picture(&self, ground: &Ground) -> anyhow::Result<Picture> {
        let users = [
            &self.owner,
            &self.admin,
            &self.deputy,
            &self.member,
            &self.left,
            &self.removed,
            &self.stranger,
            &self.other,
        ];
        let backend = &ground.backend;
        let state = State::read(backend, &[self.room.clone(), self.direct.clone()], &users).await?;
        let mut more = Vec::new();
        let request = GetConversationRequest {
            conversation_id: self.new_room.clone(),
            ..GetConversationRequest::default()
        };
        let new_room = backend
            .client()
            .get_conversation(backend.as_system(request))
            .await;
        more.push(format!("{}: {}", self.new_room, outcome(new_room)));
        for user in [&self.owner, &self.other] {
            let token =
                ground
                    .server
                    .token("default", user, Some("tablet"), Duration::from_secs(60))?;
            let request = with(&bearer(&token), SyncInboxRequest::default());
            let inbox = backend.client().sync_inbox(request).await;
            more.push(format!("{user}'s token: {}", outcome(inbox)));
        }
        let request = ListApiKeysRequest {
            page_size: Some(MANY),
            ..ListApiKeysRequest::default()
        };
        let keys = backend
            .client()
            .list_api_keys(backend.as_system(request))
            .await?
            .into_inner();
        ensure!(
            keys.next_page_token.is_empty(),
            "more API keys than a page has"
        );
        let keys = keys.api_keys.into_iter().filter(|it| it.name == self.room);
        more.extend(keys.map(|it| format!("{it:?}")));
        Ok(Picture { state, more })
    }
}

fn outcome<T>(answer: Result<T, tonic::Status>) -> String {
    match answer {
        Ok(_) => "good".to_owned(),
        Err(status) => Refusal::from(status).code.as_str_name().to_owned(),
    }
}

impl Picture {
    /// What differs in a later one.
    pub(crate) fn differences(&self, later: &Self) -> Vec<String> {
        let mut differences = self.state.differences(&later.state);
        if self.more != later.more {
            differences.push(format!("from {:?} to {:?}", self.more, later.more));
        }
        differences
    }
}
