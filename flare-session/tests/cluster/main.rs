//! Two processes of the service as a cluster composes them: their rows in PostgreSQL, their stream in Kafka.
//!
//! `FLARE_TEST_POSTGRES` and `FLARE_TEST_KAFKA` name the servers; `cargo xtask infra up` starts both.

#![expect(clippy::expect_used, reason = "tests: what fails is the test")]

#[expect(dead_code, reason = "of its log this target needs the encoding alone")]
#[path = "../session/fake_log.rs"]
mod fake_log;
mod house;
#[path = "../session/lanes.rs"]
mod lanes;
#[path = "../postgres/place.rs"]
mod place;
#[expect(dead_code, reason = "of an embedded process there is none here")]
#[path = "../session/process.rs"]
mod process;
mod several;
#[expect(dead_code, reason = "the world is played by processes here")]
#[path = "../session/world.rs"]
mod world;
