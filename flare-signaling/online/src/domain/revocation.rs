//! Which tokens are dead.

use flare_server_core::identity::MAX_LIFE_S;

/// For so long a token that was issued before may be good: its life, and a day for whatever clocks are allowed to differ by. Seconds.
pub const KEPT_S: i64 = MAX_LIFE_S + 86_400;

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
