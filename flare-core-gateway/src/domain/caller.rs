//! Who asks, and what he may ask for.

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use ulid::Ulid;

use super::scope::{Scope, Scopes};

/// Names the user for whom an API key acts.
pub const ACTING_USER_HEADER: &str = "x-flare-user";

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant of his token or key.
    pub tenant: String,
    /// Who acts.
    pub actor: Actor,
    /// By what he proved it.
    pub proof: Proof,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user by his own token.
    User {
        /// His id.
        user: String,
        /// The device that the token is bound to, if it is.
        device: Option<String>,
    },
    /// A backend, for a user.
    ForUser {
        /// The user's id.
        user: String,
    },
    /// A backend, for the system.
    System,
}

/// By what a caller proved who he is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A user's token.
    Token,
    /// An API key.
    ApiKey {
        /// The key's id.
        id: Ulid,
        /// What it may do.
        scopes: Scopes,
    },
}

/// What a method asks of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The scope that an API key needs.
    pub scope: Scope,
    /// Who may call it at all.
    pub callers: Callers,
}

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Users, and backends for a user or for the system.
    Any,
    /// Users, and backends for a user: it is about what one user has.
    AsUser,
    /// Backends for the system: administration.
    System,
}

impl Caller {
    /// The user for whom is acted; None: the system.
    pub fn user(&self) -> Option<&str> {
        match &self.actor {
            Actor::User { user, .. } | Actor::ForUser { user } => Some(user),
            Actor::System => None,
        }
    }

    /// Whether he may call a method.
    ///
    /// # Errors
    /// `SCOPE_MISSING` names the scope; `PERMISSION_DENIED` where no user may; `INVALID_ARGUMENT` where a user has to be named, or must not be.
    pub fn may(&self, access: Access) -> Result<(), Refusal> {
        let scope = access.scope;
        match &self.proof {
            Proof::Token if access.callers == Callers::System => {
                let message = format!(
                    "not for users' tokens: call it with an API key that has the scope {scope}"
                );
                return Err(Refusal::new(ErrorCode::PermissionDenied, message));
            }
            Proof::ApiKey { id, scopes } if !scopes.contains(scope) => {
                let message = format!("API key {id} has no scope {scope}: it has {scopes}");
                return Err(Refusal::new(ErrorCode::ScopeMissing, message));
            }
            Proof::Token | Proof::ApiKey { .. } => {}
        }
        match (access.callers, self.user()) {
            // In a user's name it would be refused further in, for want of rights.
            (Callers::System, Some(_)) => Err(Refusal::invalid(
                ACTING_USER_HEADER,
                "administration is done by the key itself: name no user",
            )),
            (Callers::AsUser, None) => Err(Refusal::invalid(
                ACTING_USER_HEADER,
                "this is about one user's own: say for whom the key acts",
            )),
            _ => Ok(()),
        }
    }

    /// The caller as he sends: an API key that acts for nobody yet may name the sender.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for a sender that the caller is not.
    pub fn sending_as(&self, sender: &str) -> Result<Actor, Refusal> {
        match (&self.actor, self.user()) {
            (actor, _) if sender.is_empty() => Ok(actor.clone()),
            (actor, Some(user)) if user == sender => Ok(actor.clone()),
            (_, Some(user)) => Err(Refusal::new(
                ErrorCode::PermissionDenied,
                format!("{user:?} may not send as {:?}", shortened(sender)),
            )
            .with_field("sender_id")),
            (_, None) => {
                flare_proto::ids::check_user_id(sender)
                    .map_err(|error| Refusal::invalid("sender_id", error.to_string()))?;
                Ok(Actor::ForUser {
                    user: sender.to_owned(),
                })
            }
        }
    }
}

/// So much of a text as a message repeats.
pub fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> Caller {
        Caller {
            tenant: "default".to_owned(),
            actor: Actor::User {
                user: "alice".to_owned(),
                device: None,
            },
            proof: Proof::Token,
        }
    }

    fn key(scopes: &[Scope], actor: Actor) -> Caller {
        let proof = Proof::ApiKey {
            id: Ulid::from_parts(1, 1),
            scopes: scopes.iter().copied().collect(),
        };
        Caller {
            tenant: "default".to_owned(),
            actor,
            proof,
        }
    }

    #[test]
    fn a_key_needs_the_scope_and_the_refusal_names_it() {
        let access = Access {
            scope: Scope::Send,
            callers: Callers::Any,
        };
        assert_eq!(key(&[Scope::Send], Actor::System).may(access), Ok(()));
        let refusal = key(&[Scope::Read, Scope::Admin], Actor::System)
            .may(access)
            .expect_err("refused");
        assert_eq!(refusal.code, ErrorCode::ScopeMissing);
        assert!(refusal.message.contains("scope send"), "{refusal}");
        assert_eq!(user().may(access), Ok(()));
    }

    #[test]
    fn administration_is_for_keys_that_act_for_themselves() {
        let access = Access {
            scope: Scope::Admin,
            callers: Callers::System,
        };
        assert_eq!(
            user().may(access).expect_err("refused").code,
            ErrorCode::PermissionDenied
        );
        assert_eq!(key(&[Scope::Admin], Actor::System).may(access), Ok(()));
        let for_user = key(
            &[Scope::Admin],
            Actor::ForUser {
                user: "bob".to_owned(),
            },
        );
        assert_eq!(
            for_user.may(access).expect_err("refused").field,
            ACTING_USER_HEADER
        );
    }

    #[test]
    fn what_is_one_user_s_own_needs_a_user() {
        let access = Access {
            scope: Scope::Read,
            callers: Callers::AsUser,
        };
        assert_eq!(user().may(access), Ok(()));
        assert_eq!(
            key(
                &[Scope::Read],
                Actor::ForUser {
                    user: "bob".to_owned()
                }
            )
            .may(access),
            Ok(())
        );
        let refusal = key(&[Scope::Read], Actor::System)
            .may(access)
            .expect_err("refused");
        assert_eq!(
            (refusal.code, &*refusal.field),
            (ErrorCode::InvalidArgument, ACTING_USER_HEADER)
        );
    }

    #[test]
    fn a_sender_is_the_token_s_and_a_key_s_to_choose_unless_it_acts_for_one() {
        assert_eq!(user().sending_as(""), Ok(user().actor));
        assert_eq!(user().sending_as("alice"), Ok(user().actor));
        let refusal = user().sending_as("bob").expect_err("refused");
        assert_eq!(
            (refusal.code, &*refusal.field),
            (ErrorCode::PermissionDenied, "sender_id")
        );

        let system = key(&[Scope::Send], Actor::System);
        let bob = Actor::ForUser {
            user: "bob".to_owned(),
        };
        assert_eq!(system.sending_as(""), Ok(Actor::System));
        assert_eq!(system.sending_as("bob"), Ok(bob.clone()));
        assert_eq!(
            system.sending_as("b/b").expect_err("refused").code,
            ErrorCode::InvalidArgument
        );
        let refusal = key(&[Scope::Send], bob)
            .sending_as("carol")
            .expect_err("refused");
        assert_eq!(refusal.code, ErrorCode::PermissionDenied);
    }
}
