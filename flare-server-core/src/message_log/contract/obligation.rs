use std::time::Duration;

use futures::future::BoxFuture;

/// An obligation that was not met.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

/// The verdict of one test.
pub type Verdict = Result<(), Violation>;

/// One obligation of a port, tested on a site of type `S`.
pub struct Obligation<S: ?Sized> {
    /// What is owed.
    pub name: &'static str,
    /// Tests it on a fresh site.
    pub check: fn(Box<S>) -> BoxFuture<'static, Verdict>,
}

/// How long a test may take until something that never comes counts as missing.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs all obligations, each on a site of its own, and returns those that are not met.
pub async fn violations<S: ?Sized>(
    obligations: &[Obligation<S>],
    mut site: impl FnMut() -> Box<S>,
) -> Vec<(&'static str, Violation)> {
    let mut violations = Vec::new();
    for obligation in obligations {
        let verdict = tokio::time::timeout(PATIENCE, (obligation.check)(site())).await;
        if let Err(violation) = verdict.unwrap_or_else(|_| fail("it never ended")) {
            violations.push((obligation.name, violation));
        }
    }
    violations
}

/// Lists functions as [`Obligation`]s.
#[doc(hidden)]
#[macro_export]
macro_rules! obligations {
    ($($check:ident),* $(,)?) => {
        vec![$($crate::message_log::contract::Obligation {
            name: stringify!($check),
            check: |site| Box::pin($check(site)),
        }),*]
    };
}

/// A verdict: not met.
pub fn fail<T>(what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(what.into()))
}

/// A verdict: met if `holds`.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { fail(otherwise()) }
}
