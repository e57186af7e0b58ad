//! Adapters: visibility from flare-session.

pub mod grpc_visibility;
