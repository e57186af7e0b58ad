//! More than the server can do: what is left of its peak when several times as many write, and all of them obey when it refuses.

use anyhow::ensure;
use serde::Serialize;

use super::{
    link::{Server, Tokens},
    memory::{Watch, resident_bytes},
    pairs::{Load, Measured, measure, room_for},
};
use crate::{cli::BenchServer, output::say};

/// What is asked of the server beside the load of its peak.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overload {
    /// So many times the pairs.
    pub(super) times: u32,
    /// The share of the peak that is to be left.
    pub(super) least_ratio: f64,
    /// The server's process.
    pub(super) pid: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Report {
    times: u32,
    in_flight: u32,
    bytes: u32,
    seconds: u64,
    peak: Measured,
    overload: Measured,
    ratio: f64,
    least_ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_bytes: Option<ServerBytes>,
    kept: bool,
}

/// Resident memory of the server.
#[derive(Debug, Serialize)]
struct ServerBytes {
    before: u64,
    /// The most while its peak was measured.
    peak: u64,
    /// The most under overload.
    overload: u64,
    after: u64,
}

pub(super) async fn run(
    load: Load,
    overload: Overload,
    server: &BenchServer,
) -> anyhow::Result<()> {
    let Overload {
        times,
        least_ratio,
        pid,
    } = overload;
    let many = load.pairs.saturating_mul(times);
    room_for(many)?;
    let tokens = Tokens::open(&server.data)?;
    let at = Server::of(server)?;

    let before = pid.map(resident_bytes).transpose()?;
    let watch = pid.map(Watch::start).transpose()?;
    let peak = measure(load, &tokens, &at).await?;
    let at_peak = watch.map(|it| it.peak());
    let watch = pid.map(Watch::start).transpose()?;
    let all = Load {
        pairs: many,
        ..load
    };
    let overloaded = measure(all, &tokens, &at).await?;
    let at_most = watch.map(|it| it.peak());
    let after = pid.map(resident_bytes).transpose()?;

    let server_bytes =
        before
            .zip(at_peak)
            .zip(at_most)
            .zip(after)
            .map(|(((before, peak), overload), after)| ServerBytes {
                before,
                peak,
                overload,
                after,
            });
    let report = Report {
        times,
        in_flight: load.in_flight,
        bytes: load.bytes,
        seconds: load.seconds,
        ratio: overloaded.acked_per_s as f64 / peak.acked_per_s.max(1) as f64,
        least_ratio,
        server_bytes,
        kept: peak.kept && overloaded.kept,
        peak,
        overload: overloaded,
    };
    if server.json {
        say!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    ensure!(report.kept, "the checker found a broken promise");
    ensure!(report.peak.acked_per_s > 0, "the server acked nothing");
    ensure!(
        report.ratio >= least_ratio,
        "{:.2} of the peak is left under overload, {least_ratio:.2} is the least",
        report.ratio
    );
    Ok(())
}

fn print(report: &Report) {
    for (what, it) in [("peak", &report.peak), ("overload", &report.overload)] {
        say!(
            "{what}: {} pairs, {} in flight each, {} bytes, {} s",
            it.pairs,
            report.in_flight,
            report.bytes,
            report.seconds
        );
        it.print();
    }
    say!(
        "left of the peak under overload: {:.2} (at least {:.2})",
        report.ratio,
        report.least_ratio
    );
    if let Some(it) = &report.server_bytes {
        let mib = |bytes: u64| bytes / (1 << 20);
        say!(
            "resident memory of the server, in MiB: {} before, at most {} at the peak and {} under overload, {} after",
            mib(it.before),
            mib(it.peak),
            mib(it.overload),
            mib(it.after)
        );
    }
}
