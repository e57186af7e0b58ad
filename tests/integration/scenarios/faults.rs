//! What befalls the processes of a cluster while people write: everything acked is kept, everybody gets everything, and it is seen that the fault was there.

mod each_killed;
mod evidence;
mod holdings;
mod outage;
mod owner_drained;
mod owner_killed;
mod town;

pub(crate) use self::{
    each_killed::each_killed, owner_drained::owner_drained, owner_killed::owner_killed,
};
