//! What is played.

mod a_day;
mod certificates;
mod chat;
mod clock_jumps;
mod courier;
mod crowd;
mod explaining;
mod faults;
mod groups;
mod half_open;
mod identity;
mod joining;
mod kill_loop;
mod large_group;
mod load;
mod never_reads;
mod noisy;
mod pair;
mod reading;
mod reconnects;
mod restarts;
mod retries;
mod room;
mod slow_reader;
mod soak;
mod standstill;
mod told;
mod traces;

use std::{future::Future, pin::Pin, time::Duration};

use crate::{
    arguments::Arguments,
    deployment::Kind,
    scene::{Needs, Scene, Tracing},
};

/// A play in progress.
pub(crate) type Play<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

/// One scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Against which deployments it is played.
    pub(crate) kinds: &'static [Kind],
    pub(crate) needs: &'static Needs,
    /// Only with `--campaign`.
    pub(crate) is_long: bool,
    /// Nothing else is played meanwhile: it disturbs servers that others stand on.
    pub(crate) alone: bool,
    /// A play that takes longer has failed.
    pub(crate) within: Duration,
    pub(crate) play: for<'a> fn(Scene, &'a Arguments) -> Play<'a>,
}

/// The one whose connections are encrypted, so that it has certificates to change: those of a cluster are told apart by a secret here.
const SPLIT: &[Kind] = &[Kind::Split];
const CLUSTER: &[Kind] = &[Kind::Cluster];
/// Those that keep data on a disk of their own, which can be full: the processes of a cluster keep theirs in the servers that it stands on.
const WITH_DISK: &[Kind] = &Kind::SELF_CONTAINED;
const NOT_SPLIT: &[Kind] = &[Kind::Embedded, Kind::Cluster];
const ALL: &[Kind] = &Kind::ALL;

/// Nothing is slow.
const EVERY_TRACE: &Needs = &Needs {
    tracing: Some(Tracing {
        ratio: 1.0,
        slow: Duration::ZERO,
    }),
    ..Needs::NONE
};
const NO_TRACE: &Needs = &Needs {
    tracing: Some(Tracing {
        ratio: 0.0,
        slow: traces::SLOW,
    }),
    ..Needs::NONE
};

macro_rules! scenario {
    ($module:ident :: $name:ident, $kinds:expr, $seconds:expr) => {
        scenario!($module::$name, $kinds, $seconds, &Needs::NONE)
    };
    ($module:ident :: $name:ident, $kinds:expr, $seconds:expr, $needs:expr) => {
        Scenario {
            name: stringify!($name),
            kinds: $kinds,
            needs: $needs,
            is_long: false,
            alone: false,
            within: Duration::from_secs($seconds),
            play: |scene, arguments| Box::pin($module::$name(scene, arguments)),
        }
    };
}

/// A fault of a cluster.
macro_rules! fault {
    ($name:ident, $seconds:expr) => {
        Scenario {
            name: concat!("faults::", stringify!($name)),
            ..scenario!(faults::$name, CLUSTER, $seconds)
        }
    };
}

/// Likewise, one that takes long.
macro_rules! long_fault {
    ($name:ident, $seconds:expr) => {
        Scenario {
            is_long: true,
            ..fault!($name, $seconds)
        }
    };
}

/// A fault of the servers that a cluster stands on.
macro_rules! server_fault {
    ($name:ident, $seconds:expr) => {
        server_fault!($name, $seconds, &Needs::NONE)
    };
    ($name:ident, $seconds:expr, $needs:expr) => {
        Scenario {
            alone: true,
            needs: $needs,
            ..fault!($name, $seconds)
        }
    };
}

/// All of them, the longest first.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(a_day::a_day, NOT_SPLIT, 240),
    scenario!(kill_loop::kill_loop, NOT_SPLIT, 3_600),
    scenario!(soak::soak, NOT_SPLIT, 36_000),
    scenario!(restarts::restart_under_load, ALL, 120),
    scenario!(standstill::stands_still, ALL, 240),
    scenario!(room::room_runs_out, WITH_DISK, 120, room::SMALL_DISK),
    scenario!(
        room::log_finds_no_room,
        WITH_DISK,
        120,
        room::NO_ROOM_FOR_THE_LOG
    ),
    scenario!(
        room::store_finds_no_room,
        WITH_DISK,
        120,
        room::NO_ROOM_FOR_THE_STORE
    ),
    scenario!(
        never_reads::sends_without_reading,
        ALL,
        120,
        never_reads::SLOW_PACE
    ),
    scenario!(
        half_open::half_open_readers,
        ALL,
        120,
        half_open::QUICK_HEARTBEAT
    ),
    scenario!(reconnects::all_come_back, ALL, 600),
    scenario!(large_group::large_group, ALL, 300, large_group::CLOSE_HINTS),
    scenario!(clock_jumps::clock_jumps, ALL, 180, clock_jumps::OWN_CLOCK),
    scenario!(noisy::noisy_beside_quiet, ALL, 120, noisy::LIMITED),
    scenario!(slow_reader::slow_reader, NOT_SPLIT, 120),
    scenario!(certificates::certificates_change, SPLIT, 60),
    server_fault!(kafka_down, 300),
    server_fault!(kafka_leader_killed, 180, faults::THREE_NODES),
    server_fault!(kafka_leader_hangs, 180, faults::THREE_NODES),
    server_fault!(redis_lost, 180),
    server_fault!(postgres_restarted, 180),
    server_fault!(etcd_down, 240),
    server_fault!(slow_links, 240, faults::LINKS),
    server_fault!(cut_links, 240, faults::LINKS),
    server_fault!(half_open_links, 300, faults::LINKS),
    server_fault!(servers_hang, 300),
    fault!(each_killed, 600),
    long_fault!(each_stands_still, 900),
    fault!(rolling_restart, 400),
    fault!(contended_owners, 300),
    fault!(zombie_owner, 300),
    fault!(owner_killed, 180),
    fault!(gateway_lost, 300),
    fault!(owner_drained, 180),
    scenario!(chat::two_devices_chat, ALL, 60),
    scenario!(chat::offline_then_sync, NOT_SPLIT, 60),
    scenario!(retries::retry_after_a_lost_ack, NOT_SPLIT, 60),
    scenario!(groups::group_life, ALL, 60),
    scenario!(groups::removed_while_sending, NOT_SPLIT, 60),
    scenario!(reading::unread_and_read_across_devices, NOT_SPLIT, 60),
    scenario!(joining::late_joiner, NOT_SPLIT, 60),
    scenario!(explaining::where_a_message_went, ALL, 60),
    scenario!(traces::every_stage_of_a_message, ALL, 60, EVERY_TRACE),
    scenario!(traces::only_what_failed_or_was_slow, ALL, 60, NO_TRACE),
    scenario!(identity::kick, NOT_SPLIT, 60),
    scenario!(identity::revoke, NOT_SPLIT, 60),
];
