//! Adapters: API keys in SQLite, revocations by gRPC.

pub mod grpc_revocations;
pub mod sqlite_api_key_store;
