//! The cases, by the page's groups.

mod api;
mod connections;
mod messages;
mod one_connection;
mod reading;
mod retention;
mod server;
mod signals;

use crate::case::Case;

/// Metrics, as the page names them.
mod metric {
    pub(super) const API: &str = "flare_core_gateway_requests_total";
    pub(super) const API_RATES: &str = "flare_core_gateway_rate_limited_total";
    pub(super) const CLOSES: &str = "flare_access_gateway_closes_total";
    pub(super) const HANDSHAKES: &str = "flare_access_gateway_handshakes_refused_total";
    pub(super) const LINK: &str = "flare_access_gateway_refusals_total";
    pub(super) const ORCHESTRATOR: &str = "flare_orchestrator_refusals_total";
    pub(super) const OVERFLOWS: &str = "flare_access_gateway_outbound_overflows_total";
    pub(super) const SESSION: &str = "flare_session_limit_reached_total";
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    [
        connections::cases(),
        one_connection::cases(),
        messages::cases(),
        reading::cases(),
        api::cases(),
        server::cases(),
        retention::cases(),
        signals::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
