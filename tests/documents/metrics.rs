//! The tables of metrics and spans in doc/operations.md.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};

use crate::{
    markdown,
    server::{Server, flare},
    sources,
};

const DOCUMENT: &str = "doc/operations.md";
const KINDS: [&str; 3] = ["counter", "gauge", "histogram"];

/// A metric's kind and its labels.
type Shape = (String, BTreeSet<String>);

/// What the document lists.
fn listed() -> anyhow::Result<BTreeMap<String, Shape>> {
    let mut listed = BTreeMap::new();
    for row in markdown::rows_of(DOCUMENT, "Metrics")? {
        let [name, kind, labels, what] = &row[..] else {
            bail!("{row:?} has not name, kind, labels and meaning")
        };
        ensure!(!what.is_empty(), "what {name} is, is missing");
        let labels = labels.split(',').map(|it| it.trim().trim_matches('`'));
        let labels = labels.filter(|it| !it.is_empty()).map(str::to_owned);
        let shape = (kind.clone(), labels.collect());
        let twice = listed.insert(name.clone(), shape);
        ensure!(twice.is_none(), "{name} is listed twice");
    }
    Ok(listed)
}

/// The list has every metric that the program sets, as it is set, and no other.
pub(crate) fn every_metric_that_is_set_is_listed() -> anyhow::Result<()> {
    let mut set: BTreeMap<String, Shape> = BTreeMap::new();
    for source in sources::of_the_program()? {
        for (kind, arguments) in KINDS
            .iter()
            .flat_map(|kind| sources::calls(&source.text, kind).map(move |it| (*kind, it)))
        {
            let strings = sources::strings(arguments);
            let name = strings
                .first()
                .filter(|(_, rest)| !rest.starts_with("=>"))
                .map(|(name, _)| (*name).to_owned());
            let name =
                name.with_context(|| format!("{}: {arguments} has no name", source.place))?;
            let labels = strings.iter().filter(|(_, rest)| rest.starts_with("=>"));
            let labels = labels.map(|(label, _)| (*label).to_owned()).collect();
            let shape = (kind.to_owned(), labels);
            let other = set.insert(name.clone(), shape.clone());
            ensure!(
                other.as_ref().is_none_or(|it| *it == shape),
                "{}: {name} is {shape:?} here and {other:?} elsewhere",
                source.place
            );
        }
    }
    let listed = listed()?;
    for (name, shape) in &set {
        ensure!(
            listed.get(name) == Some(shape),
            "{DOCUMENT} lists {name} as {:?}, it is set as {shape:?}",
            listed.get(name)
        );
    }
    let unset: Vec<_> = listed.keys().filter(|it| !set.contains_key(*it)).collect();
    ensure!(unset.is_empty(), "listed and set nowhere: {unset:?}");
    Ok(())
}

/// What a server shows is in the list.
pub(crate) fn what_a_server_shows_is_listed() -> anyhow::Result<()> {
    let server = Server::start()?;
    server.settle()?;
    let sent = flare(server.folder())
        .args(["send", "--user", "alice", "--to", "bob", "counted"])
        .envs(server.variables())
        .output()?;
    ensure!(
        sent.status.success(),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    let shown = server.metrics()?;
    let mut types = BTreeMap::new();
    let listed = listed()?;
    for line in shown.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').context("a type")?;
            types.insert(name, kind);
        } else if !line.is_empty() && !line.starts_with('#') {
            let series = line.split(['{', ' ']).next().unwrap_or_default();
            let name = ["", "_bucket", "_sum", "_count"]
                .iter()
                .find_map(|it| series.strip_suffix(it).filter(|it| types.contains_key(it)))
                .with_context(|| format!("{line} has no type"))?;
            let (kind, labels) = listed
                .get(name)
                .with_context(|| format!("{name} is not listed"))?;
            ensure!(types.get(name) == Some(&kind.as_str()), "{name}: {kind}");
            let shown = labels_of(line);
            ensure!(
                shown.is_subset(&labels.iter().map(String::as_str).collect()),
                "{line}: {labels:?}"
            );
        }
    }
    for busy in [
        "flare_access_gateway_ack_seconds",
        "flare_orchestrator_groups_total",
        "flare_storage_writer_events_total",
        "flare_session_events_total",
        "flare_event_bus_lag",
    ] {
        ensure!(types.contains_key(busy), "{busy} is not shown:\n{shown}");
    }
    Ok(())
}

/// `name{topic="…",group="…",le="1"} 0`: the labels but a bucket's bound.
fn labels_of(line: &str) -> BTreeSet<&str> {
    let inside = line.split_once('{').and_then(|(_, it)| it.split_once('}'));
    inside
        .map(|(labels, _)| labels)
        .unwrap_or_default()
        .split("\",")
        .filter_map(|it| it.split_once('='))
        .map(|(label, _)| label)
        .filter(|it| *it != "le")
        .collect()
}

/// A listed span is one of the program, and a span that is opened is listed.
pub(crate) fn every_span_is_listed() -> anyhow::Result<()> {
    let rows = markdown::rows_of(DOCUMENT, "Trace")?;
    let listed: BTreeSet<_> = rows
        .into_iter()
        .filter_map(|it| it.into_iter().next())
        .collect();
    ensure!(listed.len() > 10, "only {listed:?} are listed");
    let sources = sources::of_the_program()?;
    for name in &listed {
        ensure!(
            sources
                .iter()
                .any(|it| it.text.contains(&format!("{name:?}"))),
            "no span {name:?} is made"
        );
    }
    for source in &sources {
        for arguments in sources::calls(&source.text, "info_span") {
            let strings = sources::strings(arguments);
            let (name, _) = strings.first().context("a span without a name")?;
            ensure!(
                listed.contains(*name),
                "{}: the span {name:?} is not listed",
                source.place
            );
        }
    }
    Ok(())
}
