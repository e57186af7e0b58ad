//! The event bus in Kafka keeps the contract of `EventBus` on a real server, named by `FLARE_TEST_KAFKA`, and what it owes beyond that. What a
//! broker suffers, a broker of the test's own suffers, of the jars in `FLARE_TEST_KAFKA_HOME`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../kafka/broker.rs"]
mod broker;
mod contract;
mod faults;
mod following;
mod groups;
mod kafka;
mod killed;
mod outages;
#[path = "../kafka/proxy.rs"]
mod proxy;
mod recorder;
mod topics;
