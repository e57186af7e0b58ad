//! The binary `flare-signaling-online`: this service alone in a process.

use std::process::ExitCode;

use flare_server_core::{process, registry::service};
use flare_signaling_online::{config::Settings, hosted};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::main(
        service::ONLINE,
        "Who is connected where; revocations.",
        |it: Settings| hosted(it.signaling_online),
    )
}
