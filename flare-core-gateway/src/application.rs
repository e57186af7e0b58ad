//! What the service decides itself: who the caller is, how much he may ask, and which API keys there are.

pub mod api_keys;
pub mod credentials;
pub mod ports;
pub mod rate_limits;
