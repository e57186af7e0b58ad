//! What a business adds to its own binary.

use std::sync::Arc;

use flare_message_orchestrator::application::ports::PreSendHook;

/// Code of the business that runs in this process.
#[derive(Clone, Default)]
pub struct Plugins {
    /// Shown each message, in this order, before it gets its place.
    pub pre_send_hooks: Vec<Arc<dyn PreSendHook>>,
}
