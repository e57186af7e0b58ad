//! The table of methods: what each takes and answers, and who may call it.

use crate::domain::{
    caller::{Access, Callers},
    scope::Scope,
};

/// The service of the contract.
pub const SERVICE: &str = "flare.gateway.v1.CoreGatewayService";

/// Hands the table to a macro. A line: method, function, request, response, the scope that API keys need, who may call.
macro_rules! for_each_method {
    ($macro:ident) => {
        $macro! {
            SendMessage, send_message(SendMessageRequest) -> SendMessageResponse, Send, Any;
            SendMessages, send_messages(SendMessagesRequest) -> SendMessagesResponse, Send, Any;
            RecallMessage, recall_message(RecallMessageRequest) -> SendMessageResponse, Send, Any;

            CreateConversation, create_conversation(CreateConversationRequest) -> ConversationResponse, Conversations, Any;
            GetConversation, get_conversation(GetConversationRequest) -> ConversationResponse, Conversations, Any;
            RenameConversation, rename_conversation(RenameConversationRequest) -> ChangeResponse, Conversations, Any;
            DisbandConversation, disband_conversation(DisbandConversationRequest) -> ChangeResponse, Conversations, Any;
            AddMembers, add_members(AddMembersRequest) -> ChangeResponse, Conversations, Any;
            RemoveMember, remove_member(RemoveMemberRequest) -> ChangeResponse, Conversations, Any;
            LeaveConversation, leave_conversation(LeaveConversationRequest) -> ChangeResponse, Conversations, AsUser;
            SetRole, set_role(SetRoleRequest) -> ChangeResponse, Conversations, Any;
            TransferOwnership, transfer_ownership(TransferOwnershipRequest) -> ChangeResponse, Conversations, Any;
            ListMembers, list_members(ListMembersRequest) -> ListMembersResponse, Conversations, Any;
            UpdateSettings, update_settings(UpdateSettingsRequest) -> UpdateSettingsResponse, Conversations, AsUser;

            SyncInbox, sync_inbox(SyncInboxRequest) -> SyncInboxResponse, Read, AsUser;
            MarkRead, mark_read(MarkReadRequest) -> MarkReadResponse, Read, AsUser;
            ListPositions, list_positions(ListPositionsRequest) -> ListPositionsResponse, Read, Any;
            ReadRanges, read_ranges(ReadRangesRequest) -> ReadRangesResponse, Read, Any;
            History, history(HistoryRequest) -> HistoryResponse, Read, Any;
            Snapshot, snapshot(SnapshotRequest) -> SnapshotResponse, Read, Any;

            GetPresence, get_presence(GetPresenceRequest) -> GetPresenceResponse, Presence, Any;
            ListDevices, list_devices(ListDevicesRequest) -> ListDevicesResponse, Presence, Any;
            SignOut, sign_out(SignOutRequest) -> SignOutResponse, Admin, AsUser;

            Kick, kick(AdminDeviceRequest) -> KickResponse, Admin, System;
            Revoke, revoke(AdminDeviceRequest) -> RevokeResponse, Admin, System;
            ExplainMessage, explain_message(ExplainMessageRequest) -> ExplainMessageResponse, Admin, System;
            CreateApiKey, create_api_key(CreateApiKeyRequest) -> CreateApiKeyResponse, Admin, System;
            ListApiKeys, list_api_keys(ListApiKeysRequest) -> ListApiKeysResponse, Admin, System;
            RevokeApiKey, revoke_api_key(RevokeApiKeyRequest) -> RevokeApiKeyResponse, Admin, System;
        }
    };
}
pub(crate) use for_each_method;

macro_rules! method_enum {
    ($($name:ident, $call:ident($request:ident) -> $response:ident, $scope:ident, $callers:ident;)*) => {
        /// A method of the service.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Method {
            $(
                #[doc = concat!("`", stringify!($name), "` of the contract.")]
                $name,
            )*
        }

        impl Method {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in the contract.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// Who may call it.
            pub const fn access(self) -> Access {
                match self {
                    $(Self::$name => Access { scope: Scope::$scope, callers: Callers::$callers },)*
                }
            }
        }
    };
}
for_each_method!(method_enum);

impl Method {
    /// The method of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_has_every_method_of_the_contract_and_no_other() {
        let service = flare_proto::descriptor_pool()
            .get_service_by_name(SERVICE)
            .expect("in the contract");
        let contract: BTreeSet<String> = service.methods().map(|it| it.name().to_owned()).collect();
        let table: BTreeSet<String> = Method::ALL.iter().map(|it| it.name().to_owned()).collect();
        assert_eq!(table, contract);
        assert_eq!(table.len(), Method::ALL.len(), "a method stands twice");
        assert!(
            Method::ALL
                .iter()
                .all(|it| Method::named(it.name()) == Some(*it))
        );
    }
}
