//! Who somebody is: users by their tokens, processes by the secret they share.

mod key_file;
mod local_jwt;
pub mod peer;
mod section;
mod token;

pub use key_file::{KeyFileError, open_or_make_key};
pub use local_jwt::{IdentityError, LOCAL_KEY_ID, LocalJwt, MintError};
pub use section::{IdentityConfig, TokenAlgorithm, TokenKeyConfig};
pub use token::{
    Claims, DEFAULT_TENANT, MAX_ISSUED_AHEAD_S, MAX_LIFE_S, MAX_TOKEN_BYTES, TokenError,
    TokenValidator, is_dead,
};
