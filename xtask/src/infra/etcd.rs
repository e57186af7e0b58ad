//! etcd, of one member.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    ask,
    component::{Component, Recipe, Wish},
    install::{Package, missing_program, program},
    launch::Planned,
    place::text,
    ports::Port,
    state::Invocation,
};

const PROGRAM: &str = "etcd";

pub(super) struct Etcd;

impl Recipe for Etcd {
    fn purpose(&self) -> &'static str {
        "the registry of services"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["http"]
    }

    fn value(&self, addresses: &[&str]) -> String {
        format!("http://{}", addresses.join(","))
    }

    fn missing(&self, _tools: &Path) -> Vec<Package> {
        missing_program(PROGRAM, "etcd-server")
            .into_iter()
            .collect()
    }

    fn plan(&self, wish: &Wish<'_>) -> anyhow::Result<Vec<Planned>> {
        let (clients, peers) = (Port::take()?, Port::take()?);
        let (at, at_peers) = (
            format!("http://{}", clients.address()),
            format!("http://{}", peers.address()),
        );
        let arguments = [
            ("--name", "default".to_owned()),
            ("--data-dir", text(&wish.place.data("etcd"))?),
            ("--listen-client-urls", at.clone()),
            ("--advertise-client-urls", at),
            ("--listen-peer-urls", at_peers.clone()),
            ("--initial-advertise-peer-urls", at_peers.clone()),
            ("--initial-cluster", format!("default={at_peers}")),
        ];
        let start = Invocation {
            program: program(PROGRAM)?,
            arguments: arguments
                .into_iter()
                .flat_map(|(name, value)| [name.to_owned(), value])
                .collect(),
            user: None,
        };
        let ports = vec![clients, peers];
        let planned = Planned::new(wish.place, Component::Etcd, "etcd", start, ports)?;
        Ok(vec![planned])
    }

    fn ask(&self, value: &str) -> anyhow::Result<Option<String>> {
        let said = ask::get(value, "/health")?;
        // "true" in quotes: so it answers.
        let health = field(&said, "health").context("no health is told")?;
        ensure!(health == "true", "not ready: {said}");
        Ok(field(&ask::get(value, "/version")?, "etcdserver"))
    }
}

fn field(said: &str, name: &str) -> Option<String> {
    let said: Value = serde_json::from_str(said).ok()?;
    match said.get(name)? {
        Value::String(it) => Some(it.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_are_read_as_text() {
        let said = r#"{"health":"true","reason":"","leader":1}"#;
        assert_eq!(field(said, "health").as_deref(), Some("true"));
        assert_eq!(field(said, "leader").as_deref(), Some("1"));
        assert_eq!(field(said, "none"), None);
        assert_eq!(field("<html>", "health"), None);
    }
}
