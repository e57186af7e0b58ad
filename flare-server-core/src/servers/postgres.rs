//! The section of the configuration that names a PostgreSQL.

use crate::config::Secret;

crate::section! {
    /// A PostgreSQL database, version 14 or later. Services share it: each has a schema of its own.
    pub struct PostgresConfig {
        /// Where it is and who asks, such as postgres://user:password@host:5432/database. TLS by its sslmode: disable, prefer (the default), require, verify-ca, verify-full (by the certificates of public authorities, or those of the file sslrootcert).
        pub url: Secret = Secret::default(),
        /// Begins the name of each schema: several installations may share one database.
        pub schema_prefix: String = String::new(),
        /// Connections of one service in one process.
        pub max_connections: u32 = 16,
        /// At start the server is waited for so long.
        pub connect_timeout_ms: u64 = 30_000,
        /// An operation that gets no connection within this is answered UNAVAILABLE.
        pub acquire_timeout_ms: u64 = 5_000,
        /// A statement that takes longer is given up, and so is a transaction whose process sends nothing for so long.
        pub statement_timeout_ms: u64 = 10_000,
        /// A statement that waits longer for another transaction's lock is given up.
        pub lock_timeout_ms: u64 = 5_000,
        /// Takes a server that may lose what it has committed: fsync, full_page_writes or synchronous_commit are off. For functional tests: every promise of durability is void.
        pub allow_unsafe_durability: bool = false,
    }
    validate(config, at) {
        at.require(
            config.url.is_empty() || is_url(config.url.expose()),
            "url",
            "must look like postgres://user:password@host:5432/database",
        );
        at.require(
            is_prefix(&config.schema_prefix),
            "schema_prefix",
            "must be at most 32 characters of [a-z0-9_], beginning with a letter other than pg_",
        );
        at.require((1..=1_000).contains(&config.max_connections), "max_connections", "must be 1 to 1000");
        at.require(is_time(config.connect_timeout_ms), "connect_timeout_ms", "must be 1 to 3600000");
        at.require(is_time(config.acquire_timeout_ms), "acquire_timeout_ms", "must be 1 to 3600000");
        at.require(is_time(config.statement_timeout_ms), "statement_timeout_ms", "must be 1 to 3600000");
        at.require(is_time(config.lock_timeout_ms), "lock_timeout_ms", "must be 1 to 3600000");
    }
}

fn is_prefix(text: &str) -> bool {
    let begins = text.is_empty() || text.starts_with(|it: char| it.is_ascii_lowercase());
    let is_of = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
    begins && text.len() <= 32 && text.bytes().all(is_of) && !text.starts_with("pg_")
}

const fn is_time(ms: u64) -> bool {
    1 <= ms && ms <= 3_600_000
}

/// Whether the driver takes it; a build without the driver never connects.
#[cfg(feature = "cluster")]
fn is_url(text: &str) -> bool {
    text.parse::<sqlx::postgres::PgConnectOptions>().is_ok()
}

#[cfg(not(feature = "cluster"))]
fn is_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_no_statement() {
        for (prefix, is_good) in [
            ("", true),
            ("im_2_", true),
            ("2", false),
            ("pg_x", false),
            ("a,public", false),
            ("a b", false),
            ("A", false),
        ] {
            assert_eq!(is_prefix(prefix), is_good, "{prefix:?}");
        }
    }
}
