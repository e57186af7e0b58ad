//! The client link's server side: one task a connection.

use std::sync::Arc;

use flare_core::{
    check,
    heartbeat::HeartbeatRange,
    pending::LaneIds,
    transport::{
        Transport, TransportExt, close_code,
        websocket::{AcceptOptions, OriginRule},
    },
};
use flare_proto::client::{Kicked, Limits};
use flare_server_core::{
    clock::{Clock, IdSource},
    identity::TokenValidator,
    shutdown::Shutdown,
    telemetry::Spans,
};
use tokio::time::{Duration, timeout};

use crate::{
    application::{
        connection::Close, connections::Connections, large::LargeConversations, ports::Services,
        positions::PositionGatherer, registrar::RegistrarHandle, signals::SignalsHandle,
        submitter::SubmitterHandle,
    },
    config::AccessGatewayConfig,
};

mod commands;
mod connect;
mod context;
pub mod frames;
mod pace;
mod requests;
mod session;
mod told_call;

pub use connect::connect;
#[doc(hidden)]
pub use context::with_context;
pub use session::Session;

/// The last frames of a connection are given up after this.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// What every connection's task uses.
pub struct Link {
    /// Limits and deadlines.
    pub config: AccessGatewayConfig,
    /// Whom others find.
    pub connections: Arc<Connections>,
    /// Who gets what of large conversations.
    pub large: Arc<LargeConversations>,
    /// The way to presence.
    pub registrar: RegistrarHandle,
    /// The way to the orchestrator.
    pub submitter: SubmitterHandle,
    /// The way to stored positions.
    pub positions: Arc<PositionGatherer>,
    /// The way to the other participants.
    pub signals: SignalsHandle,
    /// Calls of other services.
    pub services: Arc<dyn Services>,
    /// Tells whose a token is.
    pub validator: Arc<dyn TokenValidator>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Trace and request ids.
    pub ids: Arc<IdSource>,
    /// Numbers lanes.
    pub lane_ids: Arc<LaneIds>,
    /// Spans of sampled traces.
    pub spans: Spans,
    /// When to drain.
    pub shutdown: Shutdown,
}

impl Link {
    /// What a handshake may be.
    pub fn accept_options(&self) -> AcceptOptions {
        let listed = &self.config.allowed_origins;
        let any = listed.iter().any(|it| it == "*");
        AcceptOptions {
            max_frame_bytes: self.config.max_frame_bytes,
            origins: if any {
                OriginRule::Any
            } else {
                OriginRule::Listed(listed.clone())
            },
        }
    }

    /// When a client is to reconnect that is seen off: each at another moment.
    pub fn reconnect_after_ms(&self) -> u32 {
        let spread = u64::from(self.config.reconnect_spread_ms) + 1;
        u32::try_from(self.ids.random_u64() % spread).unwrap_or_default()
    }

    fn check_limits(&self) -> check::Limits {
        check::Limits {
            max_content_bytes: self.config.max_content_bytes,
            max_mentions: self.config.max_mentions,
            ..check::Limits::default()
        }
    }

    fn told_limits(&self) -> Limits {
        let told = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        Limits {
            max_frame_bytes: told(self.config.max_frame_bytes),
            max_content_bytes: told(self.config.max_content_bytes),
            max_unacked_sends: told(self.config.max_unacked_sends),
            max_mentions: told(self.config.max_mentions),
            max_page_size: self.check_limits().max_page_size,
        }
    }

    fn heartbeats(&self) -> HeartbeatRange {
        HeartbeatRange {
            min_ms: self.config.min_heartbeat_ms,
            max_ms: self.config.max_heartbeat_ms,
            default_ms: self.config.default_heartbeat_ms,
        }
    }
}

/// Ends a connection with its reason, in a frame and in the transport's own way.
pub async fn close(socket: &mut impl Transport, codec: flare_core::codec::Codec, close: &Close) {
    metrics::counter!("flare_access_gateway_closes_total", "reason" => close.reason.as_str_name())
        .increment(1);
    let kicked = Kicked {
        reason: close.reason.into(),
        message: close.message.clone(),
    };
    let payload = frames::encode(codec, &frames::ServerFrame::Kicked(kicked));
    // A peer that does not read is closed all the same.
    let _ = timeout(LAST_FRAMES, socket.send(payload)).await;
    socket.close(close_code(close.reason), &close.message).await;
}
