//! Inbound: gRPC, HTTP/JSON and the page, on one listener.
//!
//! [`method`] is the table of what there is; [`calls`] does it, mostly by asking the inner services with a context made here; [`grpc`] and
//! [`http`] are the two ways in.

pub mod activity;
pub mod admission;
pub mod body;
pub mod calls;
pub mod client_link;
pub mod grpc;
pub mod http;
pub mod listener;
pub mod method;
pub mod observe;
