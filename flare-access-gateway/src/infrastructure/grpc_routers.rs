//! The instances of flare-signaling-route, by gRPC.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use flare_proto::signaling::{
    AnnounceInterestRequest, Announcer, ConversationName,
    router_service_client::RouterServiceClient,
};
use flare_server_core::{channels::Channels, error::Refusal, registry::service};
use flare_storage_model::ConversationKey;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::application::ports::{InterestStream, Routers, Statement};

/// Tells them for one incarnation of this gateway.
pub struct GrpcRouters {
    channels: Channels,
    gateway: Announcer,
}

impl GrpcRouters {
    /// Others reach this gateway's inner side at `endpoint`.
    pub fn new(channels: &Channels, incarnation: &str, endpoint: &str) -> Self {
        Self {
            channels: channels.clone(),
            gateway: Announcer {
                incarnation: incarnation.to_owned(),
                endpoint: endpoint.to_owned(),
            },
        }
    }
}

#[async_trait]
impl Routers for GrpcRouters {
    async fn instances(&self, known: &BTreeSet<String>) -> BTreeSet<String> {
        let mut named = self.channels.named_endpoints(service::ROUTE);
        loop {
            let mut all: BTreeSet<String> = named.borrow_and_update().iter().cloned().collect();
            all.extend(self.channels.local_endpoint(service::ROUTE));
            if all != *known {
                return all;
            }
            if named.changed().await.is_err() {
                // The registry is gone: those that are known stay.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn open(&self, endpoint: &str) -> Result<InterestStream, Refusal> {
        let (statements, receiver) = mpsc::channel::<Statement>(1);
        let mut gateway = Some(self.gateway.clone());
        let requests = ReceiverStream::new(receiver).map(move |it| AnnounceInterestRequest {
            gateway: gateway.take(),
            begun: names(&it.begun),
            ended: names(&it.ended),
            more: it.more,
        });
        let mut client = RouterServiceClient::new(self.channels.endpoint(endpoint));
        let answers = client.announce_interest(requests).await?.into_inner();
        Ok(InterestStream {
            statements,
            taken: answers
                .map(|it| it.map(drop).map_err(Refusal::from))
                .boxed(),
        })
    }
}

fn names(keys: &[Arc<ConversationKey>]) -> Vec<ConversationName> {
    let named = keys.iter().map(|it| ConversationName {
        tenant_id: it.tenant.to_string(),
        conversation_id: it.conversation.to_string(),
    });
    named.collect()
}
