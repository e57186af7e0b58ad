//! What befalls the processes of a cluster while people write: everything acked is kept, everybody gets everything, and it is seen that the fault was there.

mod contended;
mod each_killed;
mod each_stands_still;
mod evidence;
mod gateway_lost;
mod holdings;
mod outage;
mod owner_drained;
mod owner_killed;
mod rolling;
mod stillness;
mod town;
mod zombie;

pub(crate) use self::{
    contended::contended_owners, each_killed::each_killed, each_stands_still::each_stands_still,
    gateway_lost::gateway_lost, owner_drained::owner_drained, owner_killed::owner_killed,
    rolling::rolling_restart, zombie::zombie_owner,
};
