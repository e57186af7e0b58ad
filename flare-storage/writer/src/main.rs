//! The binary `flare-storage-writer`: this service alone in a process.

use std::process::ExitCode;

use flare_server_core::{process, registry::service};
use flare_storage_writer::{config::Settings, hosted};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::main(
        service::STORAGE_WRITER,
        "Applies the log to the message store.",
        |it: Settings| hosted(it.storage_writer),
    )
}
