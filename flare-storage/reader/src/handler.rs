//! Inbound: gRPC.

pub mod grpc;
