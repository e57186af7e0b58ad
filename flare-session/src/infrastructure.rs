//! Adapters of the ports.

pub mod bus_stream_progress;
pub mod cached_rosters;
mod change_codec;
pub mod grpc_orchestrator;
pub mod grpc_signal_sink;
pub mod grpc_storage_reader;
pub mod sqlite;
pub mod sqlite_conversations;
pub mod sqlite_inbox;
pub mod sqlite_positions;
pub mod sqlite_rosters;
mod sqlite_settlement;
mod sqlite_stream;
