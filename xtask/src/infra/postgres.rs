//! PostgreSQL, with fsync: crash tests stand on it.

use std::{
    fs,
    io::{Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use rustix::process::geteuid;

use super::{
    ask,
    component::{Component, Recipe, Wish},
    install::{Package, find},
    launch::Planned,
    place::{remove, text},
    ports::Port,
    state::{Invocation, Stop, User},
    used::authority,
};

/// Who owns the data when we are root: the server refuses to be.
const USER: &str = "postgres";
/// Where distributions keep the binaries, a folder for each version.
const FOLDERS: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];
/// Of one message of the server.
const MOST_BYTES: usize = 64 << 10;
/// Messages before the one that says it is ready.
const MOST_MESSAGES: usize = 100;

pub(super) struct Postgres;

impl Recipe for Postgres {
    fn purpose(&self) -> &'static str {
        "messages and everything relational"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["postgres", "postgresql"]
    }

    fn value(&self, addresses: &[&str]) -> String {
        format!("postgres://{USER}@{}/postgres", addresses.join(","))
    }

    fn missing(&self, _tools: &Path) -> Vec<Package> {
        let package = Package {
            name: "postgresql",
            program: "initdb and postgres",
        };
        binaries()
            .is_none()
            .then_some(package)
            .into_iter()
            .collect()
    }

    fn plan(&self, wish: &Wish<'_>) -> anyhow::Result<Vec<Planned>> {
        let binaries = binaries().context("initdb and postgres are not found")?;
        let user = if geteuid().is_root() {
            Some(user()?)
        } else {
            None
        };
        let folder = folder(wish, user)?;
        let port = Port::take()?;
        let data = text(&folder.join("data"))?;
        let run = |program: &str, arguments: &[&str]| Invocation {
            program: binaries.join(program),
            arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
            user,
        };
        let first = run(
            "initdb",
            &[
                "-D",
                &data,
                "-U",
                USER,
                "-A",
                "trust",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
            ],
        );
        let number = port.number().to_string();
        let settings = [
            "listen_addresses=127.0.0.1",
            // A path of one may not be long.
            "unix_socket_directories=",
            "max_connections=200",
            "shared_buffers=64MB",
            "fsync=on",
            "synchronous_commit=on",
            "full_page_writes=on",
            // After a crash: each file by itself takes seconds.
            "recovery_init_sync_method=syncfs",
        ];
        let settings: Vec<&str> = settings.iter().flat_map(|it| ["-c", it]).collect();
        let start = run(
            "postgres",
            &[&["-D", &data, "-p", &number], &settings[..]].concat(),
        );
        let planned = Planned::new(
            wish.place,
            Component::Postgres,
            "postgres",
            start,
            vec![port],
        )?;
        Ok(vec![
            planned
                .with_data(folder)
                .after(first)
                // By SIGTERM it would wait for its clients to leave.
                .stopped_by(Stop::Int),
        ])
    }

    fn ask(&self, value: &str) -> anyhow::Result<Option<String>> {
        let (user, database) = names(value);
        greet(ask::connect(authority(value))?, user, database)
    }
}

/// The folder of `initdb` and `postgres`: of the search path, or the newest of those that distributions keep beside it.
fn binaries() -> Option<PathBuf> {
    let has_both = |it: &PathBuf| it.join("initdb").exists() && it.join("postgres").exists();
    let found = find("initdb").and_then(|it| Some(it.parent()?.to_owned()));
    found.filter(has_both).or_else(|| {
        FOLDERS
            .iter()
            .flat_map(|(folder, prefix)| versions(Path::new(folder), prefix))
            .filter(|(_, it)| has_both(it))
            .max_by_key(|(version, _)| *version)
            .map(|(_, it)| it)
    })
}

/// Folders of binaries by their major version.
fn versions(folder: &Path, prefix: &str) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|it| {
            let name = it.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, it.path().join("bin")))
        })
        .collect()
}

fn user() -> anyhow::Result<User> {
    let id = |kind: &str| -> anyhow::Result<u32> {
        let said = Command::new("id")
            .args([kind, USER])
            .output()
            .context("id")?;
        ensure!(
            said.status.success(),
            "root may not run PostgreSQL, and there is no user {USER} who could: `useradd --system {USER}`"
        );
        Ok(String::from_utf8(said.stdout)?.trim().parse()?)
    };
    Ok(User {
        uid: id("-u")?,
        gid: id("-g")?,
    })
}

/// A folder of the run's data, or of the system's for temporary files where the user cannot reach that.
fn folder(wish: &Wish<'_>, user: Option<User>) -> anyhow::Result<PathBuf> {
    let own = wish.place.data("postgres");
    fs::create_dir_all(&own).with_context(|| own.display().to_string())?;
    let Some(user) = user else {
        return Ok(own);
    };
    if is_given(&own, user)? {
        return Ok(own);
    }
    remove(&own)?;
    let other = tempfile::Builder::new()
        .prefix("flare-infra-postgres-")
        .tempdir()?;
    ensure!(
        is_given(other.path(), user)?,
        "the user {USER} reaches neither {} nor {}: choose a folder by --at",
        own.display(),
        other.path().display()
    );
    Ok(other.keep())
}

/// Gives a folder to a user. Whether that user reaches it.
fn is_given(folder: &Path, user: User) -> anyhow::Result<bool> {
    std::os::unix::fs::chown(folder, Some(user.uid), Some(user.gid))
        .with_context(|| folder.display().to_string())?;
    let tried = Command::new("true")
        .current_dir(folder)
        .uid(user.uid)
        .gid(user.gid)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    Ok(tried.is_ok_and(|it| it.success()))
}

/// User and database of an address.
fn names(value: &str) -> (&str, &str) {
    let rest = value.split_once("://").map_or(value, |(_, it)| it);
    let (first, path) = rest.split_once('/').unwrap_or((rest, ""));
    let user = first
        .rsplit_once('@')
        .and_then(|(it, _)| it.split(':').next())
        .unwrap_or(USER);
    let database = path.split(['?', '#']).next().unwrap_or_default();
    (user, if database.is_empty() { user } else { database })
}

/// Logs in. Its version; none of one that wants a password first.
fn greet(
    mut stream: impl Read + Write,
    user: &str,
    database: &str,
) -> anyhow::Result<Option<String>> {
    // Version 3.0 of the protocol.
    let mut hello = 196_608u32.to_be_bytes().to_vec();
    for text in ["user", user, "database", database, ""] {
        hello.extend(text.as_bytes());
        hello.push(0);
    }
    let length = u32::try_from(hello.len() + 4)?;
    stream.write_all(&[&length.to_be_bytes()[..], &hello].concat())?;
    let mut version = None;
    for _ in 0..MOST_MESSAGES {
        let (kind, content) = message(&mut stream)?;
        match kind {
            b'R' if content != [0; 4] => return Ok(None),
            b'S' => {
                let mut texts = content.split(|it| *it == 0).map(String::from_utf8_lossy);
                if texts.next().as_deref() == Some("server_version") {
                    let all = texts.next().unwrap_or_default();
                    version = all.split(' ').next().map(str::to_owned);
                }
            }
            b'E' => bail!("refused: {}", reason(&content)),
            b'Z' => {
                // It has told all: that nobody waits for its answer is no matter.
                let _ = stream.write_all(&[b'X', 0, 0, 0, 4]);
                return Ok(version);
            }
            _ => {}
        }
    }
    bail!("it never says that it is ready")
}

fn message(stream: &mut impl Read) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).context("no answer")?;
    let [kind, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length))?;
    ensure!(
        (4..=MOST_BYTES).contains(&length),
        "no answer of PostgreSQL: a message of {length} bytes"
    );
    let mut content = vec![0; length - 4];
    stream.read_exact(&mut content)?;
    Ok((kind, content))
}

/// What an error says to people.
fn reason(content: &[u8]) -> String {
    let fields = content.split(|it| *it == 0);
    let said = fields.filter_map(|it| it.strip_prefix(b"M")).next();
    String::from_utf8_lossy(said.unwrap_or(b"no reason is told")).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Reads what a server says, and takes what is said to it.
    struct Talk(Cursor<Vec<u8>>);

    impl Read for Talk {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(into)
        }
    }

    impl Write for Talk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn said(messages: &[(u8, &[u8])]) -> anyhow::Result<Option<String>> {
        let mut bytes = Vec::new();
        for (kind, content) in messages {
            bytes.push(*kind);
            bytes.extend(u32::try_from(content.len() + 4).unwrap().to_be_bytes());
            bytes.extend(*content);
        }
        greet(Talk(Cursor::new(bytes)), "postgres", "postgres")
    }

    #[test]
    fn one_that_is_ready_tells_its_version() {
        let version = said(&[
            (b'R', &[0, 0, 0, 0]),
            (b'S', b"server_encoding\0UTF8\0"),
            (b'S', b"server_version\x0015.14 (Debian 15.14-0+deb12u1)\0"),
            (b'K', &[0; 8]),
            (b'Z', b"I"),
        ]);
        assert_eq!(version.unwrap().as_deref(), Some("15.14"));
    }

    #[test]
    fn one_that_wants_a_password_answers_and_one_that_starts_up_is_not_ready() {
        assert_eq!(said(&[(b'R', &[0, 0, 0, 10])]).unwrap(), None);
        let error: &[u8] = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0";
        let error = said(&[(b'E', error)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "refused: the database system is starting up"
        );
        said(&[]).unwrap_err();
        let http = Talk(Cursor::new(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
        greet(http, "postgres", "postgres").unwrap_err();
    }

    #[test]
    fn user_and_database_are_those_of_the_address() {
        for (value, expected) in [
            ("postgres://postgres@a:1/postgres", ("postgres", "postgres")),
            ("postgres://flare:p@ss@a:1/im?sslmode=x", ("flare", "im")),
            ("postgresql://flare@a:1", ("flare", "flare")),
            ("postgres://a:1/im", ("postgres", "im")),
        ] {
            assert_eq!(names(value), expected, "{value}");
        }
    }

    #[test]
    fn versions_are_folders_with_a_number() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pgsql-9", "pgsql-16", "pgsql-next", "share"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mut found = versions(folder.path(), "pgsql-");
        found.sort();
        let found: Vec<u32> = found.into_iter().map(|(version, _)| version).collect();
        assert_eq!(found, [9, 16]);
    }
}
