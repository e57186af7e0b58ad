//! `--use`: components that run already.

use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::component::Component;

/// A component that is neither started nor stopped, only asked whether it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Used {
    pub(super) component: Component,
    /// As host:port.
    pub(super) addresses: Vec<String>,
    /// Of its variable.
    pub(super) value: String,
}

impl FromStr for Used {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, place) = text
            .split_once('=')
            .context("COMPONENT=ADDRESS is expected, such as redis=127.0.0.1:6379")?;
        let Ok(component) = Component::from_str(name, false) else {
            let names: Vec<&str> = Component::ALL.iter().map(|it| it.name()).collect();
            bail!("no component {name:?}: there are {}", names.join(", "));
        };
        let recipe = component.recipe();
        if let Some((scheme, _)) = place.split_once("://") {
            let schemes = recipe.schemes();
            ensure!(
                schemes.contains(&scheme),
                "no {name} is reached by {scheme:?}: {}",
                match schemes {
                    [] => "host:port is expected".to_owned(),
                    _ => format!("{} or host:port is expected", schemes.join(", ")),
                }
            );
            let address = authority(place);
            is_address(address)?;
            return Ok(Self {
                component,
                addresses: vec![address.to_owned()],
                value: place.to_owned(),
            });
        }
        let addresses: Vec<&str> = place.split(',').collect();
        ensure!(
            addresses.len() == 1 || component == Component::Kafka,
            "one address is expected for {name}"
        );
        addresses.iter().try_for_each(|it| is_address(it))?;
        Ok(Self {
            component,
            value: recipe.value(&addresses),
            addresses: addresses.into_iter().map(str::to_owned).collect(),
        })
    }
}

/// The host:port of a whole address.
pub(super) fn authority(value: &str) -> &str {
    let rest = value.split_once("://").map_or(value, |(_, it)| it);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let all = &rest[..end];
    all.rsplit_once('@').map_or(all, |(_, it)| it)
}

fn is_address(text: &str) -> anyhow::Result<()> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && port.parse::<u16>().is_ok_and(|it| it > 0)
    });
    ensure!(
        good,
        "host:port is expected, such as 127.0.0.1:6379, not {text:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Component, Vec<String>, String) {
        let used: Used = text.parse().unwrap();
        (used.component, used.addresses, used.value)
    }

    fn one(address: &str) -> Vec<String> {
        vec![address.to_owned()]
    }

    #[test]
    fn an_address_becomes_what_tests_are_told() {
        let value = "postgres://postgres@db:5432/postgres".to_owned();
        assert_eq!(
            read("postgres=db:5432"),
            (Component::Postgres, one("db:5432"), value)
        );
        let value = "http://[::1]:2379".to_owned();
        assert_eq!(
            read("etcd=[::1]:2379"),
            (Component::Etcd, one("[::1]:2379"), value)
        );
    }

    #[test]
    fn kafka_may_have_many_addresses_and_no_other() {
        let addresses = vec!["a:9092".to_owned(), "b:9092".to_owned()];
        assert_eq!(
            read("kafka=a:9092,b:9092"),
            (Component::Kafka, addresses, "a:9092,b:9092".to_owned())
        );
        "redis=a:6379,b:6379".parse::<Used>().unwrap_err();
    }

    #[test]
    fn a_whole_address_is_passed_on_as_it_is() {
        let url = "postgres://flare:p@ss@db.example:5432/im?sslmode=disable";
        assert_eq!(
            read(&format!("postgres={url}")),
            (Component::Postgres, one("db.example:5432"), url.to_owned())
        );
        let url = "redis://:secret@cache:6379/2";
        assert_eq!(
            read(&format!("redis={url}")),
            (Component::Redis, one("cache:6379"), url.to_owned())
        );
    }

    #[test]
    fn what_cannot_be_one_is_refused_by_what_is_wrong() {
        for (text, wrong) in [
            ("redis", "COMPONENT=ADDRESS"),
            ("mongo=a:1", "no component \"mongo\""),
            ("redis=a", "host:port"),
            ("redis=:6379", "host:port"),
            ("redis=a:0", "host:port"),
            ("redis=a:99999", "host:port"),
            ("redis=http://a:1", "redis or host:port"),
            ("kafka=http://a:1", "host:port"),
            ("postgres=postgres://db/im", "host:port"),
        ] {
            let error = text.parse::<Used>().unwrap_err().to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }
}
