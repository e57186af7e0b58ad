//! A database of a data folder is there again whole, or is refused by name.

#![expect(
    clippy::expect_used,
    reason = "tests, their parts outside of test functions too"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use flare_server_core::{
    database::{DatabaseError, DatabaseFile},
    inventory::accept_loss,
};
use sqlx::{
    ConnectOptions, Connection,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};
use tempfile::TempDir;

const NAME: &str = "some/rows.sqlite";
/// What SQLite has beside the database.
const LOG: &str = "some/rows.sqlite-wal";
const INDEX: &str = "some/rows.sqlite-shm";

/// A process that has the database open.
struct Process {
    file: DatabaseFile,
    connection: SqliteConnection,
}

impl Process {
    async fn start(data: &Path) -> Result<Self, DatabaseError> {
        let file = DatabaseFile::open(data, NAME).await?;
        let mut connection = file.options().connect().await.expect("connects");
        sqlx::query("CREATE TABLE IF NOT EXISTS line (number INTEGER PRIMARY KEY, text TEXT)")
            .execute(&mut connection)
            .await
            .expect("made");
        Ok(Self { file, connection })
    }

    async fn write(&mut self, numbers: std::ops::Range<i64>) {
        for number in numbers {
            sqlx::query("INSERT INTO line VALUES (?, ?)")
                .bind(number)
                .bind(format!("line {number} of a text that takes some room"))
                .execute(&mut self.connection)
                .await
                .expect("written");
        }
    }

    /// The texts of all lines.
    async fn read(&mut self) -> Vec<String> {
        sqlx::query_scalar("SELECT text FROM line ORDER BY number")
            .fetch_all(&mut self.connection)
            .await
            .expect("read")
    }

    async fn stop(self) {
        self.connection.close().await.expect("closes");
        self.file.close().await;
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// What is on disk: of a database that is open, what a kill of its process leaves.
fn copy(from: &Path) -> TempDir {
    let to = folder();
    for place in ["some", "inventory"] {
        fs::create_dir(to.path().join(place)).expect("a folder");
        for entry in fs::read_dir(from.join(place)).expect("a folder") {
            let file = entry.expect("an entry").path();
            let name = file.file_name().expect("a name");
            fs::copy(&file, to.path().join(place).join(name)).expect("copied");
        }
    }
    to
}

async fn refusal(data: &Path) -> String {
    match Process::start(data).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

/// A folder with fifty lines whose process was killed after, or stopped.
async fn with_lines(is_killed: bool) -> TempDir {
    let data = folder();
    let mut process = Process::start(data.path()).await.expect("opens");
    process.write(0..20).await;
    process.stop().await;
    let mut process = Process::start(data.path()).await.expect("opens");
    process.write(20..50).await;
    if is_killed {
        copy(data.path())
    } else {
        process.stop().await;
        data
    }
}

fn flip(file: &Path, bit: usize) {
    let mut bytes = fs::read(file).expect("readable");
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(file, bytes).expect("written");
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_stop_and_after_a_kill() {
    for is_killed in [false, true] {
        let data = with_lines(is_killed).await;
        let mut process = Process::start(data.path()).await.expect("opens");
        assert_eq!(process.read().await.len(), 50, "killed: {is_killed}");
        process.stop().await;
    }
}

#[tokio::test]
async fn no_flipped_bit_costs_a_row_in_silence() {
    for is_killed in [false, true] {
        let good = with_lines(is_killed).await;
        let lines = {
            let data = copy(good.path());
            Process::start(data.path())
                .await
                .expect("opens")
                .read()
                .await
        };
        let (mut refused, mut survived) = (0, 0);
        for file in [NAME, LOG, INDEX] {
            let Ok(found) = fs::metadata(good.path().join(file)) else {
                continue;
            };
            let bits = usize::try_from(found.len()).expect("small") * 8;
            for bit in (0..bits).step_by(bits / 40 - 7) {
                let data = copy(good.path());
                flip(&data.path().join(file), bit);
                match Process::start(data.path()).await {
                    Ok(mut process) => {
                        survived += 1;
                        assert_eq!(process.read().await, lines, "{file} bit {bit}");
                    }
                    Err(error) => {
                        refused += 1;
                        let said = error.to_string();
                        assert!(said.contains(NAME), "{file} bit {bit}: {said}");
                    }
                }
            }
        }
        assert!(refused > 0, "no flip did anything");
        // After a stop there is nothing but the database itself.
        assert_eq!(survived > 0, is_killed, "{survived} survived");
    }
}

#[tokio::test]
async fn a_file_that_is_missing_empty_or_older_is_refused_until_its_loss_is_accepted() {
    for is_killed in [false, true] {
        let good = with_lines(is_killed).await;
        let older = {
            let data = folder();
            let mut process = Process::start(data.path()).await.expect("opens");
            process.write(0..20).await;
            process.stop().await;
            fs::read(data.path().join(NAME)).expect("readable")
        };
        let faults: [(&str, Option<&[u8]>); 3] = [
            ("is missing", None),
            ("is empty", Some(b"")),
            ("older copy", Some(&older)),
        ];
        for (word, content) in faults {
            let data = copy(good.path());
            let file = data.path().join(NAME);
            match content {
                Some(content) => fs::write(&file, content).expect("written"),
                None => fs::remove_file(&file).expect("removed"),
            }
            let said = refusal(data.path()).await;
            for wanted in [word, &file.display().to_string(), "accept-loss"] {
                assert!(said.contains(wanted), "{wanted:?} is not in: {said}");
            }
            let untouched = fs::read(&file).ok();
            assert_eq!(untouched.as_deref(), content, "a refusal changes nothing");
            // The log of a kill goes with the database that it belongs to.
            for beside in [LOG, INDEX] {
                let _ = fs::remove_file(data.path().join(beside));
            }
            accept_loss(data.path(), NAME).expect("accepted");
            let mut process = Process::start(data.path()).await.expect("opens");
            let lines = process.read().await.len();
            assert_eq!(lines, if word == "older copy" { 20 } else { 0 });
        }
    }
}

#[tokio::test]
async fn a_log_that_was_cut_lost_or_exchanged_after_a_kill_is_refused() {
    let good = with_lines(true).await;
    let log = fs::read(good.path().join(LOG)).expect("readable");
    let mut before = 0;
    for bytes in (0..log.len()).step_by(log.len() / 30) {
        let data = copy(good.path());
        fs::write(data.path().join(LOG), &log[..bytes]).expect("written");
        let said = refusal(data.path()).await;
        assert!(said.contains(LOG), "cut at {bytes}: {said}");
        before += 1;
    }
    assert!(before >= 30);
    let data = copy(good.path());
    fs::remove_file(data.path().join(LOG)).expect("removed");
    assert!(refusal(data.path()).await.contains(LOG));
    let other = with_lines(true).await;
    let data = copy(good.path());
    fs::copy(other.path().join(LOG), data.path().join(LOG)).expect("copied");
    assert!(refusal(data.path()).await.contains(LOG));
}

/// After a power loss nothing is known of what the processes shared, and the last commit may be torn; one before it may not.
#[tokio::test]
async fn a_damaged_frame_before_later_commits_is_refused_without_the_shared_index_too() {
    let good = with_lines(true).await;
    let bits = fs::metadata(good.path().join(LOG)).expect("there").len() * 8;
    let bits = usize::try_from(bits).expect("small");
    let data = copy(good.path());
    fs::remove_file(data.path().join(INDEX)).expect("removed");
    flip(&data.path().join(LOG), bits / 3);
    let said = refusal(data.path()).await;
    assert!(said.contains("damaged frame"), "{said}");

    let data = copy(good.path());
    fs::remove_file(data.path().join(INDEX)).expect("removed");
    flip(&data.path().join(LOG), bits - 99);
    let mut process = Process::start(data.path()).await.expect("a torn end");
    assert_eq!(process.read().await.len(), 49);
}

/// Once pages may have gone from the log into the database, its checksum says nothing, and SQLite looks through it.
#[tokio::test]
async fn after_a_checkpoint_and_a_kill_a_broken_page_is_refused() {
    let data = with_lines(false).await;
    let mut process = Process::start(data.path()).await.expect("opens");
    process.write(50..500).await;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut process.connection)
        .await
        .expect("checkpointed");
    let good = copy(data.path());
    let mut whole = Process::start(good.path()).await.expect("opens");
    assert_eq!(whole.read().await.len(), 500);

    let broken = copy(data.path());
    let path = broken.path().join(NAME);
    let mut bytes = fs::read(&path).expect("readable");
    let page = bytes.len() / 2 / 4_096 * 4_096;
    bytes[page..page + 64].fill(0xff);
    fs::write(&path, bytes).expect("written");
    let said = refusal(broken.path()).await;
    assert!(said.contains("is damaged"), "{said}");
}

#[tokio::test]
async fn of_several_processes_the_last_says_what_is_left() {
    let data = folder();
    let mut first = Process::start(data.path()).await.expect("opens");
    let mut second = Process::start(data.path()).await.expect("opens beside");
    first.write(0..5).await;
    first.stop().await;
    second.write(5..10).await;
    let in_use = accept_loss(data.path(), NAME).expect_err("somebody has it open");
    assert!(in_use.to_string().contains("in use"), "{in_use}");
    second.stop().await;
    flip(&data.path().join(NAME), 8 * 5_000);
    let said = refusal(data.path()).await;
    assert!(said.contains("is not as it was closed"), "{said}");
}

#[tokio::test]
async fn a_database_without_an_entry_gets_one_at_its_first_opening() {
    let data = folder();
    let path: PathBuf = data.path().join(NAME);
    fs::create_dir(data.path().join("some")).expect("a folder");
    let mut connection = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .connect()
        .await
        .expect("made");
    sqlx::query("CREATE TABLE line (number INTEGER PRIMARY KEY, text TEXT)")
        .execute(&mut connection)
        .await
        .expect("made");
    connection.close().await.expect("closes");
    let mut process = Process::start(data.path()).await.expect("opens");
    process.write(0..3).await;
    process.stop().await;
    fs::remove_file(&path).expect("removed");
    assert!(refusal(data.path()).await.contains("is missing"));
}
