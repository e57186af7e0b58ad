//! Spans at the collector, and what is demanded of them.

use std::{collections::BTreeSet, fmt::Write, time::Duration};

use anyhow::{Context, ensure};
use opentelemetry_proto::tonic::{
    common::v1::any_value::Value,
    trace::v1::{Span, status::StatusCode},
};

use crate::collector::{Collected, Collector};

/// No attribute is longer: ids, names, numbers.
const LONGEST_ATTRIBUTE: usize = 256;

/// All spans of a server that has ended.
pub(crate) struct Gathered(Vec<Collected>);

/// Those of one trace.
pub(crate) struct Trace<'a> {
    id: String,
    spans: Vec<&'a Span>,
}

impl Gathered {
    /// Of a server that has sent what waited.
    pub(crate) fn all_of(mut collector: Collector) -> Self {
        Self(collector.take())
    }

    fn spans(&self) -> impl Iterator<Item = &Span> {
        self.0.iter().map(|it| &it.span)
    }

    /// Those of a trace.
    pub(crate) fn trace(&self, id: &str) -> Trace<'_> {
        let of_it = |span: &&Span| hex(&span.trace_id) == id;
        Trace {
            id: id.to_owned(),
            spans: self.spans().filter(of_it).collect(),
        }
    }

    /// The processes that made them tell themselves apart, and say which roles they run. Of several with the same roles one may have had nothing to do.
    pub(crate) fn are_of(&self, processes: &[String]) -> anyhow::Result<()> {
        let origins: BTreeSet<_> = self.0.iter().map(|it| &it.process).collect();
        let instances: BTreeSet<_> = origins.iter().map(|it| &it.instance).collect();
        let roles: BTreeSet<_> = origins.iter().map(|it| it.roles.join(",")).collect();
        let wanted: BTreeSet<_> = processes.iter().cloned().collect();
        ensure!(
            (wanted.len()..=processes.len()).contains(&instances.len()) && roles == wanted,
            "want {processes:?}, not {origins:?}"
        );
        Ok(())
    }

    /// Each is of a process that says its name, that of the service if it runs one alone, of a trace, ends after it begins, and has attributes of bounded size.
    pub(crate) fn are_whole(&self) -> anyhow::Result<()> {
        for Collected { process, span } in &self.0 {
            let longest = span.attributes.iter().filter_map(text).map(str::len).max();
            let name = match process.roles.as_slice() {
                [service] => service,
                _ => "flare",
            };
            let whole = process.service == name
                && span.trace_id.len() == 16
                && span.start_time_unix_nano <= span.end_time_unix_nano
                && longest.unwrap_or_default() <= LONGEST_ATTRIBUTE;
            ensure!(whole, "{process:?}: {span:?}");
        }
        Ok(())
    }

    /// Nothing else has a span while no trace is sampled.
    pub(crate) fn all_failed_or_took(&self, slow: Duration) -> anyhow::Result<()> {
        for span in self.spans() {
            let took = span.end_time_unix_nano - span.start_time_unix_nano;
            ensure!(
                has_failed(span) || u128::from(took) >= slow.as_nanos(),
                "{span:?}"
            );
        }
        Ok(())
    }

    /// There are spans of this name, and what other services did for one of them is part of it.
    pub(crate) fn calls_are_served(&self, name: &str) -> anyhow::Result<()> {
        let mut calls = self.spans().filter(|it| it.name == name);
        let served = calls.any(|call| {
            self.spans()
                .any(|it| it.name == "rpc" && it.parent_span_id == call.span_id)
        });
        ensure!(served, "no rpc hangs on a span {name:?}");
        Ok(())
    }
}

impl<'a> Trace<'a> {
    fn named(&self, name: &str) -> impl Iterator<Item = &'a Span> {
        self.spans.iter().copied().filter(move |it| it.name == name)
    }

    /// There is a span of this name.
    pub(crate) fn has(&self, name: &str) -> anyhow::Result<&'a Span> {
        let names: Vec<_> = self.spans.iter().map(|it| it.name.as_str()).collect();
        self.named(name)
            .next()
            .with_context(|| format!("no span {name:?} in trace {}: {names:?}", self.id))
    }

    /// There is one of this name, of something that failed.
    pub(crate) fn has_failed(&self, name: &str) -> anyhow::Result<()> {
        self.has(name)?;
        ensure!(
            self.named(name).any(has_failed),
            "{name:?} of trace {} is not said to have failed",
            self.id
        );
        Ok(())
    }

    /// A span says which event it is about.
    pub(crate) fn names_event(
        &self,
        name: &str,
        conversation: &str,
        seq: u64,
        message_id: &str,
    ) -> anyhow::Result<()> {
        let span = self.has(name)?;
        let number = span.attributes.iter().find(|it| it.key == "seq");
        let number = number.and_then(|it| it.value.as_ref()?.value.clone());
        let texts: Vec<_> = span.attributes.iter().filter_map(text).collect();
        ensure!(
            texts.contains(&conversation)
                && texts.contains(&message_id)
                && number == Some(Value::IntValue(i64::try_from(seq)?)),
            "{span:?} is not about seq {seq} of {conversation}"
        );
        Ok(())
    }

    /// All spans of a name, if there are any, are parts of the one of another.
    pub(crate) fn hangs_on(&self, name: &str, parent: &str) -> anyhow::Result<()> {
        let parent = self.has(parent)?;
        for span in self.named(name) {
            ensure!(
                span.parent_span_id == parent.span_id,
                "{span:?} does not hang on {parent:?}"
            );
        }
        Ok(())
    }

    /// A call of this method was served for a span of the name `caller`.
    pub(crate) fn serves(&self, method: &str, caller: &str) -> anyhow::Result<()> {
        self.has(caller)?;
        let served = self.named("rpc").any(|it| {
            let of_method = it.attributes.iter().filter_map(text).any(|it| it == method);
            of_method
                && self
                    .named(caller)
                    .any(|caller| caller.span_id == it.parent_span_id)
        });
        ensure!(
            served,
            "{method} was not served for {caller:?}: {:?}",
            self.spans
        );
        Ok(())
    }
}

fn has_failed(span: &Span) -> bool {
    let status = span.status.as_ref();
    status.is_some_and(|it| it.code() == StatusCode::Error)
}

fn text(attribute: &opentelemetry_proto::tonic::common::v1::KeyValue) -> Option<&str> {
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
