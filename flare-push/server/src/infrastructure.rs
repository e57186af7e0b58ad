//! Adapters: presence, rosters and gateways by gRPC.

pub mod grpc_gateways;
pub mod grpc_interest;
pub mod grpc_presence;
pub mod grpc_roster_source;
