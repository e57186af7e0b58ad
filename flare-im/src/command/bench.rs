//! `flare bench`: a generator that speaks frames without the SDK, and checks what it measures.

mod direct;
mod idle;
mod link;
mod memory;
mod notes;
mod overload;
mod pace;
mod pairs;
mod receiver;
mod refusals;
mod sender;

use self::{overload::Limits, pairs::Load, refusals::Manner};
use crate::cli::Bench;

/// Measures a running server.
pub async fn run(args: &Bench) -> anyhow::Result<()> {
    match args {
        Bench::Direct { load, rate, server } => {
            let rate = *rate;
            let load = Load::of(load, Manner::Strict);
            direct::run(Load { rate, ..load }, server).await
        }
        Bench::Overload {
            load,
            times,
            rounds,
            least_ratio,
            refusals_demanded,
            most_mib,
            pid,
            server,
        } => {
            let limits = Limits {
                least_ratio: *least_ratio,
                refusals_demanded: *refusals_demanded,
                most_mib: *most_mib,
            };
            let load = Load::of(load, Manner::Obedient);
            overload::run(load, times, *rounds, &limits, *pid, server).await
        }
        Bench::Idle {
            connections,
            pid,
            seconds,
            server,
        } => idle::run(*connections, *pid, *seconds, server).await,
    }
}
