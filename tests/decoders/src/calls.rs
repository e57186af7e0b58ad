//! What services are asked: a client's call with the gateway's context in it, commands as the orchestrator takes them, the host that a request
//! names.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
};
use bytes::Bytes;
use flare_access_gateway::handler::link::with_context;
use flare_core::check::Limits;
use flare_core_gateway::handler::client_link::{AskedHost, ClientLink, ClientLinks};
use flare_message_orchestrator::handler::{Contents, command};
use flare_proto::{
    common::{Actor, ActorKind, ErrorCode, RequestContext, TenantContext},
    message::{
        ConversationChange, ConversationRenamed, EventBody, EventKind, RecallCommand, SubmitItem,
        event_body, submit_item,
    },
    session::GetConversationRequest,
};
use prost::Message;

use crate::corpus;

/// The longest refusal, whatever it repeats of what was sent.
const MOST_REFUSAL_BYTES: usize = 4 * 1024;

/// The gateway's own.
fn context() -> RequestContext {
    RequestContext {
        request_id: "r".to_owned(),
        trace_id: String::new(),
        actor: Some(Actor {
            kind: ActorKind::User.into(),
            user_id: "alice".to_owned(),
            device_id: "phone".to_owned(),
        }),
        tenant: Some(TenantContext {
            tenant_id: "default".to_owned(),
        }),
    }
}

/// Judges a client's request to a service: whatever is in it, it says that it is the caller's own, and nothing else of it is changed.
pub fn contexts(bytes: &[u8]) {
    let asked = GetConversationRequest::decode(bytes);
    match with_context(bytes, &context()) {
        Ok(request) => {
            let read = GetConversationRequest::decode(request);
            assert_eq!(read.is_ok(), asked.is_ok());
            if let (Ok(read), Ok(asked)) = (read, asked) {
                assert_eq!(read.context, Some(context()));
                assert_eq!(read.conversation_id, asked.conversation_id);
            }
        }
        Err(refusal) => {
            let named = asked.ok().and_then(|it| it.context);
            match refusal.code {
                ErrorCode::PermissionDenied => assert_eq!(refusal.field, "context"),
                ErrorCode::InvalidArgument => assert_eq!(named, None, "{refusal}"),
                _ => panic!("{refusal}"),
            }
            assert!(refusal.message.len() < MOST_REFUSAL_BYTES, "{refusal}");
        }
    }
}

/// Requests with and without a context, one that says who he is, and one with a field that nobody knows.
pub fn contexts_corpus() -> Vec<Vec<u8>> {
    let request = |context| {
        GetConversationRequest {
            context,
            conversation_id: "team".to_owned(),
        }
        .encode_to_vec()
    };
    let traced = RequestContext {
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        ..RequestContext::default()
    };
    vec![
        request(None),
        request(Some(traced)),
        request(Some(context())),
        [request(None), vec![0xa2, 0x06, 1, b'x']].concat(),
    ]
}

/// Judges a command of a gateway or a service, as its item in a stream: what is taken has a well-formed tenant, conversation and id, and says what
/// was sent.
pub fn submit_items(bytes: &[u8]) {
    let Ok(item) = SubmitItem::decode(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let limits = Limits::default();
    let rules = Contents {
        max_bytes: limits.max_content_bytes,
        max_mentions: limits.max_mentions,
    };
    let (client_id, correlation) = (item.client_id.clone(), item.correlation);
    match command(item, &rules) {
        Ok(taken) => {
            assert_eq!(*taken.client_id, *client_id);
            assert_eq!(taken.origin.correlation, correlation);
            assert!((1..=32).contains(&taken.conversation.tenant.len()));
            assert!((1..=64).contains(&taken.conversation.conversation.len()));
            assert!(matches!(taken.trace_id.len(), 0 | 16));
            if let Some([low, high]) = &taken.participants {
                assert!(low < high);
                assert!([low, high].contains(&&Arc::clone(&taken.actor.user)));
            }
            assert!(EventBody::decode(taken.body).is_ok_and(|it| it.body.is_some()));
        }
        Err(refusal) => {
            assert!(!refusal.is_retryable(), "{refusal}");
            let length = refusal.message.len() + refusal.field.len();
            assert!(length < MOST_REFUSAL_BYTES, "{length} bytes: {refusal}");
        }
    }
}

/// A message to a user, a recall, and a change.
pub fn submit_items_corpus() -> Vec<Vec<u8>> {
    let by = |kind: ActorKind, user: &str| Actor {
        kind: kind.into(),
        user_id: user.to_owned(),
        device_id: String::new(),
    };
    let item = |actor, conversation: &str, command| SubmitItem {
        correlation: 7,
        lane: 1,
        lane_generation: 1,
        tenant_id: "default".to_owned(),
        actor: Some(actor),
        client_id: "m1".to_owned(),
        conversation_id: conversation.to_owned(),
        trace_id: Bytes::from_static(&[7; 16]),
        command: Some(command),
        ..SubmitItem::default()
    };
    let send = submit_item::Command::Send(corpus::text("hello"));
    let recall = submit_item::Command::Recall(RecallCommand { seq: 3 });
    let renamed = EventBody {
        body: Some(event_body::Body::ConversationRenamed(ConversationRenamed {
            title: "t".to_owned(),
        })),
    };
    let change = submit_item::Command::Change(ConversationChange {
        kind: EventKind::ConversationRenamed.into(),
        body: renamed.encode_to_vec().into(),
        ..ConversationChange::default()
    });
    vec![
        SubmitItem {
            peer_user_id: "bob".to_owned(),
            ..item(by(ActorKind::User, "alice"), "", send.clone())
        }
        .encode_to_vec(),
        item(by(ActorKind::Api, "alice"), "team", send).encode_to_vec(),
        item(by(ActorKind::User, "alice"), "team", recall).encode_to_vec(),
        SubmitItem {
            client_id: "flare:1".to_owned(),
            ..item(by(ActorKind::Service, ""), "team", change)
        }
        .encode_to_vec(),
    ]
}

/// Judges the host that a request names: it goes into a header and a page, so it never holds what would end either.
pub fn hosts(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let request = Request::builder()
        .header(header::HOST, value)
        .body(Body::empty());
    let host = AskedHost::of(&request.expect("a request"));
    let links = ClientLinks {
        link: ClientLink {
            access_gateway: "127.0.0.1:8081".parse().ok(),
            encrypted: true,
            development_sign_in: false,
        },
        public_ws_url: None,
    };
    let origin = links.websocket_origin(host.as_ref());
    let rest = origin.strip_prefix("wss://").expect("a WebSocket's");
    let fits = |it: char| it.is_ascii_alphanumeric() || ".-[]:".contains(it);
    assert!(
        rest.chars().all(fits) && rest.ends_with(":8081"),
        "{origin}"
    );
}

/// A name, addresses, and one with a port.
pub fn hosts_corpus() -> Vec<Vec<u8>> {
    [
        "chat.example.org",
        "127.0.0.1",
        "[::1]:8080",
        "localhost:80",
    ]
    .map(|it| it.as_bytes().to_vec())
    .into()
}
