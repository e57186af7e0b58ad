//! How stores are held against their ports' contracts.

use std::pin::Pin;

/// What a check found wrong.
pub(crate) type Outcome = Result<(), String>;

/// An obligation: its name, and what checks it on a store with a flaw or none.
pub(crate) type Obligation<Flaw> = (
    &'static str,
    fn(Option<Flaw>) -> Pin<Box<dyn Future<Output = Outcome> + Send>>,
);

/// An error unless both are equal.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, ought: T) -> Outcome {
    if is == ought {
        Ok(())
    } else {
        Err(format!("{what}: is {is:?}, ought to be {ought:?}"))
    }
}

/// The names of those that are not met.
pub(crate) async fn violated<Flaw: Copy>(
    obligations: &[Obligation<Flaw>],
    flaw: Option<Flaw>,
) -> Vec<&'static str> {
    let mut violated = Vec::new();
    for (name, check) in obligations {
        if check(flaw).await.is_err() {
            violated.push(*name);
        }
    }
    violated
}
