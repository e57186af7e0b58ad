//! What readers are answered, over gRPC in this process, from the embedded store.
#![expect(clippy::unwrap_used, reason = "tests")]

mod ground;
mod heads;
mod history;
mod locate;
mod recalled;
mod snapshot;
mod sync;
mod talk;
