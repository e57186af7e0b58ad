//! The message log in a real Kafka, at `FLARE_TEST_KAFKA`; what a broker suffers, a broker of the test's own suffers, of the jars in
//! `FLARE_TEST_KAFKA_HOME`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests: what fails is the test"
)]

#[path = "../kafka/broker.rs"]
mod broker;
mod contract;
mod faults;
mod fitness;
mod groups;
#[path = "../kafka/proxy.rs"]
mod proxy;
mod reading;
mod support;
