//! The binary `flare-storage-reader`: this service alone in a process.

use std::process::ExitCode;

use flare_server_core::{process, registry::service};
use flare_storage_reader::{config::Settings, hosted};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::main(
        service::STORAGE_READER,
        "Answers reads of conversations.",
        |it: Settings| hosted(it.storage_reader),
    )
}
