//! What an API key may do.

use std::{fmt, str::FromStr};

/// One permission of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Send and recall messages.
    Send,
    /// Make, change and look at conversations and their members.
    Conversations,
    /// Read messages, inboxes and positions, and mark as read.
    Read,
    /// See who is online, and on which devices.
    Presence,
    /// Administration: kick, revoke, explain, API keys.
    Admin,
}

/// No scope has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no scope is named {name:?}: take of send, conversations, read, presence, admin")]
pub struct UnknownScope {
    /// The name, shortened if it is long.
    pub name: String,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Send,
        Self::Conversations,
        Self::Read,
        Self::Presence,
        Self::Admin,
    ];

    /// As it is written in requests, rows and refusals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Conversations => "conversations",
            Self::Read => "read",
            Self::Presence => "presence",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .into_iter()
            .find(|it| it.name() == name)
            .ok_or_else(|| UnknownScope {
                name: name.chars().take(40).collect(),
            })
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether `scope` is among them.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of the set, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |it| self.contains(*it))
    }

    /// The named scopes.
    ///
    /// # Errors
    /// Names the first that is unknown.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownScope> {
        names.into_iter().map(str::parse).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |set, it| set | 1 << it as u8))
    }
}

impl fmt::Display for Scopes {
    /// Names with one space between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_is_read_as_it_is_written() {
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
        }
        let all: Scopes = Scope::ALL.into_iter().collect();
        assert_eq!(Scopes::parse(all.to_string().split(' ')), Ok(all));
        assert_eq!(
            "Admin".parse::<Scope>(),
            Err(UnknownScope {
                name: "Admin".to_owned()
            })
        );
    }

    #[test]
    fn a_set_has_what_it_was_made_of_and_nothing_else() {
        let set: Scopes = [Scope::Read, Scope::Send, Scope::Read]
            .into_iter()
            .collect();
        assert_eq!(set.to_string(), "send read");
        assert!(set.contains(Scope::Send) && !set.contains(Scope::Admin));
        assert!(Scopes::default().is_empty() && !set.is_empty());
    }
}
