//! The binary `flare-message-orchestrator`: this service alone in a process.

use std::process::ExitCode;

use flare_message_orchestrator::{config::Settings, service::hosted};
use flare_server_core::{process, registry::service};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::main(
        service::ORCHESTRATOR,
        "Owns conversations: authorises, orders, appends.",
        |it: Settings| hosted(it.message_orchestrator, Vec::new()),
    )
}
