//! Inbound: clients by WebSocket, services by gRPC.

pub mod grpc;
pub mod link;
pub mod websocket;
