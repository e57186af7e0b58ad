//! The binary `flare-core-gateway`: this service alone in a process.

use std::process::ExitCode;

use flare_core_gateway::{config::Settings, hosted};
use flare_server_core::{process, registry::service};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::main(
        service::CORE_GATEWAY,
        "gRPC and HTTP for business backends, and the page.",
        |it: Settings| hosted(it.core_gateway),
    )
}
