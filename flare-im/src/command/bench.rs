//! `flare bench`: a generator that speaks frames without the SDK, and checks what it measures.

mod direct;
mod idle;
mod link;

use crate::cli::Bench;

/// Measures a running server.
pub async fn run(args: &Bench) -> anyhow::Result<()> {
    match args {
        Bench::Direct {
            pairs,
            checked_pairs,
            in_flight,
            bytes,
            seconds,
            server,
        } => {
            let load = direct::Load {
                pairs: *pairs,
                checked_pairs: (*checked_pairs).min(*pairs),
                in_flight: *in_flight,
                bytes: *bytes,
                seconds: *seconds,
            };
            direct::run(load, server).await
        }
        Bench::Idle {
            connections,
            pid,
            seconds,
            server,
        } => idle::run(*connections, *pid, *seconds, server).await,
    }
}
