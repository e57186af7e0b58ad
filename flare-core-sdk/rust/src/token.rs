//! Where a client's tokens come from.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

/// A token, or why there is none, some time later.
pub type TokenFuture = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Gives tokens, asking the business's own sign-in for new ones.
pub trait TokenProvider: Send + Sync + 'static {
    /// A token that is good for a while. `refused`: the server did not take the last one, or it is about to expire, so an answer from a cache is of no use.
    ///
    /// # Errors
    /// Why there is none just now, for people. It is asked again with the next attempt to connect.
    fn token(&self, refused: bool) -> TokenFuture;
}

/// How a client comes by its token.
#[derive(Clone)]
pub enum TokenSource {
    /// This one, until [`crate::Client::refresh`] brings another. If the server refuses it, the client ends.
    Fixed(String),
    /// Asked before each attempt to connect, and before the token expires.
    Provider(Arc<dyn TokenProvider>),
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Provider(_) => "Provider",
        })
    }
}

impl From<String> for TokenSource {
    fn from(token: String) -> Self {
        Self::Fixed(token)
    }
}

impl From<&str> for TokenSource {
    fn from(token: &str) -> Self {
        Self::Fixed(token.to_owned())
    }
}
