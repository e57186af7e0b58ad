//! The binary `flare-session`: this service alone in a process.

use std::process::ExitCode;

use flare_server_core::{process, registry::service};
use flare_session::{config::Settings, hosted};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::main(
        service::SESSION,
        "Conversations, members and inboxes.",
        |it: Settings| hosted(it.session),
    )
}
