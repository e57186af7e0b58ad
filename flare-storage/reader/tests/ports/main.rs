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
