//! The binary `flare`.

use std::process::ExitCode;

use clap::Parser;
use flare_im::{cli::Cli, command};
use flare_server_core::process::run_to_end;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let done = run_to_end(command::execute(Cli::parse()));
    match done.map_err(Into::into).flatten() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flare: {error:#}");
            ExitCode::FAILURE
        }
    }
}
