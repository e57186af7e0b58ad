//! The gateway through its own listener, with the inner services behind it played by the test.

#![expect(
    clippy::expect_used,
    reason = "tests, their parts outside of test functions too"
)]

mod administration;
mod credentials;
mod document;
mod errors;
mod inner;
mod json;
mod keys;
mod limits;
mod messages;
mod owners;
mod page;
mod running;
mod scopes;
