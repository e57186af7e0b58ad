//! What groups show users, from flare-session.

use std::time::Duration;

use async_trait::async_trait;
use flare_proto::session::{
    AuthorizeItem, AuthorizeRequest, Membership, MembershipState,
    session_service_client::SessionServiceClient,
};
use flare_server_core::{
    channels::{Channels, ServiceChannel},
    error::Refusal,
    registry::service,
};
use flare_storage_model::ConversationKey;

use crate::application::ports::{Shown, Visibility, Visible};

const DEADLINE: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Asks `SessionService.Authorize`.
pub struct GrpcVisibility(SessionServiceClient<ServiceChannel>);

impl GrpcVisibility {
    /// Asks over these channels.
    pub fn new(channels: &Channels) -> Self {
        Self(SessionServiceClient::new(channels.get(service::SESSION)))
    }
}

#[async_trait]
impl Visibility for GrpcVisibility {
    async fn visible(
        &self,
        user: &str,
        conversations: &[ConversationKey],
    ) -> Result<Vec<Shown>, Refusal> {
        let items = conversations
            .iter()
            .map(|key| AuthorizeItem {
                tenant_id: key.tenant.to_string(),
                conversation_id: key.conversation.to_string(),
                user_id: user.to_owned(),
            })
            .collect();
        let mut client = self.0.clone();
        let answer = tokio::time::timeout(
            DEADLINE,
            client.authorize(AuthorizeRequest {
                context: None,
                items,
            }),
        )
        .await
        .map_err(|_| Refusal::unavailable("membership could not be read in time", RETRY_AFTER))??
        .into_inner();
        let told = answer.memberships.len();
        if told != conversations.len() {
            return Err(Refusal::internal(format!(
                "flare-session told of {told} conversations, {} were asked for",
                conversations.len()
            )));
        }
        let shown = |it: &Membership| {
            Ok(Shown {
                visible: visible(it)?,
                as_of: it.as_of,
            })
        };
        answer.memberships.iter().map(shown).collect()
    }
}

fn visible(membership: &Membership) -> Result<Visible, Refusal> {
    match membership.state() {
        MembershipState::Active | MembershipState::Former => Ok(Visible::Between {
            from: membership.visible_from_seq,
            to: membership.visible_to_seq,
        }),
        MembershipState::Stranger => Ok(Visible::Nothing),
        MembershipState::ConversationUnknown => Ok(Visible::Unknown),
        MembershipState::Unspecified => Err(Refusal::internal(format!(
            "flare-session says {} of a member",
            membership.state
        ))),
    }
}
