//! Log lines, spans and metrics of a process.
//!
//! Log lines go to standard error: text on a terminal, JSON elsewhere, or as configured. Spans are made for the traces that are sampled,
//! and for what failed or was slow, and go to an OTLP collector if one is configured. Metrics wait for Prometheus.

mod batch;
mod calls;
mod metrics;
mod section;
mod spans;
mod trace_id;

use std::{
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use opentelemetry::{Array, KeyValue, StringValue, Value, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::LevelFilter, fmt::MakeWriter, layer::SubscriberExt,
};

use crate::clock::{Clock, IdSource, SystemClock};

pub(crate) use self::calls::{attach, served_here, within};
pub use self::{
    batch::{Batch, EventPlace},
    calls::{CallSpans, WithCallSpans, is_failure},
    metrics::{MetricsHandle, recorder},
    section::{LogFormat, TelemetryConfig},
    spans::{About, Done, Spans, fail},
    trace_id::{TraceId, TraceIdError},
};

/// The collector has this long to take a batch, or the last one at the end.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a process tells of itself. Clones share one state.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// What Prometheus reads.
    pub metrics: MetricsHandle,
    /// Opens spans.
    pub spans: Spans,
    provider: Option<SdkTracerProvider>,
}

/// The process, as telemetry sees it.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    /// Spans bear it as `service.name`.
    pub service: String,
    /// Spans bear it as `service.instance.id`: no other process has it, nor this one after a restart.
    pub instance: String,
    /// What the process does of the service. Spans bear it as `flare.roles`.
    pub roles: Vec<String>,
    /// Whether standard error is a terminal.
    pub terminal: bool,
    /// Whether log lines may have colours.
    pub colours: bool,
    /// Takes the place of `telemetry.level`.
    pub rust_log: Option<String>,
}

impl ProcessInfo {
    /// As standard error and the variables `RUST_LOG` and `NO_COLOR` say.
    #[expect(
        clippy::disallowed_methods,
        reason = "these two variables are read by convention, under names that are not ours"
    )]
    pub fn of(service: impl Into<String>, roles: Vec<String>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            service: service.into(),
            instance: IdSource::from_os().ulid(SystemClock.now_ms()).to_string(),
            roles,
            terminal,
            colours: terminal && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()),
            rust_log: std::env::var("RUST_LOG").ok().filter(|it| !it.is_empty()),
        }
    }
}

/// Why telemetry could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` or `telemetry.level` cannot be read.
    #[error("log level {directives:?}: {source}")]
    Level {
        /// What was given.
        directives: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter refuses its endpoint.
    #[error("telemetry.otlp_endpoint {endpoint:?}: {source}")]
    Exporter {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Somebody else receives this process's log lines.
    #[error("this process has another log subscriber: {0}")]
    Subscriber(#[from] tracing::subscriber::SetGlobalDefaultError),
    /// Somebody else receives this process's metrics.
    #[error("this process has another metrics recorder")]
    Recorder,
}

/// Both receivers are the process's own, so they are set once.
static BEGUN: Mutex<Option<Telemetry>> = Mutex::new(None);

/// Begins. Inside a tokio runtime, if there is a collector. Called again in the same process it changes nothing, and returns what the
/// first call made.
pub fn init(config: &TelemetryConfig, process: &ProcessInfo) -> Result<Telemetry, TelemetryError> {
    let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(telemetry) = &*begun {
        return Ok(telemetry.clone());
    }
    let directives = process.rust_log.as_deref().unwrap_or(&config.level);
    let filter = EnvFilter::try_new(directives).map_err(|source| TelemetryError::Level {
        directives: directives.to_owned(),
        source,
    })?;
    let provider = config
        .otlp_endpoint
        .as_deref()
        .map(|it| provider(it, process))
        .transpose()?;
    let tracer = provider.as_ref().map(|it| it.tracer("flare"));
    let lines = lines(config.format, process, std::io::stderr).with_filter(filter);
    let spans = tracer.clone().map(spans_layer);
    tracing::subscriber::set_global_default(Registry::default().with(lines).with(spans))?;
    let (recorder, metrics) = recorder();
    ::metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Recorder)?;
    let spans = Spans::new(
        config.sample_ratio,
        Duration::from_millis(config.slow_ms),
        tracer,
    );
    Ok(begun
        .insert(Telemetry {
            metrics,
            spans,
            provider,
        })
        .clone())
}

impl Telemetry {
    /// Sends the spans that wait to the collector. Blocks for up to five seconds.
    pub fn flush(&self) {
        if let Some(Err(error)) = self.provider.as_ref().map(SdkTracerProvider::force_flush) {
            tracing::warn!(%error, "spans did not reach the collector");
        }
    }
}

fn lines<W>(
    format: LogFormat,
    process: &ProcessInfo,
    writer: W,
) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(process.colours);
    let json = match format {
        LogFormat::Auto => !process.terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    if json {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed()
    } else {
        lines.boxed()
    }
}

fn spans_layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_filter(LevelFilter::INFO)
}

fn provider(endpoint: &str, process: &ProcessInfo) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| TelemetryError::Exporter {
            endpoint: endpoint.to_owned(),
            source,
        })?;
    let roles = process.roles.iter().cloned().map(StringValue::from);
    let roles = Value::Array(Array::String(roles.collect()));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        // `Spans` decides, and says so by a sampled parent; a span that nobody decided on, such as a library's, is not made.
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
        .with_resource(
            Resource::builder()
                .with_service_name(process.service.clone())
                .with_attributes([
                    KeyValue::new("service.instance.id", process.instance.clone()),
                    KeyValue::new("flare.roles", roles),
                ])
                .build(),
        )
        .build())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::IdSource;

    /// What is logged during `work`.
    fn logged(format: LogFormat, terminal: bool, work: impl FnOnce()) -> String {
        let process = ProcessInfo {
            service: "flare-test".to_owned(),
            instance: "one".to_owned(),
            roles: Vec::new(),
            terminal,
            colours: false,
            rust_log: None,
        };
        let (read, write) = std::io::pipe().unwrap();
        let subscriber = Registry::default().with(lines(format, &process, Arc::new(write)));
        // The pipe's writing end goes with the subscriber, so that reading ends.
        tracing::subscriber::with_default(subscriber, work);
        std::io::read_to_string(read).unwrap()
    }

    #[test]
    fn lines_are_text_on_a_terminal_and_json_elsewhere_unless_configured() {
        for (format, terminal, json) in [
            (LogFormat::Auto, true, false),
            (LogFormat::Auto, false, true),
            (LogFormat::Text, false, false),
            (LogFormat::Json, true, true),
        ] {
            let text = logged(format, terminal, || {
                tracing::info!(user = "alice", "connected")
            });
            let line = serde_json::from_str::<serde_json::Value>(&text);
            assert_eq!(line.is_ok(), json, "{format:?} {terminal}: {text}");
            assert!(
                text.contains("connected") && text.contains("alice"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_failed_or_was_slow_is_logged_with_its_trace_id_without_a_collector() {
        let (spans, trace) = (
            Spans::new(0.0, Duration::from_millis(100), None),
            TraceId::mint(&IdSource::seeded(1)),
        );
        let done = Done {
            trace: Some(trace),
            operation: "append",
            took: Duration::from_millis(99),
            about: &[
                ("conversation", About::Text("c1")),
                ("events", About::Number(3)),
            ],
            error: None,
        };
        let slow = Done {
            took: Duration::from_millis(100),
            ..done
        };
        let failed = Done {
            error: Some(&"disk gone"),
            ..done
        };
        assert_eq!(logged(LogFormat::Json, false, || spans.report(&done)), "");
        let line = logged(LogFormat::Json, false, || spans.report(&slow));
        assert!(
            line.contains("WARN")
                && line.contains(&trace.to_string())
                && line.contains("\"took_ms\":100")
                && line.contains("conversation=c1 events=3"),
            "{line}"
        );
        let line = logged(LogFormat::Json, false, || spans.report(&failed));
        assert!(
            line.contains("ERROR")
                && line.contains(&trace.to_string())
                && line.contains("disk gone"),
            "{line}"
        );
        let nobodys = Done {
            trace: None,
            ..slow
        };
        let line = logged(LogFormat::Json, false, || spans.report(&nobodys));
        assert!(
            line.contains("WARN") && !line.contains("trace_id"),
            "{line}"
        );
    }

    #[test]
    fn a_flood_of_slow_operations_is_told_of_in_a_few_lines_and_does_not_hide_a_failure() {
        let spans = Spans::new(0.0, Duration::from_millis(100), None);
        let slow = Done {
            trace: None,
            operation: "append",
            took: Duration::from_secs(1),
            about: &[],
            error: None,
        };
        let failed = Done {
            error: Some(&"disk gone"),
            ..slow
        };
        let text = logged(LogFormat::Json, false, || {
            for _ in 0..500 {
                spans.report(&slow);
            }
            spans.report(&failed);
        });
        let lines = text.lines().count();
        assert!((10..100).contains(&lines), "{lines} lines");
        assert!(text.contains("disk gone"), "{text}");
    }

    #[test]
    fn without_a_collector_no_span_is_made() {
        let (spans, trace) = (
            Spans::new(1.0, Duration::ZERO, None),
            TraceId::mint(&IdSource::seeded(1)),
        );
        let span = spans.open(trace, || unreachable!("a span that nobody gets"));
        assert!(span.is_none());
        assert_eq!(spans.sampled(trace.as_bytes()), None);
    }
}
