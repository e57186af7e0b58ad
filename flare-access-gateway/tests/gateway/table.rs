//! A gateway's table of connections with its registrar, and nothing else.

use std::sync::Arc;

use flare_access_gateway::{
    application::{
        connection::Connection,
        connections::Connections,
        large::LargeConversations,
        ports::{Presence, Registration},
        registrar::{Registrar, RegistrarHandle},
    },
    domain::{Identity, large::Bounds},
};
use flare_core::codec::Codec;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Table {
    pub(crate) connections: Arc<Connections>,
    pub(crate) connection: Arc<Connection>,
    /// Of the connection, as it comes.
    pub(crate) registration: Registration,
    pub(crate) registrar: RegistrarHandle,
    closed: CancellationToken,
    running: JoinHandle<()>,
}

impl Table {
    /// It stands in the table, and is not registered.
    pub(crate) fn with_one_connection(presence: Arc<dyn Presence>) -> Self {
        let connections = Arc::new(Connections::new("another".to_owned()));
        let identity = Identity {
            tenant: "default".into(),
            user: "alice".into(),
            device: "phone".into(),
        };
        let registration = Registration {
            identity: Arc::new(identity),
            platform: "test".into(),
            connection_id: connections.next_id(),
            connected_ms: 0,
            token_issued_s: 1_000,
            again: false,
        };
        let connection = Connection::new(&registration, 2_000, Codec::Proto, 1_000);
        connections.insert(&connection);
        let bounds = Bounds {
            places: 10,
            views: 1,
            hint_ms: 1_000,
        };
        let large = Arc::new(LargeConversations::new(bounds, Arc::clone(&connections)));
        let (registrar, registering) =
            Registrar::new(presence, Arc::clone(&connections), large, 10);
        let closed = CancellationToken::new();
        let running = tokio::spawn(registering.run(closed.clone()));
        Self {
            connections,
            connection,
            registration,
            registrar,
            closed,
            running,
        }
    }

    /// When all that it was asked for is done.
    pub(crate) async fn ends(self) {
        self.closed.cancel();
        self.running.await.expect("ends");
    }
}
