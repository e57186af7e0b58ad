//! What Prometheus reads.

use std::time::Duration;

use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::shutdown::Shutdown;

/// From a function call to a human's patience.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// From a signal to a blob.
const BYTES: &[f64] = &[
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
];
/// Sizes of batches and queues.
const COUNTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0,
];
/// Samples of histograms gather in memory for as long.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Reads what a recorder was told. Clones share one state.
#[derive(Clone, Debug)]
pub struct MetricsHandle(PrometheusHandle);

/// A recorder of metrics and what reads it. Histograms have buckets by the unit that their name ends in: `_seconds`, `_bytes`, or a count.
pub fn recorder() -> (PrometheusRecorder, MetricsHandle) {
    let builder = PrometheusBuilder::new();
    let recorder = with_buckets(builder).unwrap_or_default().build_recorder();
    let handle = MetricsHandle(recorder.handle());
    (recorder, handle)
}

/// Without buckets the exporter would render summaries, which cannot be added up over processes. Fails for an empty list only.
fn with_buckets(
    builder: PrometheusBuilder,
) -> Result<PrometheusBuilder, metrics_exporter_prometheus::BuildError> {
    builder
        .set_buckets(COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES)
}

impl MetricsHandle {
    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Keeps the memory of histograms bounded also when nobody reads them. Ends when a drain is asked for.
    pub async fn upkeep(self, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(UPKEEP_EVERY);
        while shutdown.or_drain(ticks.tick()).await.is_some() {
            self.0.run_upkeep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_buckets_by_their_unit() {
        let (recorder, handle) = recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("flare_ack_seconds").record(0.003);
            metrics::histogram!("flare_frame_bytes").record(300.0);
            metrics::histogram!("flare_group_events").record(7.0);
        });
        let text = handle.render();
        for line in [
            "flare_ack_seconds_bucket{le=\"0.0025\"} 0",
            "flare_ack_seconds_bucket{le=\"0.005\"} 1",
            "flare_frame_bytes_bucket{le=\"1024\"} 1",
            "flare_group_events_bucket{le=\"10\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn upkeep_ends_with_the_drain() {
        let shutdown = Shutdown::new();
        let upkeep = tokio::spawn(recorder().1.upkeep(shutdown.clone()));
        shutdown.drain();
        upkeep.await.unwrap();
    }
}
