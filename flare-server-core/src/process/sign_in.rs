//! Development sign-in: by a link, without proof.

use super::Addresses;

/// When anybody who reaches the page may sign in by a development link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DevelopmentSignIn {
    /// Never.
    Off,
    /// While every listener is loopback.
    OnLoopback,
    /// Always: asked for by `--dev`.
    On,
}

impl DevelopmentSignIn {
    /// Whether it exists in a process that listens on these addresses.
    pub fn exists(self, addresses: &Addresses) -> bool {
        match self {
            Self::Off => false,
            Self::OnLoopback => !addresses.are_reachable_from_outside(),
            Self::On => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_without_proof_is_for_loopback_unless_it_is_asked_for() {
        let loopback = Addresses {
            core_gateway: "127.0.0.1:1".parse().ok(),
            ..Addresses::default()
        };
        let outside = Addresses {
            access_gateway: "0.0.0.0:1".parse().ok(),
            ..loopback.clone()
        };
        assert!(DevelopmentSignIn::OnLoopback.exists(&loopback));
        assert!(!DevelopmentSignIn::OnLoopback.exists(&outside));
        assert!(DevelopmentSignIn::On.exists(&outside));
        assert!(!DevelopmentSignIn::Off.exists(&loopback));
    }
}
