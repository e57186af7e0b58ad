//! Which tokens are dead.

/// A user's device, or with an empty device id the user as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceKey {
    /// The tenant.
    pub tenant: String,
    /// The user.
    pub user: String,
    /// The device; empty: all of the user's.
    pub device: String,
}

impl DeviceKey {
    /// The same user, as a whole.
    #[must_use]
    pub fn whole_user(&self) -> Self {
        Self {
            device: String::new(),
            ..self.clone()
        }
    }
}
