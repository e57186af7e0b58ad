//! `flare bench`: a generator that speaks frames without the SDK, and checks what it measures.

mod direct;
mod idle;
mod link;
mod memory;
mod notes;
mod overload;
mod pairs;
mod receiver;
mod refusals;
mod sender;

use self::{overload::Overload, pairs::Load, refusals::Manner};
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
            let load = Load {
                pairs: *pairs,
                checked_pairs: (*checked_pairs).min(*pairs),
                in_flight: *in_flight,
                bytes: *bytes,
                seconds: *seconds,
                manner: Manner::Strict,
            };
            direct::run(load, server).await
        }
        Bench::Overload {
            pairs,
            times,
            checked_pairs,
            in_flight,
            bytes,
            seconds,
            least_ratio,
            pid,
            server,
        } => {
            let load = Load {
                pairs: *pairs,
                checked_pairs: (*checked_pairs).min(*pairs),
                in_flight: *in_flight,
                bytes: *bytes,
                seconds: *seconds,
                manner: Manner::Obedient,
            };
            let overload = Overload {
                times: *times,
                least_ratio: *least_ratio,
                pid: *pid,
            };
            overload::run(load, overload, server).await
        }
        Bench::Idle {
            connections,
            pid,
            seconds,
            server,
        } => idle::run(*connections, *pid, *seconds, server).await,
    }
}
