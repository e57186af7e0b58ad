//! The stream by which push-server puts things out.

use bytes::Bytes;
use flare_proto::access::{DeliverBatch, DeliverOutcome, Delivery, MembersHere, delivery};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::harness::Gateway;

/// push-server, played.
pub(crate) struct Push<'a> {
    gateway: &'a Gateway,
    pub(crate) batches: mpsc::Sender<DeliverBatch>,
    pub(crate) outcomes: Streaming<DeliverOutcome>,
    /// That batches name in place of the gateway's own.
    pub(crate) other_incarnation: Option<String>,
}

impl<'a> Push<'a> {
    pub(crate) async fn open(gateway: &'a Gateway) -> Self {
        let (batches, receiver) = mpsc::channel(4);
        let outcomes = gateway
            .inner()
            .deliver(ReceiverStream::new(receiver))
            .await
            .expect("opens")
            .into_inner();
        Self {
            gateway,
            batches,
            outcomes,
            other_incarnation: None,
        }
    }

    pub(crate) fn batch(&self, batch_id: u64, deliveries: Vec<Delivery>) -> DeliverBatch {
        let other = self.other_incarnation.clone();
        DeliverBatch {
            batch_id,
            incarnation: other.unwrap_or_else(|| self.gateway.incarnation()),
            deliveries,
        }
    }

    pub(crate) async fn put(
        &mut self,
        payload: delivery::Payload,
        connection_ids: Vec<u64>,
    ) -> Vec<u64> {
        let delivery = Delivery {
            payload: Some(payload),
            connection_ids,
            members: None,
        };
        self.put_delivery(delivery).await
    }

    /// An event of a large conversation.
    pub(crate) async fn put_large(&mut self, event: Bytes, members: MembersHere, named: Vec<u64>) {
        let delivery = Delivery {
            payload: Some(delivery::Payload::Event(event)),
            connection_ids: named,
            members: Some(members),
        };
        self.put_delivery(delivery).await;
    }

    async fn put_delivery(&mut self, delivery: Delivery) -> Vec<u64> {
        let batch = self.batch(5, vec![delivery]);
        self.batches.send(batch).await.expect("sends");
        let outcome = self
            .outcomes
            .message()
            .await
            .expect("answers")
            .expect("an outcome");
        assert_eq!(outcome.batch_id, 5);
        outcome.gone_connection_ids
    }
}
