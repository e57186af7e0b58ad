//! The roles that a process may take.

use std::{fmt, str::FromStr};

/// One service of the house, run by this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Applies the log to the message store.
    StorageWriter,
    /// Answers reads of conversations.
    StorageReader,
    /// Who is connected where; revocations.
    SignalingOnline,
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
    pub const ALL: [Self; 8] = [
        Self::StorageWriter,
        Self::StorageReader,
        Self::SignalingOnline,
        Self::MessageOrchestrator,
        Self::Session,
        Self::PushServer,
        Self::AccessGateway,
        Self::CoreGateway,
    ];

    /// The service's name, as in its crate, its configuration file and the registry.
    pub const fn service(self) -> &'static str {
        match self {
            Self::StorageWriter => "flare-storage-writer",
            Self::StorageReader => "flare-storage-reader",
            Self::SignalingOnline => "flare-signaling-online",
            Self::MessageOrchestrator => "flare-message-orchestrator",
            Self::Session => "flare-session",
            Self::PushServer => "flare-push-server",
            Self::AccessGateway => "flare-access-gateway",
            Self::CoreGateway => "flare-core-gateway",
        }
    }

    /// The roles whose services this one calls, here or in another process: without them it cannot do its work.
    pub const fn needs(self) -> &'static [Self] {
        match self {
            // Signaling is told by the gateways where they answer.
            Self::StorageWriter | Self::SignalingOnline => &[],
            Self::StorageReader => &[Self::StorageWriter, Self::Session],
            Self::MessageOrchestrator => &[Self::Session],
            Self::Session => &[
                Self::StorageReader,
                Self::MessageOrchestrator,
                Self::PushServer,
            ],
            Self::PushServer => &[Self::StorageReader, Self::SignalingOnline, Self::Session],
            Self::AccessGateway => &[
                Self::StorageReader,
                Self::SignalingOnline,
                Self::MessageOrchestrator,
                Self::Session,
                Self::PushServer,
            ],
            Self::CoreGateway => &[
                Self::StorageReader,
                Self::SignalingOnline,
                Self::MessageOrchestrator,
                Self::Session,
            ],
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
    fn a_role_is_found_by_either_of_its_names() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
            assert_eq!(role.service().parse(), Ok(role));
        }
        let unknown = "storage".parse::<Role>().expect_err("no such role");
        assert!(unknown.to_string().contains("storage-writer"), "{unknown}");
    }
}
