//! What befalls the processes of a cluster, and the servers that it stands on, while people write: everything acked is kept, everybody gets everything, and it is seen that the fault was there.

mod contended;
mod cut_links;
mod each_killed;
mod each_stands_still;
mod etcd_down;
mod evidence;
mod gateway_lost;
mod half_open_links;
mod holdings;
mod kafka_down;
mod kafka_leader;
mod outage;
mod owner_drained;
mod owner_killed;
mod postgres_restarted;
mod redis_lost;
mod registry;
mod rolling;
mod servers_hang;
mod slow_links;
mod stand;
mod stillness;
mod town;
mod zombie;

pub(crate) use self::{
    contended::contended_owners,
    cut_links::cut_links,
    each_killed::each_killed,
    each_stands_still::each_stands_still,
    etcd_down::etcd_down,
    gateway_lost::gateway_lost,
    half_open_links::half_open_links,
    kafka_down::kafka_down,
    kafka_leader::{THREE_NODES, kafka_leader_hangs, kafka_leader_killed},
    owner_drained::owner_drained,
    owner_killed::owner_killed,
    postgres_restarted::postgres_restarted,
    redis_lost::redis_lost,
    rolling::rolling_restart,
    servers_hang::servers_hang,
    slow_links::slow_links,
    zombie::zombie_owner,
};

use crate::scene::Needs;

/// Links to the servers that can be disturbed.
pub(crate) const LINKS: &Needs = &Needs {
    network: true,
    ..Needs::NONE
};
