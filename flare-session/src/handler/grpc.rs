//! `flare.session.v1.SessionService`.

use std::sync::Arc;

use flare_proto::{
    common::RequestContext,
    message::Role as RoleOut,
    session::{
        AddMembersRequest, AuthorizeRequest, AuthorizeResponse, ChangeResponse,
        ConversationResponse, ConversationSettings, CreateConversationRequest, DevicePosition,
        DisbandConversationRequest, GetConversationRequest, LargeConversationsRequest,
        LargeConversationsResponse, LeaveConversationRequest, ListMembersRequest,
        ListMembersResponse, ListPositionsRequest, ListPositionsResponse, MarkReadRequest,
        MarkReadResponse, MemberPosition, MembersRequest, MembersResponse, PutPositionsRequest,
        PutPositionsResponse, RemoveMemberRequest, RenameConversationRequest, SetRoleRequest,
        SyncInboxRequest, SyncInboxResponse, TransferOwnershipRequest, UpdateSettingsRequest,
        UpdateSettingsResponse, session_service_server::SessionService,
    },
};
use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;
use tonic::{Request, Response, Status};

use super::convert::{
    caller, class_in, entry_out, history_in, key, large_memberships_out, members_out,
    membership_out, page_size, role_in, role_out, roster_out, user, users,
};
use crate::{
    application::{
        access::{Access, Question},
        commands::Commands,
        delivered::Delivered,
        inbox::Inbox,
        ports::DeliveredUpdate,
        queries::Queries,
        reads::Reads,
        settings::{SettingsUpdates, Wish},
    },
    domain::{
        caller::{Actor, Caller, UserKey},
        command::Command,
        ids::check_group_id,
        rule::Rule,
    },
};

/// How many members a page of a roster has.
const ROSTER_PAGE: usize = 1_000;
/// Users of one question for large conversations.
const MAX_USERS: usize = 500;

/// Serves the contract from the use cases.
#[derive(Clone)]
pub struct SessionHandler {
    pub(crate) access: Arc<Access>,
    pub(crate) commands: Arc<Commands>,
    pub(crate) queries: Arc<Queries>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) reads: Arc<Reads>,
    pub(crate) delivered: Arc<Delivered>,
    pub(crate) settings: Arc<SettingsUpdates>,
}

impl SessionHandler {
    async fn change(
        &self,
        context: Option<&RequestContext>,
        client_id: &str,
        conversation: &str,
        command: Command,
    ) -> Result<Response<ChangeResponse>, Status> {
        let caller = caller(context)?;
        let key = key(&caller, conversation)?;
        let seq = self
            .commands
            .change(&caller, client_id, &key, &command)
            .await?;
        Ok(Response::new(ChangeResponse { seq }))
    }

    async fn conversation(
        &self,
        caller: &Caller,
        key: &ConversationKey,
    ) -> Result<ConversationResponse, Refusal> {
        let (roster, role) = self.queries.conversation(caller, key).await?;
        Ok(ConversationResponse {
            conversation: Some(roster_out(&key.conversation, &roster)),
            role: role.map(role_out).unwrap_or(RoleOut::Unspecified).into(),
        })
    }
}

/// The owner of a new group: the caller himself, or whom the system names.
fn owner_of(caller: &Caller, named: &str) -> Result<Arc<str>, Refusal> {
    match &caller.actor {
        Actor::System => user("owner_id", named),
        Actor::User { id, .. } if named.is_empty() || *named == **id => Ok(Arc::clone(id)),
        Actor::User { .. } => Err(Refusal::invalid(
            "owner_id",
            "a user owns what he creates: leave owner_id empty",
        )),
    }
}

#[tonic::async_trait]
impl SessionService for SessionHandler {
    async fn authorize(
        &self,
        request: Request<AuthorizeRequest>,
    ) -> Result<Response<AuthorizeResponse>, Status> {
        let questions: Vec<_> = request
            .into_inner()
            .items
            .into_iter()
            .map(|it| Question {
                key: ConversationKey::new(it.tenant_id, it.conversation_id),
                user: it.user_id.into(),
            })
            .collect();
        let memberships = self.access.authorize(&questions).await?;
        Ok(Response::new(AuthorizeResponse {
            memberships: memberships.iter().map(membership_out).collect(),
        }))
    }

    async fn members(
        &self,
        request: Request<MembersRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        let request = request.into_inner();
        let key = ConversationKey::new(request.tenant_id, request.conversation_id);
        let page = self
            .queries
            .roster(
                &key,
                request.known_version,
                ROSTER_PAGE,
                &request.page_token,
            )
            .await?;
        let not_found = || {
            Refusal::from(Rule::NotFound {
                conversation: Arc::clone(&key.conversation),
            })
        };
        let page = page.ok_or_else(not_found)?;
        Ok(Response::new(MembersResponse {
            version: page.version,
            unchanged: page.unchanged,
            members: members_out(&page.members.items),
            joined_seqs: page
                .members
                .items
                .iter()
                .map(|(_, member)| member.joined_seq)
                .collect(),
            next_page_token: page.members.next,
        }))
    }

    async fn large_conversations(
        &self,
        request: Request<LargeConversationsRequest>,
    ) -> Result<Response<LargeConversationsResponse>, Status> {
        let asked = request.into_inner().users;
        if asked.len() > MAX_USERS {
            let message = format!(
                "{} users: at most {MAX_USERS} may be asked for",
                asked.len()
            );
            return Err(Refusal::invalid("users", message).into());
        }
        let users: Vec<_> = asked
            .into_iter()
            .map(|it| UserKey::new(it.tenant_id, it.user_id))
            .collect();
        let found = self.access.large_memberships(&users).await?;
        Ok(Response::new(large_memberships_out(found)))
    }

    async fn create_conversation(
        &self,
        request: Request<CreateConversationRequest>,
    ) -> Result<Response<ConversationResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.context.as_ref())?;
        let conversation = match request.conversation_id.as_str() {
            "" => None,
            id => {
                check_group_id("conversation_id", id).map_err(Refusal::from)?;
                Some(Arc::from(id))
            }
        };
        let command = Command::Create {
            owner: owner_of(&caller, &request.owner_id)?,
            members: users("member_ids", &request.member_ids)?,
            history: history_in(request.history_visibility)?,
            class: class_in(request.class)?,
            title: request.title,
        };
        let key = self
            .commands
            .create(&caller, &request.client_id, conversation, &command)
            .await?;
        let response = self.conversation(&caller, &key).await?;
        Ok(Response::new(response))
    }

    async fn rename_conversation(
        &self,
        request: Request<RenameConversationRequest>,
    ) -> Result<Response<ChangeResponse>, Status> {
        let it = request.into_inner();
        let command = Command::Rename { title: it.title };
        self.change(
            it.context.as_ref(),
            &it.client_id,
            &it.conversation_id,
            command,
        )
        .await
    }

    async fn add_members(
        &self,
        request: Request<AddMembersRequest>,
    ) -> Result<Response<ChangeResponse>, Status> {
        let it = request.into_inner();
        let command = Command::AddMembers {
            users: users("user_ids", &it.user_ids)?,
        };
        self.change(
            it.context.as_ref(),
            &it.client_id,
            &it.conversation_id,
            command,
        )
        .await
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<ChangeResponse>, Status> {
        let it = request.into_inner();
        let command = Command::RemoveMember {
            user: user("user_id", &it.user_id)?,
        };
        self.change(
            it.context.as_ref(),
            &it.client_id,
            &it.conversation_id,
            command,
        )
        .await
    }

    async fn leave_conversation(
        &self,
        request: Request<LeaveConversationRequest>,
    ) -> Result<Response<ChangeResponse>, Status> {
        let it = request.into_inner();
        self.change(
            it.context.as_ref(),
            &it.client_id,
            &it.conversation_id,
            Command::Leave,
        )
        .await
    }

    async fn set_role(
        &self,
        request: Request<SetRoleRequest>,
    ) -> Result<Response<ChangeResponse>, Status> {
        let it = request.into_inner();
        let command = Command::SetRole {
            user: user("user_id", &it.user_id)?,
            role: role_in(it.role())?,
        };
        self.change(
            it.context.as_ref(),
            &it.client_id,
            &it.conversation_id,
            command,
        )
        .await
    }

    async fn transfer_ownership(
        &self,
        request: Request<TransferOwnershipRequest>,
    ) -> Result<Response<ChangeResponse>, Status> {
        let it = request.into_inner();
        let command = Command::TransferOwnership {
            to: user("user_id", &it.user_id)?,
        };
        self.change(
            it.context.as_ref(),
            &it.client_id,
            &it.conversation_id,
            command,
        )
        .await
    }

    async fn disband_conversation(
        &self,
        request: Request<DisbandConversationRequest>,
    ) -> Result<Response<ChangeResponse>, Status> {
        let it = request.into_inner();
        self.change(
            it.context.as_ref(),
            &it.client_id,
            &it.conversation_id,
            Command::Disband,
        )
        .await
    }

    async fn get_conversation(
        &self,
        request: Request<GetConversationRequest>,
    ) -> Result<Response<ConversationResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.context.as_ref())?;
        let key = key(&caller, &request.conversation_id)?;
        let response = self.conversation(&caller, &key).await?;
        Ok(Response::new(response))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.context.as_ref())?;
        let key = key(&caller, &request.conversation_id)?;
        let size = page_size(request.page_size)?;
        let page = self
            .queries
            .members(&caller, &key, size, &request.page_token)
            .await?;
        Ok(Response::new(ListMembersResponse {
            members: members_out(&page.items),
            next_page_token: page.next,
        }))
    }

    async fn sync_inbox(
        &self,
        request: Request<SyncInboxRequest>,
    ) -> Result<Response<SyncInboxResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.context.as_ref())?;
        let size = page_size(request.page_size)?;
        let page = self.inbox.sync(&caller, &request.token, size).await?;
        Ok(Response::new(SyncInboxResponse {
            entries: page
                .entries
                .into_iter()
                .map(entry_out)
                .collect::<Result<_, _>>()?,
            token: page.token,
            has_more: page.has_more,
        }))
    }

    async fn mark_read(
        &self,
        request: Request<MarkReadRequest>,
    ) -> Result<Response<MarkReadResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.context.as_ref())?;
        let key = key(&caller, &request.conversation_id)?;
        let marked = self.reads.mark(&caller, &key, request.seq).await?;
        Ok(Response::new(MarkReadResponse {
            read_seq: marked.read_seq,
            unread_count: marked.unread,
        }))
    }

    async fn list_positions(
        &self,
        request: Request<ListPositionsRequest>,
    ) -> Result<Response<ListPositionsResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.context.as_ref())?;
        let key = key(&caller, &request.conversation_id)?;
        let size = page_size(request.page_size)?;
        let page = self
            .queries
            .positions(&caller, &key, size, &request.page_token)
            .await?;
        let positions = page.items.into_iter().map(|member| MemberPosition {
            user_id: member.user.to_string(),
            read_seq: member.read.seq,
            delivered: member
                .delivered
                .into_iter()
                .map(|(device, seq)| DevicePosition {
                    device_id: device.to_string(),
                    seq,
                })
                .collect(),
        });
        Ok(Response::new(ListPositionsResponse {
            positions: positions.collect(),
            next_page_token: page.next,
        }))
    }

    async fn put_positions(
        &self,
        request: Request<PutPositionsRequest>,
    ) -> Result<Response<PutPositionsResponse>, Status> {
        let updates: Vec<_> = request
            .into_inner()
            .positions
            .into_iter()
            .map(|it| DeliveredUpdate {
                key: ConversationKey::new(it.tenant_id, it.conversation_id),
                user: it.user_id.into(),
                device: it.device_id.into(),
                seq: it.seq,
            })
            .collect();
        let refused = self.delivered.take(&updates).await?;
        Ok(Response::new(PutPositionsResponse {
            refused: refused.into_iter().map(|index| index as u32).collect(),
        }))
    }

    async fn update_settings(
        &self,
        request: Request<UpdateSettingsRequest>,
    ) -> Result<Response<UpdateSettingsResponse>, Status> {
        let request = request.into_inner();
        let caller = caller(request.context.as_ref())?;
        let key = key(&caller, &request.conversation_id)?;
        let wish = Wish {
            mute_until_ms: request.mute_until_ms,
            pinned: request.pinned,
            hidden: request.hidden,
        };
        let shown = self.settings.update(&caller, &key, &wish).await?;
        let settings = ConversationSettings {
            mute_until_ms: shown.mute_until_ms,
            pinned: shown.pinned,
            hidden: shown.hidden,
        };
        Ok(Response::new(UpdateSettingsResponse {
            settings: Some(settings),
        }))
    }
}
