//! A business backend with an API key, which makes what the tests ask about.

use anyhow::Context;
use flare_proto::{
    gateway::{SendMessageRequest, core_gateway_service_client::CoreGatewayServiceClient},
    message::{Content, Text, content::Kind},
    session::{CreateConversationRequest, LeaveConversationRequest},
};
use prost::Message;
use tonic::{Request, metadata::MetadataValue, transport::Channel};

use super::message::Headers;

/// The backend of the default tenant, with every scope.
pub(crate) struct Backend {
    /// To core-gateway.
    pub(crate) channel: Channel,
    /// The secret of its key.
    pub(crate) key: String,
}

impl Backend {
    /// A generated client, as a business backend has it.
    pub(crate) fn client(&self) -> CoreGatewayServiceClient<Channel> {
        CoreGatewayServiceClient::new(self.channel.clone())
    }

    /// A request of the backend's own.
    pub(crate) fn as_system<T>(&self, message: T) -> Request<T> {
        with(&vec![("x-api-key", self.key.clone())], message)
    }

    /// A request of the backend's for a user.
    pub(crate) fn as_user<T>(&self, user: &str, message: T) -> Request<T> {
        with(&key_for(&self.key, user), message)
    }

    /// Makes a group of this owner's.
    pub(crate) async fn create(
        &self,
        owner: &str,
        id: &str,
        members: &[impl AsRef<str>],
    ) -> anyhow::Result<()> {
        let request = self.as_user(owner, group_of(id, members));
        self.client().create_conversation(request).await?;
        Ok(())
    }

    /// Lets a user leave: the seq at which he did.
    pub(crate) async fn leave(&self, user: &str, conversation: &str) -> anyhow::Result<u64> {
        let request = LeaveConversationRequest {
            client_id: "leaves".to_owned(),
            conversation_id: conversation.to_owned(),
            ..LeaveConversationRequest::default()
        };
        let request = self.as_user(user, request);
        Ok(self
            .client()
            .leave_conversation(request)
            .await?
            .into_inner()
            .seq)
    }

    /// Lets a user say something: the message's id and seq.
    pub(crate) async fn say(
        &self,
        user: &str,
        conversation: &str,
        client_id: &str,
        said: &str,
    ) -> anyhow::Result<(String, u64)> {
        let request = text(conversation, client_id, said);
        let answer = self
            .client()
            .send_message(self.as_user(user, request))
            .await?
            .into_inner();
        let placed = answer.placed.context("not placed")?;
        Ok((placed.message_id, placed.seq))
    }
}

/// The headers by which a key acts for a user.
pub(crate) fn key_for(secret: &str, user: &str) -> Headers {
    vec![
        ("x-api-key", secret.to_owned()),
        ("x-flare-user", user.to_owned()),
    ]
}

/// A request with these headers.
pub(crate) fn with<T>(headers: &Headers, message: T) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in headers {
        let value = MetadataValue::try_from(value).expect("visible ASCII");
        request.metadata_mut().insert(*name, value);
    }
    request
}

/// A new group.
pub(crate) fn group_of(id: &str, members: &[impl AsRef<str>]) -> CreateConversationRequest {
    CreateConversationRequest {
        client_id: format!("makes-{id}"),
        conversation_id: id.to_owned(),
        title: id.to_owned(),
        member_ids: members.iter().map(|it| it.as_ref().to_owned()).collect(),
        ..CreateConversationRequest::default()
    }
}

/// A message.
pub(crate) fn text(conversation: &str, client_id: &str, said: &str) -> SendMessageRequest {
    let kind = Some(Kind::Text(Text {
        text: said.to_owned(),
    }));
    SendMessageRequest {
        conversation_id: conversation.to_owned(),
        client_id: client_id.to_owned(),
        content: Content {
            kind,
            ..Content::default()
        }
        .encode_to_vec()
        .into(),
        ..SendMessageRequest::default()
    }
}
