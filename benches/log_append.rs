//! Durable appends: so many tasks append records of 256 bytes one after the other, each waiting for its sync. What waits while one sync runs shares
//! the next. The log is read back at the end: every record must be there, once, at the offset that its append was told.
//!
//! `cargo bench -p flare-im --bench log_append [FOLDER]`; the folder decides which disk is measured.

use std::{
    io::Write,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use flare_server_core::log_file::{AsyncLog, AsyncLogOptions, DiskLayer};
use tokio::task::JoinSet;

const RECORD_BYTES: usize = 256;
const FOR: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os()
        .skip(1)
        .find(|it| !it.to_string_lossy().starts_with("--"))
        .map_or_else(|| PathBuf::from("."), PathBuf::from);
    for tasks in [1, 10, 100, 1_000] {
        let folder = tempfile::tempdir_in(&folder)?;
        let log = Arc::new(AsyncLog::open(
            Arc::new(DiskLayer),
            folder.path(),
            AsyncLogOptions::default(),
        )?);
        let begun = Instant::now();
        let mut appending = JoinSet::new();
        for task in 0..tasks {
            appending.spawn(append(Arc::clone(&log), task, begun));
        }
        let mut told = Vec::new();
        while let Some(of_task) = appending.join_next().await {
            told.extend(of_task??);
        }
        let per_s = told.len() as f64 / begun.elapsed().as_secs_f64();
        check(&log, told).await?;
        writeln!(
            std::io::stdout(),
            "{tasks:>5} waiting: {per_s:>9.0} records/s, each durable and read back"
        )?;
    }
    Ok(())
}

async fn append(
    log: Arc<AsyncLog>,
    task: u64,
    begun: Instant,
) -> anyhow::Result<Vec<(u64, Bytes)>> {
    let mut told = Vec::new();
    while begun.elapsed() < FOR {
        let mut record = vec![b'x'; RECORD_BYTES];
        let name = format!("{task}/{}", told.len());
        record[..name.len()].copy_from_slice(name.as_bytes());
        let record = Bytes::from(record);
        let offset = log.append(vec![record.clone()]).await?;
        told.push((offset, record));
    }
    Ok(told)
}

async fn check(log: &AsyncLog, mut told: Vec<(u64, Bytes)>) -> anyhow::Result<()> {
    told.sort_unstable();
    let mut at = log.reader().floor();
    let mut told = told.into_iter();
    while at < log.reader().end() {
        for (offset, record) in log.read(at, 1 << 20).await?.records {
            let (expected, appended) = told.next().context("the log has more than was appended")?;
            ensure!(
                offset == expected && record == appended,
                "the record at offset {offset} is not what was appended there"
            );
            at = offset + 1;
        }
    }
    ensure!(told.next().is_none(), "the log lacks what was appended");
    Ok(())
}
