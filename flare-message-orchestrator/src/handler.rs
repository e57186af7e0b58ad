//! gRPC in, domain inside: the only place that knows both.

mod content;
mod convert;
mod grpc;

pub use content::Contents;
#[doc(hidden)]
pub use convert::command;
pub use grpc::OrchestratorHandler;
