//! toxiproxy: latency, cuts and half-open connections. It begins without a proxy; tests make theirs.

use std::path::{Path, PathBuf};

use anyhow::ensure;

use super::{
    ask,
    component::{Component, Recipe, Wish},
    install::{self, Package, missing_program},
    launch::Planned,
    place::text,
    ports::Port,
    state::Invocation,
};

const VERSION: &str = "2.5.0";
const MODULE: &str = "github.com/Shopify/toxiproxy/v2/cmd/server";
/// As the module calls it.
const PROGRAM: &str = "server";

pub(super) struct Toxiproxy;

impl Recipe for Toxiproxy {
    fn purpose(&self) -> &'static str {
        "faults of the network"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["http"]
    }

    fn value(&self, addresses: &[&str]) -> String {
        format!("http://{}", addresses.join(","))
    }

    fn missing(&self, tools: &Path) -> Vec<Package> {
        if folder(tools).exists() {
            return Vec::new();
        }
        missing_program("go", "golang-go").into_iter().collect()
    }

    fn install(&self, tools: &Path) -> anyhow::Result<()> {
        install::folder(
            &folder(tools),
            &format!("toxiproxy {VERSION} by go"),
            self.purpose(),
            |new| {
                let log = tools.join("toxiproxy.log");
                let module = format!("{MODULE}@v{VERSION}");
                let into = text(new)?;
                install::download(
                    "go",
                    &["install", "-trimpath", &module],
                    &[("GOBIN", &into), ("CGO_ENABLED", "0")],
                    &log,
                )?;
                ensure!(new.join(PROGRAM).exists(), "go has built no {PROGRAM}");
                Ok(())
            },
        )
    }

    fn plan(&self, wish: &Wish<'_>) -> anyhow::Result<Vec<Planned>> {
        let port = Port::take()?;
        let start = Invocation {
            program: folder(wish.place.tools()).join(PROGRAM),
            arguments: vec![
                "-host".to_owned(),
                "127.0.0.1".to_owned(),
                "-port".to_owned(),
                port.number().to_string(),
            ],
            user: None,
        };
        let component = Component::Toxiproxy;
        let planned = Planned::new(wish.place, component, "toxiproxy", start, vec![port])?;
        Ok(vec![planned.of_version(VERSION)])
    }

    fn ask(&self, value: &str) -> anyhow::Result<Option<String>> {
        // A build without a release's flags calls its version "git".
        ask::get(value, "/version").map(|_| None)
    }
}

fn folder(tools: &Path) -> PathBuf {
    tools.join(format!("toxiproxy-{VERSION}"))
}
