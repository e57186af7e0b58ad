//! Any set of services in one process: the only place that knows every service's crate.

use flare_server_core::process::{self, Ground, Hosted, Process, RunError};

use crate::{
    config::{Config, ServicesConfig},
    plugins::Plugins,
    role::Role,
};

/// Binds, builds and starts `roles`; returns when every part is ready and the listeners answer.
pub async fn start(
    config: &Config,
    ground: &Ground,
    roles: &[Role],
    plugins: Plugins,
) -> Result<Process, RunError> {
    let services = Role::ALL
        .into_iter()
        .filter(|role| roles.contains(role))
        .map(|role| hosted(role, &config.services, &plugins))
        .collect();
    process::start(&config.base, ground, services).await
}

fn hosted(role: Role, config: &ServicesConfig, plugins: &Plugins) -> Hosted {
    match role {
        Role::StorageWriter => flare_storage_writer::hosted(config.storage_writer.clone()),
        Role::StorageReader => flare_storage_reader::hosted(config.storage_reader.clone()),
        Role::SignalingOnline => flare_signaling_online::hosted(config.signaling_online.clone()),
        Role::SignalingRoute => flare_signaling_route::hosted(config.signaling_route.clone()),
        Role::MessageOrchestrator => flare_message_orchestrator::service::hosted(
            config.message_orchestrator.clone(),
            plugins.pre_send_hooks.clone(),
        ),
        Role::Session => flare_session::hosted(config.session.clone()),
        Role::PushServer => flare_push_server::hosted(config.push_server.clone()),
        Role::AccessGateway => flare_access_gateway::hosted(config.access_gateway.clone()),
        Role::CoreGateway => flare_core_gateway::hosted(config.core_gateway.clone()),
    }
}
