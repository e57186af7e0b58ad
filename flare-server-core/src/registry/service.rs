//! The services of the house, by the names under which they register.

use crate::servers::Server;

/// flare-access-gateway, inner side.
pub const ACCESS_GATEWAY: &str = "flare-access-gateway";
/// flare-core-gateway. Nobody of the house calls it.
pub const CORE_GATEWAY: &str = "flare-core-gateway";
/// flare-signaling-online.
pub const ONLINE: &str = "flare-signaling-online";
/// flare-signaling-route.
pub const ROUTE: &str = "flare-signaling-route";
/// flare-message-orchestrator.
pub const ORCHESTRATOR: &str = "flare-message-orchestrator";
/// flare-storage-writer.
pub const STORAGE_WRITER: &str = "flare-storage-writer";
/// flare-storage-reader.
pub const STORAGE_READER: &str = "flare-storage-reader";
/// flare-session.
pub const SESSION: &str = "flare-session";
/// flare-push-server.
pub const PUSH_SERVER: &str = "flare-push-server";

/// What the others know of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name: of its crate, its binary, its configuration file, and in the registry.
    pub name: &'static str,
    /// Its section of the configuration.
    pub section: &'static str,
    /// Where its own binary answers the others, unless something else is configured; None: nobody of the house calls it.
    pub peer_port: Option<u16>,
    /// Where its own binary shows health and metrics, unless something else is configured.
    pub ops_port: u16,
    /// The services that it calls: without them it cannot do its work.
    pub needs: &'static [&'static str],
    /// What it stands on in a cluster.
    pub servers: &'static [Server],
}

/// Every service, in the order in which one process builds them: what must have caught up comes first.
pub const ALL: [Known; 9] = [
    Known {
        name: STORAGE_WRITER,
        section: "storage_writer",
        peer_port: Some(50062),
        ops_port: 60062,
        needs: &[],
        servers: &[Server::Kafka, Server::Postgres],
    },
    Known {
        name: STORAGE_READER,
        section: "storage_reader",
        peer_port: Some(50054),
        ops_port: 60054,
        needs: &[STORAGE_WRITER, SESSION],
        servers: &[Server::Postgres],
    },
    // Told by the gateways where they answer.
    Known {
        name: ONLINE,
        section: "signaling_online",
        peer_port: Some(50051),
        ops_port: 60051,
        needs: &[],
        servers: &[Server::Postgres, Server::Redis],
    },
    // Told by the orchestrators what they own.
    Known {
        name: ROUTE,
        section: "signaling_route",
        peer_port: Some(50052),
        ops_port: 60052,
        needs: &[],
        servers: &[],
    },
    Known {
        name: ORCHESTRATOR,
        section: "message_orchestrator",
        peer_port: Some(50053),
        ops_port: 60053,
        needs: &[ROUTE, SESSION],
        servers: &[Server::Kafka, Server::Postgres],
    },
    Known {
        name: SESSION,
        section: "session",
        peer_port: Some(50055),
        ops_port: 60055,
        needs: &[STORAGE_READER, ROUTE, ORCHESTRATOR, PUSH_SERVER],
        servers: &[Server::Kafka, Server::Postgres],
    },
    Known {
        name: PUSH_SERVER,
        section: "push_server",
        peer_port: Some(50057),
        ops_port: 60057,
        needs: &[STORAGE_READER, ONLINE, ROUTE, SESSION],
        servers: &[Server::Kafka],
    },
    Known {
        name: ACCESS_GATEWAY,
        section: "access_gateway",
        peer_port: Some(50063),
        ops_port: 18081,
        needs: &[
            STORAGE_READER,
            ONLINE,
            ROUTE,
            ORCHESTRATOR,
            SESSION,
            PUSH_SERVER,
        ],
        servers: &[],
    },
    Known {
        name: CORE_GATEWAY,
        section: "core_gateway",
        peer_port: None,
        ops_port: 18080,
        needs: &[STORAGE_READER, ONLINE, ROUTE, ORCHESTRATOR, SESSION],
        servers: &[Server::Postgres],
    },
];

impl Known {
    /// What its own binary stands for, above the defaults.
    pub(crate) fn preset(&self) -> String {
        let peer = self.peer_port.map_or_else(String::new, |port| {
            format!("\n[peer]\nlisten = \"127.0.0.1:{port}\"\n")
        });
        format!(
            "[process]\nadapters = \"cluster\"\nops_listen = \"127.0.0.1:{}\"\n{peer}\n[registry]\nkind = \"etcd\"\n",
            self.ops_port
        )
    }
}

/// The service of that name.
pub fn known(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|it| it.name == name)
}
