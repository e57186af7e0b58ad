//! Inbound: the stream of events, and signals by gRPC.

pub mod events;
pub mod grpc;
