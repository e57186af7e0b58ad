//! Who owns the partitions of a cluster's log, as flare-signaling-route tells everybody who asks.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use flare_proto::signaling::{
    PartitionOwner, WatchRequest, WatchResponse, router_service_client::RouterServiceClient,
};
use flare_server_core::{identity::peer::PeerSecret, registry::service};
use flare_storage_model::{ConversationKey, partition_of};
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;

use super::{Deployment, plan::PEER_SECRET, servers::PARTITIONS};

const TENANT: &str = "default";
/// An instance that does not answer within this is not asked further: it may stand still.
const ASKED_FOR: Duration = Duration::from_secs(2);
/// A partition that nobody owns by then will not be owned.
const OWNED_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// A partition, and who owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) partition: u32,
    /// The number of the owner's epoch.
    pub(crate) epoch: u64,
    /// The owner's name.
    pub(crate) process: String,
}

impl Deployment {
    /// How many partitions a cluster's log has.
    pub(crate) const PARTITIONS: u32 = PARTITIONS;

    /// The partition that a conversation's events go to.
    pub(crate) fn partition_of(conversation: &str) -> u32 {
        partition_of(&ConversationKey::new(TENANT, conversation), PARTITIONS)
    }

    /// The owners that are known, by partition: of what the instances of flare-signaling-route say, the latest epoch.
    pub(crate) async fn owners(&self) -> anyhow::Result<BTreeMap<u32, Owned>> {
        let mut latest: BTreeMap<u32, PartitionOwner> = BTreeMap::new();
        let mut answers = 0;
        for slot in &self.slots {
            let is_asked = slot.plan.service == Some(service::ROUTE) && slot.running.is_some();
            let Some(peer) = slot.addresses.peer.filter(|_| is_asked) else {
                continue;
            };
            let Ok(Ok(answer)) = timeout(ASKED_FOR, watched(&format!("http://{peer}"))).await
            else {
                continue;
            };
            answers += 1;
            for owner in answer.owners {
                let known = latest.entry(owner.partition).or_default();
                // Who says later that nobody owns it any more knows more than who says that somebody does.
                if (owner.epoch, owner.vacant) >= (known.epoch, known.vacant) {
                    *known = owner;
                }
            }
        }
        ensure!(answers > 0, "no {} answers", service::ROUTE);
        let owned = latest.into_iter().filter(|(_, it)| !it.vacant);
        owned
            .map(|(partition, owner)| {
                let owned = Owned {
                    partition,
                    epoch: owner.epoch,
                    process: self.process_at(&owner.endpoint)?,
                };
                Ok((partition, owned))
            })
            .collect()
    }

    /// All partitions with their owners, once each has one and `is_it` says that these are those that were waited for.
    pub(crate) async fn owners_when(
        &self,
        what: &str,
        is_it: impl Fn(&BTreeMap<u32, Owned>) -> bool,
    ) -> anyhow::Result<BTreeMap<u32, Owned>> {
        let deadline = Instant::now() + OWNED_WITHIN;
        let mut turns = tokio::time::interval(POLL);
        loop {
            turns.tick().await;
            let owners = self.owners().await?;
            if owners.len() == PARTITIONS as usize && is_it(&owners) {
                return Ok(owners);
            }
            ensure!(
                Instant::now() < deadline,
                "{what} was waited for {OWNED_WITHIN:?}, and the owners are {owners:?}"
            );
        }
    }

    /// The name of the process that other services reach at an endpoint.
    fn process_at(&self, endpoint: &str) -> anyhow::Result<String> {
        let there = self.slots.iter().find(|it| {
            let peer = it.addresses.peer.map(|it| it.to_string());
            peer.is_some_and(|it| endpoint.ends_with(&it))
        });
        let slot = there.with_context(|| format!("{endpoint} is no process of the cluster"))?;
        Ok(slot.plan.name.clone())
    }
}

/// What one instance tells a watcher at first: everything.
async fn watched(endpoint: &str) -> anyhow::Result<WatchResponse> {
    let channel = Channel::from_shared(endpoint.to_owned())?.connect().await?;
    let secret = PeerSecret::new(PEER_SECRET)?;
    let mut client = RouterServiceClient::with_interceptor(channel, secret.client());
    let mut told = client.watch(WatchRequest::default()).await?.into_inner();
    told.message().await?.context("nothing was told")
}
