//! What comes in.

pub mod grpc;
