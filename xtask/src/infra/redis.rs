//! Redis: nothing of it survives a restart, as nothing in it is owed to anybody.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
};

use anyhow::{bail, ensure};

use super::{
    ask,
    component::{Component, Recipe, Wish},
    install::{Package, missing_program, program},
    launch::Planned,
    place::text,
    ports::Port,
    state::Invocation,
    used::authority,
};

const PROGRAM: &str = "redis-server";
/// `PING` and `INFO server`.
const QUESTION: &[u8] = b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n";
const MOST_BYTES: u64 = 64 << 10;

pub(super) struct Redis;

impl Recipe for Redis {
    fn purpose(&self) -> &'static str {
        "presence, leases, caches and rate limits"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["redis"]
    }

    fn value(&self, addresses: &[&str]) -> String {
        format!("redis://{}", addresses.join(","))
    }

    fn missing(&self, _tools: &Path) -> Vec<Package> {
        missing_program(PROGRAM, "redis-server")
            .into_iter()
            .collect()
    }

    fn plan(&self, wish: &Wish<'_>) -> anyhow::Result<Vec<Planned>> {
        let port = Port::take()?;
        let start = Invocation {
            program: program(PROGRAM)?,
            arguments: vec![
                "--port".to_owned(),
                port.number().to_string(),
                "--bind".to_owned(),
                "127.0.0.1".to_owned(),
                "--dir".to_owned(),
                text(&wish.place.data("redis"))?,
                "--save".to_owned(),
                String::new(),
                "--appendonly".to_owned(),
                "no".to_owned(),
            ],
            user: None,
        };
        let planned = Planned::new(wish.place, Component::Redis, "redis", start, vec![port])?;
        Ok(vec![planned])
    }

    fn ask(&self, value: &str) -> anyhow::Result<Option<String>> {
        let mut stream = ask::connect(authority(value))?;
        stream.write_all(QUESTION)?;
        version(stream)
    }
}

/// Reads the two answers. One that wants a password first is ready, and tells no version.
fn version(answers: impl Read) -> anyhow::Result<Option<String>> {
    let mut lines = BufReader::new(answers.take(MOST_BYTES)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    if first.starts_with("-NOAUTH") {
        return Ok(None);
    }
    ensure!(first == "+PONG", "not ready: {first:?}");
    for line in lines {
        let line = line?;
        if let Some(version) = line.strip_prefix("redis_version:") {
            return Ok(Some(version.to_owned()));
        }
        if line.starts_with('-') {
            return Ok(None);
        }
    }
    bail!("no version is told")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_told_by_one_that_is_ready() {
        let answers =
            b"+PONG\r\n$60\r\n# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n";
        assert_eq!(version(&answers[..]).unwrap().as_deref(), Some("7.0.15"));
    }

    #[test]
    fn one_that_loads_is_not_ready_and_one_with_a_password_is() {
        version(&b"-LOADING Redis is loading the dataset in memory\r\n"[..]).unwrap_err();
        version(&b""[..]).unwrap_err();
        let answers = b"-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n";
        assert_eq!(version(&answers[..]).unwrap(), None);
    }
}
