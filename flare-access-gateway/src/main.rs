//! The binary `flare-access-gateway`: this service alone in a process.

use std::process::ExitCode;

use flare_access_gateway::{config::Settings, hosted};
use flare_server_core::{process, registry::service};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::main(
        service::ACCESS_GATEWAY,
        "Holds the connections of clients.",
        |it: Settings| hosted(it.access_gateway),
    )
}
