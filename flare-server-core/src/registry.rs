//! Where services answer: a port, and its adapters: the configuration, DNS, etcd.

pub mod contract;
#[cfg(feature = "cluster")]
mod dns_registry;
#[cfg(feature = "cluster")]
mod etcd_registry;
#[cfg(feature = "cluster")]
mod etcd_table;
mod registration;
pub mod service;
mod static_registry;

use tokio::sync::watch;

#[cfg(feature = "cluster")]
pub use dns_registry::{DnsRegistry, Resolve, SystemResolver};
#[cfg(feature = "cluster")]
pub use etcd_registry::EtcdRegistry;
pub use registration::{Health, Registrant, Registration, Unrecorded};
pub use static_registry::StaticRegistry;

/// Finds the processes that run a service, and lets this one be found.
///
/// Obligations:
/// - **Known.** The receiver holds the endpoints that are known at the call, possibly none, and soon all that serve; an endpoint is a URI
///   such as `http://127.0.0.1:50055`. Those of one service alone.
/// - **Told.** It changes when they change.
/// - **Only who serves.** A registered process is found from when it says that it serves until it says that it drains, or is gone.
/// - **Crashed ones go.** A process that ends without a word is found no more when its lease has ended.
/// - **An outage takes nothing away.** While the registry does not answer, and when it has come back empty, the endpoints stay as they are;
///   registrations are made again, and what changed meanwhile is told.
///
/// An adapter whose entries others write keeps what can be kept of it: it registers nobody.
pub trait Registry: Send + Sync + 'static {
    /// The endpoints of `service`, kept current.
    fn endpoints(&self, service: &str) -> watch::Receiver<Vec<String>>;

    /// Enters this process, which answers as `services` at `endpoint`. Nobody finds it before it says that it serves.
    fn register(&self, services: &[&str], endpoint: &str) -> Registration {
        let _ = (services, endpoint);
        Registration::unheard()
    }
}
