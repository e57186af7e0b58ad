//! A folder that a later version has written is refused, with words that say so.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use crate::{BINARY, archive, server::Server};

/// A segment's header: magic, version, first offset, size, time, checksum of what is before it.
const VERSION_AT: usize = 8;
const CHECKED: usize = 40;

/// SQLite's, in the data folder.
pub(crate) const DATABASES: [&str; 3] = [
    "session/session.sqlite",
    "online/online.sqlite",
    "gateway/api_keys.sqlite",
];

/// A log whose last segment is of the next version.
pub(crate) async fn log(version: &Path) -> anyhow::Result<()> {
    let copy = archive::unpack(version)?;
    let data = archive::data(&copy);
    let mut segments: Vec<PathBuf> = std::fs::read_dir(data.join("log"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    segments.retain(|it| it.extension().is_some_and(|it| it == "seg"));
    segments.sort();
    ensure!(segments.len() > 1, "several segments: {segments:?}");
    let last = segments.last().context("a segment")?;
    let mut bytes = std::fs::read(last)?;
    bytes[VERSION_AT] += 1;
    let check = crc32c::crc32c(&bytes[..CHECKED]);
    bytes[CHECKED..CHECKED + 4].copy_from_slice(&check.to_le_bytes());
    std::fs::write(last, bytes)?;
    refused(&data, &["log format version 2", "up to 1"])
}

/// Each database with a migration that this version has not.
pub(crate) async fn tables(version: &Path) -> anyhow::Result<()> {
    for file in DATABASES {
        let copy = archive::unpack(version)?;
        let data = archive::data(&copy);
        let database = data.join(file);
        let mut connection = SqliteConnectOptions::new()
            .filename(&database)
            .connect()
            .await
            .with_context(|| file.to_owned())?;
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (99990101000000, 'of a later version', TRUE, x'00', 0)",
        )
        .execute(&mut connection)
        .await?;
        sqlx::Connection::close(connection).await?;
        refused(&data, &[file, "99990101000000", "later version"])?;
    }
    Ok(())
}

fn refused(data: &Path, words: &[&str]) -> anyhow::Result<()> {
    match Server::start(Path::new(BINARY), data, &[]) {
        Ok(_) => Err(anyhow::anyhow!("it started")),
        Err(error) => {
            let said = error.to_string();
            for word in words {
                ensure!(said.contains(word), "{word:?} is not in: {said}");
            }
            Ok(())
        }
    }
}
