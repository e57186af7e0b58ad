//! Pairs: one user writes, as fast as his acks come or at a rate; the other receives.

use anyhow::ensure;
use serde::Serialize;

use super::{
    link::{Server, Tokens},
    pairs::{Load, Measured, measure, room_for},
};
use crate::{cli::BenchServer, output::say};

#[derive(Debug, Serialize)]
struct Report {
    in_flight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    bytes: u32,
    seconds: u64,
    #[serde(flatten)]
    measured: Measured,
}

pub(super) async fn run(load: Load, server: &BenchServer) -> anyhow::Result<()> {
    room_for(load.pairs)?;
    let tokens = Tokens::open(&server.data.folder)?;
    let report = Report {
        in_flight: load.in_flight,
        rate: load.rate,
        bytes: load.bytes,
        seconds: load.seconds,
        measured: measure(load, &tokens, &Server::of(server)?).await?,
    };
    if server.json {
        say!("{}", serde_json::to_string(&report)?);
    } else {
        let pace = load.rate.map(|it| format!(", {it} msg/s due"));
        say!(
            "{} pairs, {} in flight each{}, {} bytes, {} s",
            load.pairs,
            load.in_flight,
            pace.unwrap_or_default(),
            load.bytes,
            load.seconds
        );
        report.measured.print();
    }
    ensure!(report.measured.kept, "the checker found a broken promise");
    Ok(())
}
