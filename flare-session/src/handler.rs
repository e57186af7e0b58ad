//! What comes in: gRPC calls and the stream of events. Conversion between the contract and the domain lives here.

mod convert;
pub mod events;
pub mod grpc;
