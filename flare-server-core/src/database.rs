//! A SQLite file of the data folder that was there before is there again, whole, or is refused by name.
//!
//! SQLite makes what is missing, and takes what is left of a damaged write-ahead log for all there was. So the folder's inventory says of
//! each database what was left of it: after a clean stop its size and checksum; while it is open, the same as of its opening, and a mark
//! that is written into the file itself and rises with each opening. After a stop that was not clean the log is held against what the
//! processes of the database shared in memory, and SQLite looks through all pages if any may have changed since the opening.

mod wal;

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqlx::{
    ConnectOptions, Connection,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous},
};

use crate::inventory::{Hold, InventoryError, Listed, sync_folder};

/// How long a connection waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Where SQLite keeps the number that programs may give to a file.
const MARK_AT: usize = 60;
/// The header of a database.
const HEADER: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Why a database is not opened. Names the file.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It is not what was left there, or the inventory is damaged.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// SQLite refuses it.
    #[error("{}: {source}", file.display())]
    Sqlite {
        /// The database.
        file: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// The system does not allow it.
    #[error("{}: {source}", file.display())]
    Io {
        /// Of what.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A database that this process has open, maybe beside others. Dropping it without `close` is like a kill: the next process looks closer.
#[derive(Debug)]
pub struct DatabaseFile {
    listed: Listed,
    shared: Mutex<Option<Hold>>,
}

/// The entry of a database.
#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    /// What the file may bear as its mark: two while one takes the other's place.
    marks: Vec<u32>,
    /// What the file was when it was closed, or opened; None: it was not alone then.
    seal: Option<Seal>,
    /// Since when the machine ran that opened it; None: it was closed.
    open_since_boot: Option<String>,
}

/// A file's content.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Seal {
    bytes: u64,
    crc32c: u32,
}

impl DatabaseFile {
    /// Checks and opens the database `name` of the data folder `data`, and makes it if it never was there.
    ///
    /// # Errors
    /// If it is not what was left there, or the system or SQLite does not allow it.
    pub async fn open(data: &Path, name: &str) -> Result<Self, DatabaseError> {
        let listed = Listed::new(data, name);
        let path = listed.path();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .and_then(|()| sync_folder(folder))
                .map_err(failed(folder))?;
        }
        loop {
            if let Some(hold) = listed.try_hold()? {
                prepare(&listed, &hold).await?;
                hold.release().map_err(failed(&path))?;
            }
            let waiting = listed.clone();
            let shared = tokio::task::spawn_blocking(move || waiting.share())
                .await
                .map_err(|error| failed(&path)(io::Error::other(error)))??;
            let is_open = listed
                .entry::<Entry>()?
                .is_some_and(|it| it.open_since_boot.is_some());
            // Whoever had it open may have closed it before it was shared with this process.
            if is_open {
                return Ok(Self {
                    listed,
                    shared: Mutex::new(Some(shared)),
                });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.listed.path()
    }

    /// How to connect to it: each commit is on disk when it returns.
    pub fn options(&self) -> SqliteConnectOptions {
        options(&self.listed.path())
    }

    /// Says what was left, once all connections are closed. The last of several processes does.
    pub async fn close(&self) {
        let shared = self
            .shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(shared) = shared else { return };
        let listed = self.listed.clone();
        let sealed = tokio::task::spawn_blocking(move || {
            shared.release().map_err(failed(&listed.path()))?;
            seal(&listed)
        })
        .await;
        let error = match sealed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        // It is whole all the same: the next opening looks closer.
        tracing::warn!(file = %self.path().display(), error, "a database is closed without a note of what was left");
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        let shared = self
            .shared
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // Connections that nobody closed end some time later, and write then: until the process ends nobody else may look.
        std::mem::forget(shared.take());
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
}

/// Checks the file, makes it if it is new, and marks it as opened. Nobody else has it open.
async fn prepare(listed: &Listed, hold: &Hold) -> Result<(), DatabaseError> {
    let path = listed.path();
    let entry = listed.entry::<Entry>()?;
    let looks_closer = {
        let (listed, entry) = (listed.clone(), entry.as_ref().map(Left::of));
        tokio::task::spawn_blocking(move || check(&listed, entry))
            .await
            .map_err(|error| failed(&path)(io::Error::other(error)))??
    };
    let earlier = entry.map_or_else(Vec::new, |it| it.marks);
    let mark = earlier.iter().max().map_or(1, |it| it % 0x7fff_ffff + 1);
    let both = earlier.into_iter().chain([mark]).collect::<Vec<_>>();
    let is_listed = both.len() > 1;
    let mut entry = Entry {
        marks: both,
        seal: None,
        open_since_boot: Some(boot_id()),
    };
    if is_listed {
        listed.keep(hold, &entry)?;
    }
    let marked = set_mark(&path, mark, looks_closer).await;
    marked.map_err(|error| refusal(listed, error))?;
    sync_folder(&path).map_err(failed(&path))?;
    if is_alone(&path).map_err(failed(&path))? && read_mark(&path)? == Some(mark) {
        entry.marks = vec![mark];
        entry.seal = Some(seal_of(&path).map_err(failed(&path))?);
    }
    Ok(listed.keep(hold, &entry)?)
}

/// What an entry says of the file, for the check.
struct Left {
    marks: Vec<u32>,
    seal: Option<Seal>,
    is_closed: bool,
    /// Whether the machine has run ever since.
    is_same_boot: bool,
}

impl Left {
    fn of(entry: &Entry) -> Self {
        let boot = boot_id();
        Self {
            marks: entry.marks.clone(),
            seal: entry.seal,
            is_closed: entry.open_since_boot.is_none(),
            is_same_boot: !boot.is_empty() && entry.open_since_boot.as_ref() == Some(&boot),
        }
    }
}

/// Holds the file against its entry. Answers whether SQLite has to look through it.
fn check(listed: &Listed, left: Option<Left>) -> Result<bool, DatabaseError> {
    let path = listed.path();
    let log = beside(&path, "-wal");
    let bytes = match fs::metadata(&path) {
        Ok(found) => Some(found.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&path)(error)),
    };
    let Some(left) = left else {
        // Of a version without inventory, or never made.
        return match wal::read(&log, None).map_err(failed(&log))? {
            wal::Wal::Lost(what) => Err(listed.file_not_as_left(log, what).into()),
            wal::Wal::Whole { .. } => Ok(bytes.is_some_and(|it| it > 0)),
        };
    };
    match bytes {
        None => return Err(listed.not_as_left("is missing").into()),
        Some(0) => return Err(listed.not_as_left("is empty").into()),
        Some(_) => {}
    }
    if left.is_closed {
        if !is_alone(&path).map_err(failed(&log))? {
            let what = "lies beside a database that was closed and needs none";
            return Err(listed.file_not_as_left(log, what).into());
        }
        if left.seal != Some(seal_of(&path).map_err(failed(&path))?) {
            let what = "is not as it was closed: it is damaged, an older copy, or another's";
            return Err(listed.not_as_left(what).into());
        }
        return Ok(false);
    }
    let index = left.is_same_boot.then(|| beside(&path, "-shm"));
    let checkpointed = match wal::read(&log, index.as_deref()).map_err(failed(&log))? {
        wal::Wal::Lost(what) => return Err(listed.file_not_as_left(log, what).into()),
        wal::Wal::Whole { checkpointed } => checkpointed,
    };
    match read_mark(&path)? {
        None => return Err(listed.not_as_left("is no database").into()),
        Some(mark) if left.marks.contains(&mark) => {}
        Some(mark) => {
            let is_older = left.marks.iter().all(|it| mark < *it);
            let what = if is_older {
                "is an older copy"
            } else {
                "is another than the one that was here"
            };
            return Err(listed.not_as_left(what).into());
        }
    }
    let Some(seal) = left.seal else {
        return Ok(true);
    };
    let is_as_opened = seal_of(&path).map_err(failed(&path))? == seal;
    if !is_as_opened && !checkpointed {
        let what = "is not as it was opened: it is damaged, an older copy, or another's";
        return Err(listed.not_as_left(what).into());
    }
    Ok(!is_as_opened)
}

/// Writes the mark into the file itself, not only into its log.
async fn set_mark(path: &Path, mark: u32, looks_closer: bool) -> Result<(), MarkError> {
    let mut connection = options(path).connect().await?;
    let marked = mark_by(&mut connection, mark, looks_closer).await;
    // Where there was no error, closing may still find one.
    let closed = connection.close().await;
    marked?;
    Ok(closed?)
}

async fn mark_by(
    connection: &mut SqliteConnection,
    mark: u32,
    looks_closer: bool,
) -> Result<(), MarkError> {
    if looks_closer {
        let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
            .fetch_one(&mut *connection)
            .await?;
        if found != "ok" {
            return Err(MarkError::Damaged(found));
        }
    }
    let statement = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {mark}"));
    sqlx::query(statement).execute(&mut *connection).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut *connection)
        .await?;
    Ok(())
}

enum MarkError {
    Sqlite(sqlx::Error),
    /// What SQLite found.
    Damaged(String),
}

impl From<sqlx::Error> for MarkError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn refusal(listed: &Listed, error: MarkError) -> DatabaseError {
    // SQLite's result codes, https://sqlite.org/rescode.html
    const CORRUPT: u32 = 11;
    const NOT_A_DATABASE: u32 = 26;
    let source = match error {
        MarkError::Damaged(found) => {
            return listed.not_as_left(format!("is damaged: {found}")).into();
        }
        MarkError::Sqlite(source) => source,
    };
    let code = source.as_database_error().and_then(|it| it.code());
    let code = code.and_then(|it| it.parse::<u32>().ok());
    if let Some(CORRUPT | NOT_A_DATABASE) = code.map(|it| it & 0xff) {
        return listed.not_as_left(format!("is damaged: {source}")).into();
    }
    DatabaseError::Sqlite {
        file: listed.path(),
        source,
    }
}

/// Notes what was left, if nobody has the file open any more.
fn seal(listed: &Listed) -> Result<(), DatabaseError> {
    let path = listed.path();
    let Some(hold) = listed.try_hold()? else {
        return Ok(());
    };
    let Some(entry) = listed.entry::<Entry>()? else {
        return Ok(());
    };
    let is_open = entry.open_since_boot.is_some();
    if !is_open || !is_alone(&path).map_err(failed(&path))? {
        return Ok(());
    }
    let closed = Entry {
        seal: Some(seal_of(&path).map_err(failed(&path))?),
        open_since_boot: None,
        ..entry
    };
    Ok(listed.keep(&hold, &closed)?)
}

/// Whether all is in the database itself, and nothing in a log beside it.
fn is_alone(path: &Path) -> io::Result<bool> {
    match fs::metadata(beside(path, "-wal")) {
        Ok(found) => Ok(found.len() == 0),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn read_mark(path: &Path) -> Result<Option<u32>, DatabaseError> {
    let mut header = [0; HEADER];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Ok(()) => Ok(header.starts_with(MAGIC).then(|| {
            let mark: [u8; 4] = std::array::from_fn(|at| header[MARK_AT + at]);
            u32::from_be_bytes(mark)
        })),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

fn seal_of(path: &Path) -> io::Result<Seal> {
    let mut file = File::open(path)?;
    let mut seal = Seal {
        bytes: 0,
        crc32c: 0,
    };
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(seal),
            Ok(bytes) => {
                seal.bytes += bytes as u64;
                seal.crc32c = crc32c::crc32c_append(seal.crc32c, &buffer[..bytes]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Another one whenever the machine has started anew; empty where the system does not tell.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|it| it.trim().to_owned())
        .unwrap_or_default()
}

fn failed(file: &Path) -> impl Fn(io::Error) -> DatabaseError + use<> {
    let file = file.to_owned();
    move |source| DatabaseError::Io {
        file: file.clone(),
        source,
    }
}
