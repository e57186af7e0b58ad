//! Inbound: clients by WebSocket, services by gRPC.

pub mod grpc;
pub mod link;
mod member_change;
pub mod websocket;
