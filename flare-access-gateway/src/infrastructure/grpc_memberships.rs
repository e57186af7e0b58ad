//! Where users are, as flare-session knows.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use flare_proto::session::{
    LargeConversationsRequest, UserName, session_service_client::SessionServiceClient,
};
use flare_server_core::{
    channels::{Channels, ServiceChannel},
    error::Refusal,
    registry::service,
};

use super::{own_context, within};
use crate::{
    application::ports::{Memberships, Places},
    domain::large::{Place, UserKey},
};

/// A call that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(3);

/// Calls `LargeConversations`.
pub struct GrpcMemberships {
    client: SessionServiceClient<ServiceChannel>,
}

impl GrpcMemberships {
    /// Calls over these channels.
    pub fn new(channels: &Channels) -> Self {
        let client = SessionServiceClient::new(channels.get(service::SESSION));
        Self {
            client: client.max_decoding_message_size(usize::MAX),
        }
    }
}

#[async_trait]
impl Memberships for GrpcMemberships {
    async fn large(&self, users: &[Arc<UserKey>]) -> Result<Places, Refusal> {
        let named = users.iter().map(|it| UserName {
            tenant_id: it.tenant.to_string(),
            user_id: it.user.to_string(),
        });
        let request = LargeConversationsRequest {
            context: Some(own_context()),
            users: named.collect(),
        };
        let answer = within(DEADLINE, self.client.clone().large_conversations(request)).await?;
        let index = |it: u32| usize::try_from(it).unwrap_or(usize::MAX);
        let places = answer.memberships.into_iter().map(|it| Place {
            user: index(it.user_index),
            conversation: it.conversation_id.into(),
            joined_seq: it.joined_seq,
            as_of: it.as_of,
        });
        Ok(Places {
            places: places.collect(),
            incomplete: answer.incomplete.into_iter().map(index).collect(),
        })
    }
}
