//! In whose name a request comes.

use std::sync::Arc;

use flare_server_core::telemetry::TraceId;

/// Who asks, and in which tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant; a caller sees nothing outside it.
    pub tenant: Arc<str>,
    /// Who in the tenant.
    pub actor: Actor,
    /// The trace of the request.
    pub trace_id: Option<TraceId>,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user, by his own token or by an API key that acts as him: his membership and role decide.
    User {
        /// The user.
        id: Arc<str>,
        /// The device that he uses; empty: none.
        device: Arc<str>,
    },
    /// The tenant's business backend, or a service of the core: may do anything in the tenant.
    System,
}

impl Actor {
    /// The acting user; None: the system.
    pub fn user(&self) -> Option<&Arc<str>> {
        match self {
            Self::User { id, .. } => Some(id),
            Self::System => None,
        }
    }

    /// The acting user's id as events name it; empty: the system.
    pub fn sender(&self) -> Arc<str> {
        self.user().cloned().unwrap_or_else(|| Arc::from(""))
    }
}

/// A user of a tenant. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserKey {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The user's id, unique in the tenant.
    pub user: Arc<str>,
}

impl UserKey {
    /// Names a user.
    pub fn new(tenant: impl Into<Arc<str>>, user: impl Into<Arc<str>>) -> Self {
        Self {
            tenant: tenant.into(),
            user: user.into(),
        }
    }
}
