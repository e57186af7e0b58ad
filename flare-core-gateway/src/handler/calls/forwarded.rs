//! Methods that an inner service does: the request goes on as it came, with the true context.

use flare_proto::{
    session::{
        AddMembersRequest, ChangeResponse, ConversationResponse, CreateConversationRequest,
        DisbandConversationRequest, GetConversationRequest, LeaveConversationRequest,
        ListMembersRequest, ListMembersResponse, ListPositionsRequest, ListPositionsResponse,
        MarkReadRequest, MarkReadResponse, RemoveMemberRequest, RenameConversationRequest,
        SetRoleRequest, SyncInboxRequest, SyncInboxResponse, TransferOwnershipRequest,
        UpdateSettingsRequest, UpdateSettingsResponse,
    },
    signaling::{GetPresenceRequest, GetPresenceResponse, ListDevicesRequest, ListDevicesResponse},
    storage::{
        HistoryRequest, HistoryResponse, ReadRangesRequest, ReadRangesResponse, SnapshotRequest,
        SnapshotResponse,
    },
};
use flare_server_core::error::Refusal;

use super::{Call, Calls};

macro_rules! forwarded {
    ($($client:ident: $($call:ident($request:ident) -> $response:ident),+;)+) => {
        impl Calls {
            $($(
                /// Forwarded as it is.
                pub(crate) async fn $call(&self, _: &Call, request: $request) -> Result<$response, Refusal> {
                    Ok(self.$client.clone().$call(request).await?.into_inner())
                }
            )+)+
        }
    };
}

forwarded! {
    session:
        create_conversation(CreateConversationRequest) -> ConversationResponse,
        get_conversation(GetConversationRequest) -> ConversationResponse,
        rename_conversation(RenameConversationRequest) -> ChangeResponse,
        disband_conversation(DisbandConversationRequest) -> ChangeResponse,
        add_members(AddMembersRequest) -> ChangeResponse,
        remove_member(RemoveMemberRequest) -> ChangeResponse,
        leave_conversation(LeaveConversationRequest) -> ChangeResponse,
        set_role(SetRoleRequest) -> ChangeResponse,
        transfer_ownership(TransferOwnershipRequest) -> ChangeResponse,
        list_members(ListMembersRequest) -> ListMembersResponse,
        update_settings(UpdateSettingsRequest) -> UpdateSettingsResponse,
        sync_inbox(SyncInboxRequest) -> SyncInboxResponse,
        mark_read(MarkReadRequest) -> MarkReadResponse,
        list_positions(ListPositionsRequest) -> ListPositionsResponse;
    reader:
        read_ranges(ReadRangesRequest) -> ReadRangesResponse,
        history(HistoryRequest) -> HistoryResponse,
        snapshot(SnapshotRequest) -> SnapshotResponse;
    signaling:
        get_presence(GetPresenceRequest) -> GetPresenceResponse,
        list_devices(ListDevicesRequest) -> ListDevicesResponse;
}
