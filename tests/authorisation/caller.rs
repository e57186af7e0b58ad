//! Who asks.

/// A caller, by what he is to the conversation in question, or by what is wrong with his credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Owner,
    Admin,
    Member,
    Left,
    Removed,
    Stranger,
    OtherTenant,
    Nobody,
    Expired,
    Revoked,
    SignedOut,
    WrongDevice,
    Key,
    KeyForOwner,
    KeyForStranger,
    OtherTenantsKey,
    KeyWithoutScope,
    RevokedKey,
}

impl Caller {
    /// Those whose tokens are good: what they are to the conversation decides.
    pub(crate) const KNOWN: [Self; 7] = [
        Self::Owner,
        Self::Admin,
        Self::Member,
        Self::Left,
        Self::Removed,
        Self::Stranger,
        Self::OtherTenant,
    ];
    /// API keys with the scope.
    pub(crate) const KEYS: [Self; 4] = [
        Self::Key,
        Self::KeyForOwner,
        Self::KeyForStranger,
        Self::OtherTenantsKey,
    ];
    /// Those who do not prove who they are, or not by what they would need.
    pub(crate) const UNPROVED: [Self; 7] = [
        Self::Nobody,
        Self::Expired,
        Self::Revoked,
        Self::SignedOut,
        Self::WrongDevice,
        Self::KeyWithoutScope,
        Self::RevokedKey,
    ];

    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::KNOWN
            .into_iter()
            .chain(Self::KEYS)
            .chain(Self::UNPROVED)
    }

    /// As the page calls him.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Left => "left",
            Self::Removed => "removed",
            Self::Stranger => "stranger",
            Self::OtherTenant => "other tenant",
            Self::Nobody => "no credential",
            Self::Expired => "expired token",
            Self::Revoked => "revoked token",
            Self::SignedOut => "signed-out device",
            Self::WrongDevice => "wrong device",
            Self::Key => "key",
            Self::KeyForOwner => "key for the owner",
            Self::KeyForStranger => "key for a stranger",
            Self::OtherTenantsKey => "other tenant's key",
            Self::KeyWithoutScope => "key without the scope",
            Self::RevokedKey => "revoked key",
        }
    }

    /// Whether he comes with an API key.
    pub(crate) const fn has_key(self) -> bool {
        matches!(
            self,
            Self::Key
                | Self::KeyForOwner
                | Self::KeyForStranger
                | Self::OtherTenantsKey
                | Self::KeyWithoutScope
                | Self::RevokedKey
        )
    }
}
