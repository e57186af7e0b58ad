//! The owners of the conversations' log.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use flare_proto::{
    common::{self, ErrorCode},
    message::{
        Placed, SubmitBatch, SubmitItem,
        message_orchestrator_service_client::MessageOrchestratorServiceClient, receipt,
    },
};
use flare_server_core::{
    channels::Channels,
    error::Refusal,
    owners::{Owner, Owners},
};
use flare_storage_model::{direct_conversation_id, place_of};

use tokio::time::Instant;

use super::MAX_ANSWER_BYTES;

/// When what had no owner may come again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Outcomes by correlation.
pub(super) type Outcomes = HashMap<u64, Result<Placed, common::Error>>;

/// Takes items to the owners of their conversations' partitions.
pub(super) struct Orchestrators {
    channels: Channels,
    owners: Owners,
    patience: Duration,
}

impl Orchestrators {
    /// What has no owner for `patience` is refused.
    pub(super) fn new(channels: &Channels, owners: Owners, patience: Duration) -> Self {
        Self {
            channels: channels.clone(),
            owners,
            patience,
        }
    }

    /// Submits items, each on its own: they have no lanes. Those of one partition go together, in their order.
    ///
    /// # Errors
    /// The call failed, and all items are of one partition; of several, each item of a failed call has that as its outcome.
    pub(super) async fn submit(&self, items: Vec<SubmitItem>) -> Result<Outcomes, Refusal> {
        let partitions = self.owners.partitions().await;
        let mut parts: BTreeMap<u32, Vec<SubmitItem>> = BTreeMap::new();
        for item in items {
            let partition = partition_of(&item, partitions);
            parts.entry(partition).or_default().push(item);
        }
        if parts.len() > 1 {
            let asking = parts.into_iter().map(|(partition, items)| async move {
                let correlations: Vec<_> = items.iter().map(|it| it.correlation).collect();
                self.submit_to(partition, items)
                    .await
                    .unwrap_or_else(|refusal| {
                        let error = common::Error::from(refusal);
                        let failed = correlations.into_iter().map(|it| (it, Err(error.clone())));
                        failed.collect()
                    })
            });
            let outcomes = futures::future::join_all(asking).await;
            return Ok(outcomes.into_iter().flatten().collect());
        }
        match parts.pop_first() {
            Some((partition, items)) => self.submit_to(partition, items).await,
            None => Ok(Outcomes::new()),
        }
    }

    /// What an owner refuses because it is none any more, it has not decided: it goes to the next one.
    async fn submit_to(
        &self,
        partition: u32,
        mut items: Vec<SubmitItem>,
    ) -> Result<Outcomes, Refusal> {
        let until = Instant::now() + self.patience;
        let mut outcomes = Outcomes::with_capacity(items.len());
        let mut refused: Option<Owner> = None;
        while !items.is_empty() {
            let finding = self.owners.find(partition, refused.as_ref());
            let Ok(owner) = tokio::time::timeout_at(until, finding).await else {
                let error = common::Error::from(nobody(partition));
                outcomes.extend(
                    items
                        .into_iter()
                        .map(|it| (it.correlation, Err(error.clone()))),
                );
                break;
            };
            let answer = match self.ask(&owner.endpoint, items.clone()).await {
                Ok(answer) => answer,
                Err(refusal) if outcomes.is_empty() => return Err(refusal),
                Err(refusal) => {
                    let error = common::Error::from(refusal);
                    items
                        .iter()
                        .map(|it| (it.correlation, Err(error.clone())))
                        .collect()
                }
            };
            let is_disowned = |it: &Result<Placed, common::Error>| {
                it.as_ref()
                    .is_err_and(|it| it.code() == ErrorCode::NotOwner)
            };
            items.retain(|it| answer.get(&it.correlation).is_some_and(is_disowned));
            outcomes.extend(answer.into_iter().filter(|(_, it)| !is_disowned(it)));
            refused = Some(owner);
        }
        Ok(outcomes)
    }

    async fn ask(&self, endpoint: &str, items: Vec<SubmitItem>) -> Result<Outcomes, Refusal> {
        let client = MessageOrchestratorServiceClient::new(self.channels.endpoint(endpoint));
        let mut client = client.max_decoding_message_size(MAX_ANSWER_BYTES);
        let answer = client.submit_once(SubmitBatch { items }).await?;
        let outcomes = answer.into_inner().receipts.into_iter().filter_map(|it| {
            let outcome = match it.result? {
                receipt::Result::Placed(placed) => Ok(placed),
                receipt::Result::Error(error) => Err(error),
            };
            Some((it.correlation, outcome))
        });
        Ok(outcomes.collect())
    }
}

/// Nothing was taken.
fn nobody(partition: u32) -> Refusal {
    let message = format!("nobody is known to own partition {partition} at this moment");
    Refusal::unavailable(message, RETRY_AFTER)
}

fn partition_of(item: &SubmitItem, partitions: u32) -> u32 {
    if partitions <= 1 {
        return 0;
    }
    let place = if item.peer_user_id.is_empty() {
        place_of(&item.tenant_id, &item.conversation_id)
    } else {
        let sender = item.actor.as_ref().map_or("", |it| &*it.user_id);
        let direct = direct_conversation_id(&item.tenant_id, sender, &item.peer_user_id);
        place_of(&item.tenant_id, &direct)
    };
    u32::try_from(place % u64::from(partitions)).unwrap_or(0)
}
