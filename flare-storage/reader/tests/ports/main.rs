//! The adapters keep their ports' contracts; an adapter that breaks one obligation fails that one only.

mod answering;
mod log_places;
mod visibility;

/// What a check found wrong.
pub(crate) type Outcome = Result<(), String>;

/// An error unless both are equal.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(is: T, ought: T) -> Outcome {
    if is == ought {
        Ok(())
    } else {
        Err(format!("is {is:?}, ought to be {ought:?}"))
    }
}

/// An adapter that breaks one obligation, or none.
pub(crate) struct Flawed<A, F> {
    pub(crate) inner: A,
    pub(crate) flaw: Option<F>,
}

/// Each flaw breaks the obligation in its own place of the outcomes, and no other.
pub(crate) async fn each_breaks_its_own<F: Copy + std::fmt::Debug, const N: usize>(
    flaws: [F; N],
    outcomes: impl AsyncFn(Option<F>) -> [Outcome; N],
) {
    for (place, flaw) in flaws.into_iter().enumerate() {
        let failed = outcomes(Some(flaw)).await.map(|it| it.is_err());
        assert_eq!(failed, std::array::from_fn(|it| it == place), "{flaw:?}");
    }
}
