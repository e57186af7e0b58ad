//! The section `telemetry`.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

crate::choice! {
    /// How log lines look.
    pub enum LogFormat {
        /// Text on a terminal, JSON elsewhere.
        Auto = "auto",
        /// For people.
        Text = "text",
        /// For machines.
        Json = "json",
    }
}

crate::section! {
    /// Log lines, spans and metrics.
    pub struct TelemetryConfig {
        /// Log lines of this level and above: `error`, `warn`, `info`, `debug` or `trace`, or directives such as `info,flare_session=debug`. `RUST_LOG` takes its place.
        pub level: String = "info,opentelemetry=warn".to_owned(),
        /// How log lines look: `auto` is text on a terminal and JSON elsewhere.
        pub format: LogFormat = LogFormat::Auto,
        /// The OTLP collector that gets the spans, by gRPC without TLS, such as `http://127.0.0.1:4317`. Not set: none are made.
        pub otlp_endpoint: Option<String> = None,
        /// The share of traces whose spans are made, from 0 to 1. What fails or is slow gets its span in any case.
        pub sample_ratio: f64 = 0.01,
        /// What takes as long is slow: it gets a log line and a span, sampled or not.
        pub slow_ms: u64 = 500,
    }
    validate(telemetry, at) {
        at.require((0.0..=1.0).contains(&telemetry.sample_ratio), "sample_ratio", "must be from 0 to 1");
        at.require(is_level(&telemetry.level), "level", "want a level such as info, or directives such as info,flare_session=debug");
        if let Some(endpoint) = &telemetry.otlp_endpoint {
            at.require(is_endpoint(endpoint), "otlp_endpoint", "want http:// and an address, such as http://127.0.0.1:4317");
        }
    }
}

/// A word alone would be taken for the name of a module, though it is nearly always a level spelled wrong.
fn is_level(text: &str) -> bool {
    let words_are_levels = text
        .split(',')
        .all(|it| it.contains(['=', '[', ':', '_']) || it.trim().parse::<LevelFilter>().is_ok());
    words_are_levels && EnvFilter::try_new(text).is_ok()
}

fn is_endpoint(text: &str) -> bool {
    text.parse::<http::Uri>()
        .is_ok_and(|it| it.scheme_str() == Some("http") && it.host().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::mistakes_of;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(mistakes_of(&TelemetryConfig::default()), []);
    }

    #[test]
    fn each_rule_names_its_key() {
        let wrong = TelemetryConfig {
            level: "inof".to_owned(),
            otlp_endpoint: Some("https://collector:4317".to_owned()),
            sample_ratio: 1.5,
            ..TelemetryConfig::default()
        };
        let keys: Vec<_> = mistakes_of(&wrong)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(keys, ["sample_ratio", "level", "otlp_endpoint"]);
    }

    #[test]
    fn levels_may_be_given_by_module() {
        for level in [
            "warn",
            "info,flare_session=debug",
            "off",
            "flare_session::domain",
        ] {
            assert!(is_level(level), "{level}");
        }
    }
}
