//! The calls of the contract by name. A change bears a client id, made here, so that calling it again does it once.

use flare_proto::{
    message::Role,
    session::{
        AddMembersRequest, ConversationResponse, ConversationSettings, CreateConversationRequest,
        DisbandConversationRequest, GetConversationRequest, LeaveConversationRequest,
        ListMembersRequest, ListMembersResponse, ListPositionsRequest, ListPositionsResponse,
        MarkReadRequest, MarkReadResponse, RemoveMemberRequest, RenameConversationRequest,
        SetRoleRequest, TransferOwnershipRequest, UpdateSettingsRequest,
    },
    signaling::{Device, GetPresenceRequest, ListDevicesRequest, Presence, SignOutRequest},
    storage::{HistoryRequest, HistoryResponse, SnapshotRequest, SnapshotResponse},
};

use super::Client;
use crate::{error::CallError, methods};

impl Client {
    /// Makes a group. An empty `client_id` is filled.
    ///
    /// # Errors
    /// See [`CallError`]; likewise for all that follow.
    pub async fn create_conversation(
        &self,
        mut request: CreateConversationRequest,
    ) -> Result<ConversationResponse, CallError> {
        if request.client_id.is_empty() {
            request.client_id = self.change_id(methods::CREATE_CONVERSATION.name()).await?;
        }
        self.call(&methods::CREATE_CONVERSATION, &request).await
    }

    /// Changes a group's title. Gives the seq of the change, 0 if nothing had to change; likewise for the other changes.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn rename_conversation(
        &self,
        conversation_id: impl Into<String>,
        title: impl Into<String>,
    ) -> Result<u64, CallError> {
        let request = RenameConversationRequest {
            client_id: self.change_id(methods::RENAME_CONVERSATION.name()).await?,
            conversation_id: conversation_id.into(),
            title: title.into(),
            ..RenameConversationRequest::default()
        };
        Ok(self
            .call(&methods::RENAME_CONVERSATION, &request)
            .await?
            .seq)
    }

    /// Adds members to a group.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn add_members(
        &self,
        conversation_id: impl Into<String>,
        user_ids: Vec<String>,
    ) -> Result<u64, CallError> {
        let request = AddMembersRequest {
            client_id: self.change_id(methods::ADD_MEMBERS.name()).await?,
            conversation_id: conversation_id.into(),
            user_ids,
            ..AddMembersRequest::default()
        };
        Ok(self.call(&methods::ADD_MEMBERS, &request).await?.seq)
    }

    /// Removes a member from a group.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn remove_member(
        &self,
        conversation_id: impl Into<String>,
        user_id: impl Into<String>,
    ) -> Result<u64, CallError> {
        let request = RemoveMemberRequest {
            client_id: self.change_id(methods::REMOVE_MEMBER.name()).await?,
            conversation_id: conversation_id.into(),
            user_id: user_id.into(),
            ..RemoveMemberRequest::default()
        };
        Ok(self.call(&methods::REMOVE_MEMBER, &request).await?.seq)
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn leave_conversation(
        &self,
        conversation_id: impl Into<String>,
    ) -> Result<u64, CallError> {
        let request = LeaveConversationRequest {
            client_id: self.change_id(methods::LEAVE_CONVERSATION.name()).await?,
            conversation_id: conversation_id.into(),
            ..LeaveConversationRequest::default()
        };
        Ok(self.call(&methods::LEAVE_CONVERSATION, &request).await?.seq)
    }

    /// Makes a member an admin, or an admin a member.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn set_role(
        &self,
        conversation_id: impl Into<String>,
        user_id: impl Into<String>,
        role: Role,
    ) -> Result<u64, CallError> {
        let request = SetRoleRequest {
            client_id: self.change_id(methods::SET_ROLE.name()).await?,
            conversation_id: conversation_id.into(),
            user_id: user_id.into(),
            role: role.into(),
            ..SetRoleRequest::default()
        };
        Ok(self.call(&methods::SET_ROLE, &request).await?.seq)
    }

    /// Makes another member the owner.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn transfer_ownership(
        &self,
        conversation_id: impl Into<String>,
        user_id: impl Into<String>,
    ) -> Result<u64, CallError> {
        let request = TransferOwnershipRequest {
            client_id: self.change_id(methods::TRANSFER_OWNERSHIP.name()).await?,
            conversation_id: conversation_id.into(),
            user_id: user_id.into(),
            ..TransferOwnershipRequest::default()
        };
        Ok(self.call(&methods::TRANSFER_OWNERSHIP, &request).await?.seq)
    }

    /// Ends a group.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn disband_conversation(
        &self,
        conversation_id: impl Into<String>,
    ) -> Result<u64, CallError> {
        let request = DisbandConversationRequest {
            client_id: self.change_id(methods::DISBAND_CONVERSATION.name()).await?,
            conversation_id: conversation_id.into(),
            ..DisbandConversationRequest::default()
        };
        Ok(self
            .call(&methods::DISBAND_CONVERSATION, &request)
            .await?
            .seq)
    }

    /// One conversation, and the user's role in it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn conversation(
        &self,
        conversation_id: impl Into<String>,
    ) -> Result<ConversationResponse, CallError> {
        let request = GetConversationRequest {
            conversation_id: conversation_id.into(),
            ..GetConversationRequest::default()
        };
        self.call(&methods::GET_CONVERSATION, &request).await
    }

    /// A page of a conversation's members; an empty token asks for the first, an empty `next_page_token` says that it was the last.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn members(
        &self,
        conversation_id: impl Into<String>,
        page_token: impl Into<String>,
    ) -> Result<ListMembersResponse, CallError> {
        let request = ListMembersRequest {
            conversation_id: conversation_id.into(),
            page_token: page_token.into(),
            ..ListMembersRequest::default()
        };
        self.call(&methods::LIST_MEMBERS, &request).await
    }

    /// Moves the user's read position forward. His own messages count as read without it; marked before it is stored, one is
    /// refused as `POSITION_BEYOND_HEAD`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn mark_read(
        &self,
        conversation_id: impl Into<String>,
        seq: u64,
    ) -> Result<MarkReadResponse, CallError> {
        let request = MarkReadRequest {
            conversation_id: conversation_id.into(),
            seq,
            ..MarkReadRequest::default()
        };
        self.call(&methods::MARK_READ, &request).await
    }

    /// A page of how far each member has read and received.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn positions(
        &self,
        conversation_id: impl Into<String>,
        page_token: impl Into<String>,
    ) -> Result<ListPositionsResponse, CallError> {
        let request = ListPositionsRequest {
            conversation_id: conversation_id.into(),
            page_token: page_token.into(),
            ..ListPositionsRequest::default()
        };
        self.call(&methods::LIST_POSITIONS, &request).await
    }

    /// Changes the user's own settings of a conversation; absent fields stay as they are.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn update_settings(
        &self,
        request: UpdateSettingsRequest,
    ) -> Result<ConversationSettings, CallError> {
        let answer = self.call(&methods::UPDATE_SETTINGS, &request).await?;
        Ok(answer.settings.unwrap_or_default())
    }

    /// A page of messages, for people who scroll.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn history(&self, request: HistoryRequest) -> Result<HistoryResponse, CallError> {
        self.call(&methods::HISTORY, &request).await
    }

    /// The head of a conversation and its last messages.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn snapshot(
        &self,
        conversation_id: impl Into<String>,
        messages: u32,
    ) -> Result<SnapshotResponse, CallError> {
        let request = SnapshotRequest {
            conversation_id: conversation_id.into(),
            page_size: Some(messages),
            ..SnapshotRequest::default()
        };
        self.call(&methods::SNAPSHOT, &request).await
    }

    /// Who of some users, at most 200, is online.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn presence(&self, user_ids: Vec<String>) -> Result<Vec<Presence>, CallError> {
        let request = GetPresenceRequest {
            user_ids,
            ..GetPresenceRequest::default()
        };
        Ok(self.call(&methods::GET_PRESENCE, &request).await?.presences)
    }

    /// The user's own connected devices.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn devices(&self) -> Result<Vec<Device>, CallError> {
        let request = ListDevicesRequest::default();
        Ok(self.call(&methods::LIST_DEVICES, &request).await?.devices)
    }

    /// Signs out one of the user's devices, or with an empty id all of them, this one included. Gives how many connections were closed.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn sign_out(&self, device_id: impl Into<String>) -> Result<u32, CallError> {
        let request = SignOutRequest {
            device_id: device_id.into(),
            ..SignOutRequest::default()
        };
        Ok(self
            .call(&methods::SIGN_OUT, &request)
            .await?
            .closed_connections)
    }

    /// A client id for a change. Waits for the first connection, which tells the server's time.
    async fn change_id(&self, method: &'static str) -> Result<String, CallError> {
        let timed_out = || CallError::TimedOut {
            method: method.to_owned(),
        };
        let known = self.shared.clock.known();
        tokio::time::timeout(self.shared.request_timeout, known)
            .await
            .map_err(|_| timed_out())?;
        self.mint_client_id().ok_or_else(timed_out)
    }
}
