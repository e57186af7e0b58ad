//! What is played.

mod chat;
mod retries;

use std::{future::Future, pin::Pin, time::Duration};

use crate::{arguments::Arguments, deployment::Kind, scene::Scene};

/// A play in progress.
pub type Play<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

/// One scenario.
pub struct Scenario {
    pub name: &'static str,
    /// Against which deployments it is played.
    pub kinds: &'static [Kind],
    /// A play that takes longer has failed.
    pub within: Duration,
    pub play: for<'a> fn(Scene, &'a Arguments) -> Play<'a>,
}

const EMBEDDED: &[Kind] = &[Kind::Embedded];
const BOTH: &[Kind] = &Kind::ALL;

macro_rules! scenario {
    ($module:ident :: $name:ident, $kinds:expr, $seconds:expr) => {
        Scenario {
            name: stringify!($name),
            kinds: $kinds,
            within: Duration::from_secs($seconds),
            play: |scene, arguments| Box::pin($module::$name(scene, arguments)),
        }
    };
}

/// All of them, the longest first.
pub const SCENARIOS: &[Scenario] = &[
    scenario!(chat::two_devices_chat, BOTH, 60),
    scenario!(chat::offline_then_sync, EMBEDDED, 60),
    scenario!(retries::retry_after_a_lost_ack, EMBEDDED, 60),
];
