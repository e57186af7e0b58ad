//! Adapters: visibility from flare-session, places in the log from flare-storage-writer.

pub mod grpc_log_places;
pub mod grpc_visibility;
