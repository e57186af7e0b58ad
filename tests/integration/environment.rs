//! What the environment tells of the servers of the tests.

use anyhow::Context;

/// The value of a variable that `cargo xtask infra up` has written down.
#[expect(
    clippy::disallowed_methods,
    reason = "where the servers are is no setting of a test"
)]
pub(crate) fn named(variable: &str) -> anyhow::Result<String> {
    std::env::var(variable).with_context(|| {
        format!("{variable} is not set: `cargo xtask infra up` starts the servers of a cluster and says how to set it")
    })
}
