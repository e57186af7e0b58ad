//! The stores keep their ports' contracts; a store that breaks one obligation fails the test of that one only.
#![expect(clippy::unwrap_used, reason = "tests")]

mod obligations;
mod place;
mod presence;
mod revocations;

pub(crate) use obligations::{Obligation, Outcome, same, violated};
