//! Inbound: gRPC.

mod convert;
pub mod grpc;
