//! Authorisation by flare-session.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use flare_proto::{
    common::{Actor, ActorKind, ErrorCode, RequestContext},
    message::Role as ProtoRole,
    session::{
        AuthorizeItem, AuthorizeRequest, MembershipState,
        session_service_client::SessionServiceClient,
    },
};
use flare_server_core::{channels::ServiceChannel, error::Refusal};
use flare_storage_model::ConversationKey;

use crate::{
    application::ports::Authority,
    domain::command::{Membership, Role, Standing},
};

/// Asks the session service, in batches, with a deadline for each.
pub struct SessionAuthority {
    client: SessionServiceClient<ServiceChannel>,
    timeout: Duration,
}

impl SessionAuthority {
    /// Over a channel to the session service.
    pub fn new(channel: ServiceChannel, timeout: Duration) -> Self {
        Self {
            client: SessionServiceClient::new(channel),
            timeout,
        }
    }
}

#[async_trait]
impl Authority for SessionAuthority {
    async fn authorise(
        &self,
        items: &[(ConversationKey, Arc<str>)],
    ) -> Result<Vec<Membership>, Refusal> {
        let request = AuthorizeRequest {
            context: Some(RequestContext {
                actor: Some(Actor {
                    kind: ActorKind::Service.into(),
                    ..Actor::default()
                }),
                ..RequestContext::default()
            }),
            items: items
                .iter()
                .map(|(key, user)| AuthorizeItem {
                    tenant_id: key.tenant.to_string(),
                    conversation_id: key.conversation.to_string(),
                    user_id: user.to_string(),
                })
                .collect(),
        };
        let mut client = self.client.clone();
        let answer = match tokio::time::timeout(self.timeout, client.authorize(request)).await {
            Ok(answer) => answer?.into_inner(),
            Err(_) => {
                let message = format!(
                    "the session service gave no answer in {} ms",
                    self.timeout.as_millis()
                );
                return Err(Refusal::new(ErrorCode::DeadlineExceeded, message));
            }
        };
        if answer.memberships.len() != items.len() {
            let (got, want) = (answer.memberships.len(), items.len());
            return Err(Refusal::internal(format!(
                "the session service gave {got} answers to {want} questions"
            )));
        }
        Ok(answer.memberships.into_iter().map(membership).collect())
    }
}

fn membership(answer: flare_proto::session::Membership) -> Membership {
    let standing = match answer.state() {
        MembershipState::ConversationUnknown => Standing::NoConversation,
        MembershipState::Active => Standing::Active(match answer.role() {
            ProtoRole::Owner => Role::Owner,
            ProtoRole::Admin => Role::Admin,
            ProtoRole::Member | ProtoRole::Unspecified => Role::Member,
        }),
        MembershipState::Former => Standing::Former,
        // What is not known is no permission.
        MembershipState::Stranger | MembershipState::Unspecified => Standing::Stranger,
    };
    Membership {
        standing,
        disbanded: answer.disbanded,
        as_of: answer.as_of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_understood_is_no_permission() {
        let answer = |state: i32, role: i32| {
            membership(flare_proto::session::Membership {
                state,
                role,
                as_of: 7,
                ..Default::default()
            })
        };
        for state in [
            MembershipState::Unspecified.into(),
            MembershipState::Stranger.into(),
            99,
        ] {
            assert_eq!(
                answer(state, ProtoRole::Owner.into()).standing,
                Standing::Stranger,
                "{state}"
            );
        }
        let active = MembershipState::Active.into();
        for (role, known) in [
            (ProtoRole::Owner, Role::Owner),
            (ProtoRole::Admin, Role::Admin),
            (ProtoRole::Member, Role::Member),
        ] {
            assert_eq!(
                answer(active, role.into()).standing,
                Standing::Active(known)
            );
        }
        assert_eq!(
            answer(active, 99).standing,
            Standing::Active(Role::Member),
            "no more than a member"
        );
        assert_eq!(
            answer(MembershipState::ConversationUnknown.into(), 0).standing,
            Standing::NoConversation
        );
        assert_eq!(answer(MembershipState::Former.into(), 0).as_of, 7);
    }
}
