//! Pairs of users under load: one writes, the other receives; measured for a while, and judged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use flare_checker::{Checker, Client, Counts, Record};
use flare_server_core::clock::{Clock, IdSource, SystemClock};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{sync::oneshot, task::JoinSet};

use super::{
    link::{Link, Server, Tokens},
    pace::Pace,
    receiver::Receiver,
    refusals::{Manner, Refusals},
    sender::Sender,
};
use crate::{cli::BenchLoad, command::progress, output::say};

const WARM_UP: Duration = Duration::from_secs(1);
/// What is on its way at the end has this long to arrive.
const SETTLE: Duration = Duration::from_secs(60);
/// The longest time that is told apart from longer ones, in microseconds.
const LONGEST_US: u64 = 60_000_000;
/// The text begins with the moment of sending, in hexadecimal microseconds since the start.
pub(super) const STAMP_CHARS: usize = 16;

/// What is put on the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) pairs: u32,
    pub(super) checked_pairs: u32,
    pub(super) in_flight: u32,
    /// Messages a second of all pairs; None: as fast as acks come.
    pub(super) rate: Option<u32>,
    pub(super) bytes: u32,
    pub(super) seconds: u64,
    pub(super) manner: Manner,
}

impl Load {
    pub(super) fn of(asked: &BenchLoad, manner: Manner) -> Self {
        let BenchLoad {
            pairs,
            checked_pairs,
            in_flight,
            bytes,
            seconds,
        } = *asked;
        Self {
            pairs,
            checked_pairs: checked_pairs.min(pairs),
            in_flight,
            rate: None,
            bytes,
            seconds,
            manner,
        }
    }
}

/// What was measured, and what the checker says of it.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) pairs: u32,
    pub(super) acked_per_s: u64,
    pub(super) delivered_per_s: u64,
    pub(super) ack_us: Quantiles,
    pub(super) delivery_us: Quantiles,
    #[serde(flatten)]
    pub(super) refusals: Refusals,
    pub(super) refused_share: f64,
    pub(super) sync_hints: u64,
    pub(super) checked_pairs: u32,
    pub(super) verdict: String,
    pub(super) kept: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Quantiles {
    p50: u64,
    p99: u64,
    max: u64,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        }
    }
}

impl Measured {
    pub(super) fn print(&self) {
        for (what, per_s, it) in [
            ("acked    ", self.acked_per_s, self.ack_us),
            ("delivered", self.delivered_per_s, self.delivery_us),
        ] {
            let Quantiles { p50, p99, max } = it;
            say!("{what}  {per_s:>9} msg/s   p50 {p50} us, p99 {p99} us, max {max} us");
        }
        for (code, count) in &self.refusals.by_code {
            say!("refused    {count:>9} {code}");
        }
        let wait = &self.refusals;
        if let (Some(min), Some(max)) = (wait.retry_after_ms_min, wait.retry_after_ms_max) {
            say!(
                "refused    {:>8.1}% of sends, to come again after {min} to {max} ms",
                self.refused_share * 100.0
            );
        }
        if self.sync_hints > 0 {
            say!(
                "hints      {:>9} to sync what was left out",
                self.sync_hints
            );
        }
        say!(
            "checker, over {} pairs:\n{}",
            self.checked_pairs,
            self.verdict
        );
    }
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) start: Instant,
    pub(super) measuring: AtomicBool,
    pub(super) stop: AtomicBool,
    pub(super) acked: AtomicU64,
    pub(super) delivered: AtomicU64,
}

/// What a connection brings home.
pub(super) struct Done {
    pub(super) latency_us: Histogram<u64>,
    pub(super) records: Vec<Record>,
    pub(super) count: u64,
    pub(super) refusals: Refusals,
    pub(super) hints: u64,
}

/// Makes room for the files of so many pairs.
pub(super) fn room_for(pairs: u32) -> anyhow::Result<()> {
    let needed = u64::from(pairs) * 2 + 1_000;
    let open_files = rlimit::increase_nofile_limit(needed)?;
    ensure!(
        open_files >= needed,
        "{pairs} pairs need {needed} open files, the hard limit is {open_files}"
    );
    Ok(())
}

/// Connects pairs, lets them write for so long, waits for what is on its way, and judges.
pub(super) async fn measure(load: Load, tokens: &Tokens, at: &Server) -> anyhow::Result<Measured> {
    // Users of their own: the checker sees conversations from their first message.
    let run_id = IdSource::from_os()
        .ulid(SystemClock.now_ms())
        .to_string()
        .to_lowercase();
    let shared = Arc::new(Shared {
        start: Instant::now(),
        measuring: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        acked: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
    });
    // All of them before anybody writes: who connects to a busy server waits long.
    let mut links = Vec::new();
    let connecting = progress::counted("connecting pairs", load.pairs.into())?;
    for pair in 0..load.pairs {
        let (writer, reader) = (
            format!("bench-{run_id}-w{pair}"),
            format!("bench-{run_id}-r{pair}"),
        );
        let out = Link::open(at, tokens.mint(&writer)?, "bench").await?;
        let into = Link::open(at, tokens.mint(&reader)?, "bench").await?;
        links.push((pair, (writer, out), (reader, into)));
        connecting.inc(1);
    }
    connecting.finish_and_clear();
    let mut senders = JoinSet::new();
    let mut receivers = JoinSet::new();
    for (pair, (writer, out), (reader, into)) in links {
        let client =
            |user: &str| (pair < load.checked_pairs).then(|| Client::new("default", user, "bench"));
        let (sent, expected) = oneshot::channel();
        let receiver = Receiver::new(into, Arc::clone(&shared), load, &writer, client(&reader))?;
        receivers.spawn(receiver.run(expected));
        let client = client(&writer);
        let pace = load.rate.map(|rate| Pace::of(rate, load.pairs, pair));
        let sender = Sender::new(out, Arc::clone(&shared), load, reader, client, pace)?;
        senders.spawn(sender.run(sent));
    }

    tokio::time::sleep(WARM_UP).await;
    shared.measuring.store(true, Ordering::Relaxed);
    let (acked, delivered, begun) = (
        shared.acked.load(Ordering::Relaxed),
        shared.delivered.load(Ordering::Relaxed),
        Instant::now(),
    );
    progress::seconds("measuring, in seconds", load.seconds).await?;
    shared.measuring.store(false, Ordering::Relaxed);
    let took = begun.elapsed().as_secs_f64();
    let acked = shared.acked.load(Ordering::Relaxed) - acked;
    let delivered = shared.delivered.load(Ordering::Relaxed) - delivered;
    shared.stop.store(true, Ordering::Relaxed);

    let settling = progress::uncounted("waiting for what is on its way, and judging it")?;
    let mut ack_us = histogram()?;
    let mut delivery_us = histogram()?;
    let mut checker = Checker::new();
    let (mut total_acked, mut total_delivered) = (0, 0);
    let mut refusals = Refusals::default();
    let mut sync_hints = 0;
    for (set, latencies, total) in [
        (senders, &mut ack_us, &mut total_acked),
        (receivers, &mut delivery_us, &mut total_delivered),
    ] {
        let all = tokio::time::timeout(SETTLE, collect(set))
            .await
            .context("what is on its way did not arrive in time")??;
        for done in all {
            latencies.add(&done.latency_us)?;
            *total += done.count;
            refusals.add(&done.refusals);
            sync_hints += done.hints;
            done.records.iter().for_each(|record| checker.add(record));
        }
    }
    ensure!(
        total_acked == total_delivered,
        "{total_acked} messages were acked, {total_delivered} delivered"
    );
    let verdict = checker.verdict();
    settling.finish_and_clear();
    let enough = Counts {
        acks: u64::from(load.checked_pairs),
        deliveries: u64::from(load.checked_pairs),
        ..Counts::default()
    };
    Ok(Measured {
        pairs: load.pairs,
        acked_per_s: (acked as f64 / took) as u64,
        delivered_per_s: (delivered as f64 / took) as u64,
        ack_us: Quantiles::of(&ack_us),
        delivery_us: Quantiles::of(&delivery_us),
        refused_share: refusals.share(),
        refusals,
        sync_hints,
        checked_pairs: load.checked_pairs,
        kept: verdict.require(&enough).is_ok(),
        verdict: verdict.to_string(),
    })
}

pub(super) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST_US, 3)?)
}

async fn collect(mut set: JoinSet<anyhow::Result<Done>>) -> anyhow::Result<Vec<Done>> {
    let mut all = Vec::new();
    while let Some(done) = set.join_next().await {
        all.push(done??);
    }
    Ok(all)
}
