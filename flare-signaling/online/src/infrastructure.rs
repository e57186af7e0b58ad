//! Adapters: presence in memory, revocations in SQLite, gateways by gRPC.

pub mod grpc_gateways;
pub mod memory_presence_store;
pub mod sqlite_revocation_store;
