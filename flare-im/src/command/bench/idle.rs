//! Connections that do nothing.

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::{
    link::{Link, Server, Tokens},
    memory::resident_bytes,
};
use crate::{cli::BenchServer, command::progress, output::say};

/// Connects at once.
const CONNECTING: usize = 64;

#[derive(Debug, Serialize)]
struct Report {
    connections: u32,
    held_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_bytes_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_bytes_with: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_connection: Option<u64>,
}

pub(super) async fn run(
    count: u32,
    pid: Option<u32>,
    seconds: u64,
    server: &BenchServer,
) -> anyhow::Result<()> {
    let needed = u64::from(count) + 1_000;
    let open_files = rlimit::increase_nofile_limit(needed)?;
    anyhow::ensure!(
        open_files >= needed,
        "{count} connections need {needed} open files, the hard limit is {open_files}"
    );
    let tokens = Tokens::open(&server.data.folder)?;
    let at = Server::of(server)?;
    let before = pid.map(resident_bytes).transpose()?;
    let connecting = progress::counted("connecting", count.into())?;
    let links: Vec<Link> = stream::iter(0..count)
        .map(|number| {
            let (tokens, at, connecting) = (&tokens, &at, &connecting);
            async move {
                // Ten devices a user at most.
                let token = tokens.mint(&format!("bench-idle-{}", number / 10))?;
                let link = Link::open(at, token, &format!("device-{}", number % 10)).await?;
                connecting.inc(1);
                anyhow::Ok(link)
            }
        })
        .buffer_unordered(CONNECTING)
        .try_collect()
        .await?;
    connecting.finish_and_clear();
    progress::seconds("holding, in seconds", seconds).await?;
    let with = pid.map(resident_bytes).transpose()?;
    let per_connection = before
        .zip(with)
        .map(|(before, with)| with.saturating_sub(before) / u64::from(count));
    let report = Report {
        connections: count,
        held_s: seconds,
        server_bytes_before: before,
        server_bytes_with: with,
        bytes_per_connection: per_connection,
    };
    drop(links);
    if server.json {
        say!("{}", serde_json::to_string(&report)?);
    } else {
        say!("{count} idle connections held for {seconds} s");
        if let Some(bytes) = per_connection {
            say!("resident memory of the server: {bytes} bytes a connection");
        }
    }
    Ok(())
}
