//! More than the server can do: what is left of its peak when several times as many write, and all of them obey when it refuses.

use anyhow::ensure;
use serde::Serialize;

use super::{
    link::{Server, Tokens},
    memory::{Watch, resident_bytes},
    pairs::{Load, Measured, measure, room_for},
};
use crate::{cli::BenchServer, output::say};

const MIB: u64 = 1 << 20;
/// What is acked and not delivered meanwhile is a debt that grows as long as the load lasts.
const DELIVERED_AT_LEAST: f64 = 0.9;

/// What is demanded of the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The share of the peak that is to be left under each load.
    pub(super) least_ratio: f64,
    /// Whether the highest load is to be refused something.
    pub(super) refusals_demanded: bool,
    /// The most resident memory of the server.
    pub(super) most_mib: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Report {
    in_flight: u32,
    bytes: u32,
    seconds: u64,
    least_ratio: f64,
    kept: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_bytes_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_bytes_after: Option<u64>,
    /// Of each load, the peak first.
    left: Vec<Left>,
    /// As they were measured, a peak first.
    steps: Vec<Step>,
}

/// What is left of the peak under a load: over all rounds.
#[derive(Debug, Serialize)]
struct Left {
    /// So many times the pairs of the peak.
    times: u32,
    /// Of what was acked a second at the peaks before and after it.
    ratio: f64,
    acked_per_s: u64,
    peak_per_s: u64,
    refused_share: f64,
    /// The most resident memory of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_bytes_max: Option<u64>,
}

/// One load, once.
#[derive(Debug, Serialize)]
struct Step {
    /// So many times the pairs of the peak.
    times: u32,
    /// Of what was acked a second at the peaks before and after it, which it is held against: what a machine can do changes from minute to minute.
    ratio: f64,
    peak_before_per_s: u64,
    peak_after_per_s: u64,
    /// The most resident memory of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_bytes_max: Option<u64>,
    #[serde(flatten)]
    measured: Measured,
}

pub(super) async fn run(
    load: Load,
    times: &[u32],
    rounds: u32,
    limits: &Limits,
    pid: Option<u32>,
    server: &BenchServer,
) -> anyhow::Result<()> {
    let most = times.iter().copied().max().unwrap_or(1);
    room_for(load.pairs.saturating_mul(most))?;
    let tokens = Tokens::open(&server.data.folder)?;
    let at = Server::of(server)?;

    let server_bytes_before = pid.map(resident_bytes).transpose()?;
    let mut steps: Vec<Step> = Vec::new();
    let mut peaks_kept = true;
    let loads = (0..rounds).flat_map(|_| times);
    for times in [1].iter().chain(loads) {
        let before = steps.last().map(|it| it.peak_after_per_s);
        let watch = pid.map(Watch::start).transpose()?;
        let pairs = load.pairs.saturating_mul(*times);
        let measured = measure(Load { pairs, ..load }, &tokens, &at).await?;
        let server_bytes_max = watch.map(|it| it.peak());
        let (before, after) = match before {
            Some(before) => {
                let peak = measure(load, &tokens, &at).await?;
                peaks_kept &= peak.kept;
                (before, peak.acked_per_s)
            }
            None => (measured.acked_per_s, measured.acked_per_s),
        };
        steps.push(Step {
            times: *times,
            ratio: share(measured.acked_per_s, before.midpoint(after)),
            peak_before_per_s: before,
            peak_after_per_s: after,
            server_bytes_max,
            measured,
        });
    }
    let report = Report {
        in_flight: load.in_flight,
        bytes: load.bytes,
        seconds: load.seconds,
        least_ratio: limits.least_ratio,
        kept: peaks_kept && steps.iter().all(|it| it.measured.kept),
        server_bytes_before,
        server_bytes_after: pid.map(resident_bytes).transpose()?,
        left: left(&steps),
        steps,
    };
    if server.json {
        say!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    judge(&report, limits)
}

fn share(acks: u64, of: u64) -> f64 {
    acks as f64 / of.max(1) as f64
}

/// Of each load, the peak first.
fn left(steps: &[Step]) -> Vec<Left> {
    let mut loads: Vec<u32> = steps.iter().map(|it| it.times).collect();
    loads.sort_unstable();
    loads.dedup();
    let of_load = |times| {
        let steps: Vec<&Step> = steps.iter().filter(|it| it.times == times).collect();
        let rounds = steps.len().max(1);
        let mean =
            |of: &dyn Fn(&Step) -> u64| steps.iter().map(|it| of(it)).sum::<u64>() / rounds as u64;
        let acked_per_s = mean(&|it| it.measured.acked_per_s);
        let peak_per_s = mean(&|it| it.peak_before_per_s.midpoint(it.peak_after_per_s));
        Left {
            times,
            ratio: share(acked_per_s, peak_per_s),
            acked_per_s,
            peak_per_s,
            refused_share: steps
                .iter()
                .map(|it| it.measured.refused_share)
                .sum::<f64>()
                / rounds as f64,
            server_bytes_max: steps.iter().filter_map(|it| it.server_bytes_max).max(),
        }
    };
    loads.into_iter().map(of_load).collect()
}

fn judge(report: &Report, limits: &Limits) -> anyhow::Result<()> {
    ensure!(report.kept, "the checker found a broken promise");
    for Left { times, ratio, .. } in &report.left {
        ensure!(
            *ratio >= limits.least_ratio,
            "{ratio:.2} of the peak is left under {times} times the load, {:.2} is the least",
            limits.least_ratio
        );
    }
    for step in &report.steps {
        let times = step.times;
        ensure!(step.measured.acked_per_s > 0, "the server acked nothing");
        let (acked, delivered) = (step.measured.acked_per_s, step.measured.delivered_per_s);
        ensure!(
            delivered as f64 >= acked as f64 * DELIVERED_AT_LEAST,
            "deliveries fall behind under {times} times the load: {acked} messages a second are acked, {delivered} delivered"
        );
        if let (Some(bytes), Some(most)) = (step.server_bytes_max, limits.most_mib) {
            ensure!(
                bytes <= most.saturating_mul(MIB),
                "the server takes {} MiB under {times} times the load, {most} are the most",
                bytes / MIB
            );
        }
    }
    let highest = report.steps.iter().max_by_key(|it| it.times);
    ensure!(
        !limits.refusals_demanded || highest.is_some_and(|it| it.measured.refused_share > 0.0),
        "nothing was refused under the highest load: it was no overload"
    );
    Ok(())
}

fn print(report: &Report) {
    for step in &report.steps {
        say!(
            "{} times the load: {} pairs, {} in flight each, {} bytes, {} s",
            step.times,
            step.measured.pairs,
            report.in_flight,
            report.bytes,
            report.seconds
        );
        step.measured.print();
        if let Some(bytes) = step.server_bytes_max {
            say!("resident memory of the server: at most {} MiB", bytes / MIB);
        }
        if step.times > 1 {
            say!(
                "left of the peaks before and after, {} and {} acks a second: {:.2}",
                step.peak_before_per_s,
                step.peak_after_per_s,
                step.ratio
            );
        }
    }
    for it in report.left.iter().filter(|it| it.times > 1) {
        say!(
            "left under {} times the load: {:.2} (at least {:.2}), {} acks a second of {}",
            it.times,
            it.ratio,
            report.least_ratio,
            it.acked_per_s,
            it.peak_per_s
        );
    }
    if let (Some(before), Some(after)) = (report.server_bytes_before, report.server_bytes_after) {
        say!(
            "resident memory of the server: {} MiB before, {} MiB after",
            before / MIB,
            after / MIB
        );
    }
}
