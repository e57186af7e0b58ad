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
        Self { device: String::new(), ..self.clone() }
    }
}

/// Whether a token issued at `issued_s` is dead. Seconds are whole on both sides: one issued within the second of the revocation is dead, too.
pub fn is_dead(issued_s: i64, not_before_s: i64) -> bool {
    not_before_s > 0 && issued_s <= not_before_s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_the_second_of_its_revocation_is_dead() {
        assert!(is_dead(100, 100));
        assert!(is_dead(99, 100));
        assert!(!is_dead(101, 100));
        assert!(!is_dead(101, 0), "nothing was revoked");
    }
}
