//! The roles that a process may take.

use std::{fmt, str::FromStr};

use flare_server_core::registry::service;

/// One service of the house, run by this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Applies the log to the message store.
    StorageWriter,
    /// Answers reads of conversations.
    StorageReader,
    /// Who is connected where; revocations.
    SignalingOnline,
    /// Who owns which partition, where services answer, which gateways a conversation interests.
    SignalingRoute,
    /// Owns conversations: authorises, orders, appends.
    MessageOrchestrator,
    /// Conversations, members, inboxes.
    Session,
    /// Delivers events and signals to gateways.
    PushServer,
    /// Holds clients' connections.
    AccessGateway,
    /// gRPC and HTTP for business backends.
    CoreGateway,
}

impl Role {
    /// Every role, in the order in which one process builds them: what must have caught up comes first.
    pub const ALL: [Self; 9] = [
        Self::StorageWriter,
        Self::StorageReader,
        Self::SignalingOnline,
        Self::SignalingRoute,
        Self::MessageOrchestrator,
        Self::Session,
        Self::PushServer,
        Self::AccessGateway,
        Self::CoreGateway,
    ];

    /// The service's name, as in its crate, its configuration file and the registry.
    pub const fn service(self) -> &'static str {
        match self {
            Self::StorageWriter => service::STORAGE_WRITER,
            Self::StorageReader => service::STORAGE_READER,
            Self::SignalingOnline => service::ONLINE,
            Self::SignalingRoute => service::ROUTE,
            Self::MessageOrchestrator => service::ORCHESTRATOR,
            Self::Session => service::SESSION,
            Self::PushServer => service::PUSH_SERVER,
            Self::AccessGateway => service::ACCESS_GATEWAY,
            Self::CoreGateway => service::CORE_GATEWAY,
        }
    }

    /// The name on the command line: the service's without `flare-`.
    pub fn name(self) -> &'static str {
        self.service()
            .strip_prefix("flare-")
            .unwrap_or(self.service())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No role of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no role {given:?}: there are {}", Role::ALL.map(Role::name).join(", "))]
pub struct UnknownRole {
    given: String,
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let name = given.strip_prefix("flare-").unwrap_or(given);
        Self::ALL
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or_else(|| UnknownRole {
                given: given.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_role_for_each_service_in_the_order_of_their_building() {
        assert_eq!(Role::ALL.map(Role::service), service::ALL.map(|it| it.name));
    }

    #[test]
    fn a_role_is_found_by_either_of_its_names() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
            assert_eq!(role.service().parse(), Ok(role));
        }
        let unknown = "storage".parse::<Role>().expect_err("no such role");
        assert!(unknown.to_string().contains("storage-writer"), "{unknown}");
    }
}
