//! What interests gateways, as flare-signaling-route has been told.

use std::time::Duration;

use async_trait::async_trait;
use flare_proto::signaling::{
    ConversationName, InterestedRequest, router_service_client::RouterServiceClient,
};
use flare_server_core::{
    channels::{Channels, ServiceChannel},
    registry::service,
};

use crate::{
    application::ports::{Gateway, Interest, Interested, PortError},
    domain::event::Conversation,
};

/// Without an answer by then, events go to every gateway.
const DEADLINE: Duration = Duration::from_secs(1);
/// Conversations of one question.
const AT_ONCE: usize = 1_000;

/// Asks `RouterService.Interested`.
pub struct GrpcInterest(RouterServiceClient<ServiceChannel>);

impl GrpcInterest {
    /// Asks over these channels.
    pub fn new(channels: &Channels) -> Self {
        let client = RouterServiceClient::new(channels.get(service::ROUTE));
        Self(client.max_decoding_message_size(usize::MAX))
    }

    async fn ask(&self, conversations: &[&Conversation]) -> Result<Interested, PortError> {
        let named = conversations.iter().map(|it| ConversationName {
            tenant_id: it.tenant.clone(),
            conversation_id: it.id.clone(),
        });
        let request = InterestedRequest {
            context: None,
            conversations: named.collect(),
        };
        let unavailable = |why: String| PortError {
            what: "interest",
            why,
        };
        let mut client = self.0.clone();
        let answer = tokio::time::timeout(DEADLINE, client.interested(request))
            .await
            .map_err(|_| unavailable(format!("no answer within {DEADLINE:?}")))?
            .map_err(|status| unavailable(status.message().to_owned()))?
            .into_inner();
        if answer.conversations.len() != conversations.len() {
            let (given, asked) = (answer.conversations.len(), conversations.len());
            return Err(unavailable(format!("{given} answers to {asked} questions")));
        }
        let telling = answer.gateways.into_iter().map(|it| Gateway {
            incarnation: it.incarnation,
            endpoint: it.endpoint,
        });
        let index = |it: u32| usize::try_from(it).unwrap_or(usize::MAX);
        let conversations = answer.conversations.into_iter();
        Ok(Interested {
            telling: telling.collect(),
            conversations: conversations
                .map(|it| it.gateway_indexes.into_iter().map(index).collect())
                .collect(),
        })
    }
}

#[async_trait]
impl Interest for GrpcInterest {
    async fn interested(&self, conversations: &[&Conversation]) -> Result<Interested, PortError> {
        let mut answers = Vec::new();
        for some in conversations.chunks(AT_ONCE) {
            answers.push(self.ask(some).await?);
        }
        Ok(joined(answers))
    }
}

/// Answers of several instances, perhaps: a gateway that one of them has not been told by may be interested in anything.
fn joined(answers: Vec<Interested>) -> Interested {
    let mut telling: Vec<Gateway> = Vec::new();
    if let Some((first, others)) = answers.split_first() {
        let told_all = |it: &&Gateway| others.iter().all(|other| other.telling.contains(it));
        telling.extend(first.telling.iter().filter(told_all).cloned());
    }
    let mut conversations = Vec::new();
    for answer in &answers {
        let place = |at: &usize| {
            let gateway = answer.telling.get(*at)?;
            telling.iter().position(|it| it == gateway)
        };
        let of_one = |it: &Vec<usize>| it.iter().filter_map(place).collect();
        conversations.extend(answer.conversations.iter().map(of_one));
    }
    Interested {
        telling,
        conversations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateways(names: &[&str]) -> Vec<Gateway> {
        let named = names.iter().map(|it| Gateway {
            incarnation: (*it).to_owned(),
            endpoint: String::new(),
        });
        named.collect()
    }

    #[test]
    fn only_who_has_told_every_instance_that_was_asked_counts_as_telling() {
        let one = Interested {
            telling: gateways(&["a", "b"]),
            conversations: vec![vec![0, 1]],
        };
        let other = Interested {
            telling: gateways(&["b", "c"]),
            conversations: vec![vec![0], vec![1]],
        };
        let all = joined(vec![one, other]);
        assert_eq!(all.telling, gateways(&["b"]));
        assert_eq!(all.conversations, [vec![0], vec![0], vec![]]);
    }
}
