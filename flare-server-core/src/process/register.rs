//! How this process finds the others, and is found by them.

use std::sync::Arc;

use super::{BaseConfig, RegistryKind};
use crate::{
    registry::{Registry, StaticRegistry},
    service::ServiceError,
};

/// The registry that the configuration names.
pub(super) fn open(config: &BaseConfig) -> Result<Arc<dyn Registry>, ServiceError> {
    let services = config.registry.services.clone();
    match config.registry.kind {
        RegistryKind::Static => Ok(Arc::new(StaticRegistry::new(services))),
        #[cfg(feature = "cluster")]
        RegistryKind::Dns => {
            use crate::registry::{DnsRegistry, SystemResolver};
            let names = services.into_iter();
            let names =
                names.filter_map(|(service, names)| Some((service, names.into_iter().next()?)));
            let every = std::time::Duration::from_millis(config.registry.dns_ms);
            Ok(Arc::new(DnsRegistry::new(
                names.collect(),
                every,
                SystemResolver,
            )))
        }
        #[cfg(feature = "cluster")]
        RegistryKind::Etcd => Ok(Arc::new(crate::registry::EtcdRegistry::open(&config.etcd)?)),
        #[cfg(not(feature = "cluster"))]
        RegistryKind::Dns | RegistryKind::Etcd => Err(crate::servers::NotBuilt.into()),
    }
}
