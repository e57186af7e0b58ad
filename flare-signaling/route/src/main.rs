//! The binary `flare-signaling-route`: this service alone in a process.

use std::process::ExitCode;

use flare_server_core::{process, registry::service};
use flare_signaling_route::{config::Settings, hosted};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::main(
        service::ROUTE,
        "Who owns which partition; where services answer.",
        |it: Settings| hosted(it.signaling_route),
    )
}
