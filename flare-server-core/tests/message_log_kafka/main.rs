//! The message log in a real Kafka, at `FLARE_TEST_KAFKA`; what a broker suffers, a broker of the test's own suffers, of the jars in
//! `FLARE_TEST_KAFKA_HOME`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests: what fails is the test"
)]

mod contract;
mod faults;
mod fitness;
mod groups;
mod reading;
mod support;
