//! The binary `flare`.

use std::process::ExitCode;

use clap::Parser;
use flare_im::{cli::Cli, command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match command::execute(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flare: {error:#}");
            ExitCode::FAILURE
        }
    }
}
