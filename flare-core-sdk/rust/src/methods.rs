//! What a client may call, with the types of request and answer.

use std::{fmt, marker::PhantomData};

use flare_proto::{session, signaling, storage};

/// A method of the contract that is open to clients.
pub struct Method<Request, Response> {
    name: &'static str,
    types: PhantomData<fn(Request) -> Response>,
}

impl<Request, Response> Method<Request, Response> {
    /// The method of this name ("flare.session.v1.SessionService/GetConversation"); the types are the caller's claim.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            types: PhantomData,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<Request, Response> fmt::Debug for Method<Request, Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $service:literal / $method:literal ($request:ty) -> $response:ty;)*) => {
        $(
            $(#[$doc])*
            pub const $name: Method<$request, $response> = Method::new(concat!($service, "/", $method));
        )*

        #[cfg(test)]
        const ALL: &[&str] = &[$($name.name()),*];
    };
}

methods! {
    /// Makes a group.
    CREATE_CONVERSATION = "flare.session.v1.SessionService" / "CreateConversation" (session::CreateConversationRequest) -> session::ConversationResponse;
    /// Changes a group's title.
    RENAME_CONVERSATION = "flare.session.v1.SessionService" / "RenameConversation" (session::RenameConversationRequest) -> session::ChangeResponse;
    /// Adds members.
    ADD_MEMBERS = "flare.session.v1.SessionService" / "AddMembers" (session::AddMembersRequest) -> session::ChangeResponse;
    /// Removes a member.
    REMOVE_MEMBER = "flare.session.v1.SessionService" / "RemoveMember" (session::RemoveMemberRequest) -> session::ChangeResponse;
    /// Leaves a group.
    LEAVE_CONVERSATION = "flare.session.v1.SessionService" / "LeaveConversation" (session::LeaveConversationRequest) -> session::ChangeResponse;
    /// Makes a member an admin, or an admin a member.
    SET_ROLE = "flare.session.v1.SessionService" / "SetRole" (session::SetRoleRequest) -> session::ChangeResponse;
    /// Makes another member the owner.
    TRANSFER_OWNERSHIP = "flare.session.v1.SessionService" / "TransferOwnership" (session::TransferOwnershipRequest) -> session::ChangeResponse;
    /// Ends a group.
    DISBAND_CONVERSATION = "flare.session.v1.SessionService" / "DisbandConversation" (session::DisbandConversationRequest) -> session::ChangeResponse;
    /// One conversation.
    GET_CONVERSATION = "flare.session.v1.SessionService" / "GetConversation" (session::GetConversationRequest) -> session::ConversationResponse;
    /// Its members, by pages.
    LIST_MEMBERS = "flare.session.v1.SessionService" / "ListMembers" (session::ListMembersRequest) -> session::ListMembersResponse;
    /// What changed for the user since a token. The client asks by itself, and tells of it in events.
    SYNC_INBOX = "flare.session.v1.SessionService" / "SyncInbox" (session::SyncInboxRequest) -> session::SyncInboxResponse;
    /// Moves the user's read position forward.
    MARK_READ = "flare.session.v1.SessionService" / "MarkRead" (session::MarkReadRequest) -> session::MarkReadResponse;
    /// How far each member has read and received.
    LIST_POSITIONS = "flare.session.v1.SessionService" / "ListPositions" (session::ListPositionsRequest) -> session::ListPositionsResponse;
    /// Mutes, pins, hides.
    UPDATE_SETTINGS = "flare.session.v1.SessionService" / "UpdateSettings" (session::UpdateSettingsRequest) -> session::UpdateSettingsResponse;
    /// Pages of messages.
    HISTORY = "flare.storage.v1.StorageReaderService" / "History" (storage::HistoryRequest) -> storage::HistoryResponse;
    /// The head and the last messages.
    SNAPSHOT = "flare.storage.v1.StorageReaderService" / "Snapshot" (storage::SnapshotRequest) -> storage::SnapshotResponse;
    /// Who of some users is online.
    GET_PRESENCE = "flare.signaling.v1.SignalingService" / "GetPresence" (signaling::GetPresenceRequest) -> signaling::GetPresenceResponse;
    /// The user's connected devices.
    LIST_DEVICES = "flare.signaling.v1.SignalingService" / "ListDevices" (signaling::ListDevicesRequest) -> signaling::ListDevicesResponse;
    /// Signs out the user's devices: their tokens are dead.
    SIGN_OUT = "flare.signaling.v1.SignalingService" / "SignOut" (signaling::SignOutRequest) -> signaling::SignOutResponse;
}

/// The full names of a method's request and answer; `None` if it is not open to clients.
pub(crate) fn types_of(name: &str) -> Option<(String, String)> {
    if !flare_proto::is_client_callable(name) {
        return None;
    }
    let (service, method) = name.split_once('/')?;
    let service = flare_proto::descriptor_pool().get_service_by_name(service)?;
    let method = service.methods().find(|it| it.name() == method)?;
    let full = |name: &str| name.to_owned();
    Some((
        full(method.input().full_name()),
        full(method.output().full_name()),
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_method_that_the_contract_opens_to_clients_is_here() {
        let open: BTreeSet<String> = flare_proto::descriptor_pool()
            .services()
            .flat_map(|service| {
                service
                    .methods()
                    .map(|method| format!("{}/{}", service.full_name(), method.name()))
                    .collect::<Vec<_>>()
            })
            .filter(|it| flare_proto::is_client_callable(it))
            .collect();
        let here: BTreeSet<String> = ALL.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(here, open);
    }
}
