use std::collections::BTreeMap;

use tokio::sync::watch;

use super::Registry;

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
    use crate::registry::service;

    #[test]
    fn a_service_that_the_configuration_does_not_name_is_nowhere() {
        let endpoint = "http://127.0.0.1:50055".to_owned();
        let registry =
            StaticRegistry::new([(service::SESSION.to_owned(), vec![endpoint.clone()])].into());
        assert_eq!(*registry.endpoints(service::SESSION).borrow(), [endpoint]);
        assert!(registry.endpoints(service::ONLINE).borrow().is_empty());
    }
}
