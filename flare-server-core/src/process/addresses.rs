//! Where a process answers.

use std::net::SocketAddr;

/// Where a started process answers.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Addresses {
    /// WebSocket connections of clients.
    pub access_gateway: Option<SocketAddr>,
    /// HTTP, gRPC and the page.
    pub core_gateway: Option<SocketAddr>,
    /// gRPC between processes.
    pub peer: Option<SocketAddr>,
    /// Health and metrics.
    pub ops: Option<SocketAddr>,
    /// Whether clients and business backends are encrypted: wss and https.
    pub tls: bool,
    /// Whether gRPC between processes is.
    pub peer_tls: bool,
    /// Where other processes reach `peer`, as host:port; None: there.
    pub advertise: Option<String>,
}

impl Addresses {
    /// Whether anybody on another machine reaches the process.
    pub fn are_reachable_from_outside(&self) -> bool {
        let all = [self.access_gateway, self.core_gateway, self.peer, self.ops];
        all.into_iter()
            .flatten()
            .any(|address| !address.ip().is_loopback())
    }

    /// As other processes reach this one.
    pub fn peer_endpoint(&self) -> Option<String> {
        let scheme = if self.peer_tls { "https" } else { "http" };
        let at = self.peer?.to_string();
        Some(format!(
            "{scheme}://{}",
            self.advertise.as_ref().unwrap_or(&at)
        ))
    }

    /// Where browsers and business backends reach this process.
    pub fn api_url(&self) -> Option<String> {
        let scheme = if self.tls { "https" } else { "http" };
        self.core_gateway.map(|it| format!("{scheme}://{it}"))
    }

    /// Where clients connect.
    pub fn websocket_url(&self) -> Option<String> {
        let scheme = if self.tls { "wss" } else { "ws" };
        self.access_gateway.map(|it| format!("{scheme}://{it}/ws"))
    }
}
