//! The binary `flare-push-server`: this service alone in a process.

use std::process::ExitCode;

use flare_push_server::{config::Settings, hosted};
use flare_server_core::{process, registry::service};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::main(
        service::PUSH_SERVER,
        "Delivers events and signals to gateways.",
        |it: Settings| hosted(it.push_server),
    )
}
