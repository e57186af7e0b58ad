//! Where services answer: a port, and its adapter for addresses that stand in the configuration.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// The services of the contract, by the names under which they register.
pub mod service {
    /// flare-access-gateway, inner side.
    pub const ACCESS_GATEWAY: &str = "flare-access-gateway";
    /// flare-signaling-online.
    pub const ONLINE: &str = "flare-signaling-online";
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
}

/// Finds the processes that run a service.
///
/// Obligations: the receiver holds the endpoints known at the call, possibly none; it changes when they change; an endpoint is a URI such as
/// `http://127.0.0.1:50055`.
pub trait Registry: Send + Sync + 'static {
    /// The endpoints of `service`, kept current.
    fn endpoints(&self, service: &str) -> watch::Receiver<Vec<String>>;
}

/// Endpoints from the configuration; they never change.
#[derive(Debug, Default)]
pub struct StaticRegistry {
    services: BTreeMap<String, watch::Sender<Vec<String>>>,
    nowhere: watch::Sender<Vec<String>>,
}

impl StaticRegistry {
    /// Takes service names with their endpoints.
    pub fn new(services: BTreeMap<String, Vec<String>>) -> Self {
        Self {
            services: services
                .into_iter()
                .map(|(name, endpoints)| (name, watch::Sender::new(endpoints)))
                .collect(),
            nowhere: watch::Sender::default(),
        }
    }
}

impl Registry for StaticRegistry {
    fn endpoints(&self, service: &str) -> watch::Receiver<Vec<String>> {
        self.services
            .get(service)
            .unwrap_or(&self.nowhere)
            .subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_the_configuration_does_not_name_is_nowhere() {
        let endpoint = "http://127.0.0.1:50055".to_owned();
        let registry =
            StaticRegistry::new([(service::SESSION.to_owned(), vec![endpoint.clone()])].into());
        assert_eq!(*registry.endpoints(service::SESSION).borrow(), [endpoint]);
        assert!(registry.endpoints(service::ONLINE).borrow().is_empty());
    }
}
