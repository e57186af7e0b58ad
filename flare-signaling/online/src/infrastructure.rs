//! Adapters: presence in memory or in Redis, revocations in SQLite or PostgreSQL, gateways by gRPC.

pub mod grpc_gateways;
pub mod memory_last_seen_store;
pub mod memory_presence_store;
#[cfg(feature = "cluster")]
pub mod postgres_revocation_store;
#[cfg(feature = "cluster")]
pub mod redis_last_seen_store;
#[cfg(feature = "cluster")]
pub mod redis_presence_store;
pub mod sqlite_revocation_store;
