//! Adapters: API keys in SQLite or PostgreSQL, revocations by gRPC.

pub mod grpc_revocations;
#[cfg(feature = "cluster")]
pub mod postgres_api_key_store;
pub mod sqlite_api_key_store;
