//! The id that a message bears through all services.

use std::{fmt, str::FromStr};

use crate::clock::IdSource;

/// A trace id as W3C Trace Context has it: 16 bytes, not all zero, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Why a text is no trace id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no trace id: want 32 lower-case hexadecimal digits, not all zero")]
pub struct TraceIdError {
    /// The text, cut to 64 characters.
    pub text: String,
}

impl TraceId {
    /// A random one.
    pub fn mint(ids: &IdSource) -> Self {
        loop {
            if let Some(id) = Self::from_bytes(ids.random_bytes()) {
                return id;
            }
        }
    }

    /// None: all zero.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// None: not 16 bytes, or all zero.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Self::from_bytes(bytes.try_into().ok()?)
    }

    /// The bytes, in the order in which they are written.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The trace id of a `traceparent` header, of the version known here or a later one.
    pub fn from_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let [version, trace, parent, flags] =
            [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let digits = |text: &str, count| text.len() == count && text.bytes().all(is_digit);
        let known =
            digits(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
        if !known || !digits(parent, 16) || parent.bytes().all(|it| it == b'0') || !digits(flags, 2)
        {
            return None;
        }
        trace.parse().ok()
    }
}

/// A share of all traces: those whose ids lie below a bound, by OpenTelemetry's rule for ratios of trace ids, so that each process decides alike.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share(u64);

impl Share {
    /// From 0, no trace, to 1, every one.
    pub(super) fn of(ratio: f64) -> Self {
        Self((ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64)
    }

    /// Whether the trace is part of it.
    pub(super) fn has(self, trace: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.0
    }
}

/// W3C Trace Context allows lower case only.
fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl FromStr for TraceId {
    type Err = TraceIdError;

    fn from_str(text: &str) -> Result<Self, TraceIdError> {
        let digits = text.len() == 32 && text.bytes().all(is_digit);
        let id = digits
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten();
        id.and_then(|it| Self::from_bytes(it.to_be_bytes()))
            .ok_or_else(|| TraceIdError {
                text: text.chars().take(64).collect(),
            })
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn what_is_no_trace_id_is_refused() {
        let upper = TEXT.to_uppercase();
        for text in [
            "",
            "0af7",
            &upper,
            &TEXT.replace('f', "g"),
            &"0".repeat(32),
            &"+".repeat(32),
            &format!("{TEXT}0"),
        ] {
            assert!(text.parse::<TraceId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_traceparent_gives_its_trace_id() {
        let id = TEXT.parse::<TraceId>().unwrap();
        let later = format!("01-{TEXT}-b7ad6b7169203331-01-more");
        for header in [&format!("00-{TEXT}-b7ad6b7169203331-00"), &later] {
            assert_eq!(TraceId::from_traceparent(header), Some(id), "{header}");
        }
        let (none, more) = (
            "0".repeat(16),
            format!("00-{TEXT}-b7ad6b7169203331-01-more"),
        );
        for header in [
            TEXT,
            "",
            &format!("ff-{TEXT}-b7ad6b7169203331-01"),
            &format!("00-{TEXT}-{none}-01"),
            &more,
        ] {
            assert_eq!(TraceId::from_traceparent(header), None, "{header}");
        }
    }

    #[test]
    fn one_in_a_hundred_is_one_in_a_hundred() {
        let ids = IdSource::seeded(7);
        let sampled = (0..100_000)
            .filter(|_| Share::of(0.01).has(TraceId::mint(&ids)))
            .count();
        assert!((800..1_200).contains(&sampled), "{sampled}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes: [u8; 16]) {
            let id = TraceId::from_bytes(bytes);
            prop_assert_eq!(id.map(|it| it.to_string().parse::<TraceId>()), id.map(Ok));
        }

        #[test]
        fn any_text_is_a_trace_id_or_an_error(text: String) {
            let _ = (text.parse::<TraceId>(), TraceId::from_traceparent(&text));
        }

        #[test]
        fn the_decision_is_the_one_of_opentelemetry(bytes: [u8; 16], ratio in 0.0..=1.0) {
            let theirs = Sampler::TraceIdRatioBased(ratio).should_sample(
                None,
                opentelemetry::TraceId::from_bytes(bytes),
                "any",
                &opentelemetry::trace::SpanKind::Internal,
                &[],
                &[],
            );
            let ours = Share::of(ratio).has(TraceId(bytes));
            prop_assert_eq!(ours, theirs.decision == SamplingDecision::RecordAndSample);
        }
    }
}
