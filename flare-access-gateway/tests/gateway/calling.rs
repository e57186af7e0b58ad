//! Calls and Syncs.

use bytes::Bytes;
use flare_core::codec::{ClientFrame, Codec, ServerFrame};
use flare_proto::{
    client::{Call, Ping, Reply, Sync, SyncRange},
    common::{Actor, ActorKind, ErrorCode, RequestContext},
    session::{GetConversationRequest, SyncInboxResponse},
    storage::{ReadRangesRequest, ReadRangesResponse},
};
use prost::Message;
use prost_types::Any;

use crate::{
    harness::{Client, Gateway},
    services::code,
    wire::one_event,
};

const GET: &str = "flare.session.v1.SessionService/GetConversation";
const INBOX: &str = "flare.session.v1.SessionService/SyncInbox";

fn call(id: u32, method: &str, request: &impl Message, name: &str) -> ClientFrame {
    let request = Any {
        type_url: format!("type.googleapis.com/{name}"),
        value: request.encode_to_vec(),
    };
    ClientFrame::Call(Call {
        id,
        method: method.to_owned(),
        request: Some(request),
    })
}

fn get(id: u32, context: Option<RequestContext>) -> ClientFrame {
    let request = GetConversationRequest {
        context,
        conversation_id: "room".to_owned(),
    };
    call(id, GET, &request, "flare.session.v1.GetConversationRequest")
}

async fn reply(client: &mut Client) -> Reply {
    match client.frame().await {
        ServerFrame::Reply(reply) => reply,
        other => panic!("a reply, not {other:?}"),
    }
}

#[tokio::test]
async fn a_call_bears_the_connection_s_user_whatever_the_client_says() {
    let gateway = Gateway::start().await;
    let answer = SyncInboxResponse::default().encode_to_vec();
    gateway
        .world
        .answers
        .lock()
        .expect("locks")
        .insert(INBOX.to_owned(), answer.into());
    for codec in Codec::ALL {
        let mut client = gateway.client(codec, "alice", "phone").await;
        let request = flare_proto::session::SyncInboxRequest::default();
        client
            .send(call(
                2,
                INBOX,
                &request,
                "flare.session.v1.SyncInboxRequest",
            ))
            .await;
        let reply = reply(&mut client).await;
        assert_eq!(reply.id, 2);
        assert_eq!(
            reply.response.map(|it| it.type_url).as_deref(),
            Some("type.googleapis.com/flare.session.v1.SyncInboxResponse")
        );

        client.send(get(3, None)).await;
        let refused = match client.frame().await {
            ServerFrame::Error(error) => error,
            other => panic!("a refusal, not {other:?}"),
        };
        assert_eq!(
            (refused.id, code(refused.error.as_ref())),
            (3, ErrorCode::ConversationNotFound)
        );
        let (_, request) = gateway
            .world
            .calls
            .lock()
            .expect("locks")
            .pop()
            .expect("called");
        let request = GetConversationRequest::decode(request).expect("decodes");
        let context = request.context.expect("a context");
        let actor = context.actor.expect("an actor");
        assert_eq!(
            (actor.kind(), &*actor.user_id, &*actor.device_id),
            (ActorKind::User, "alice", "phone")
        );
        assert_eq!(
            context.tenant.map(|it| it.tenant_id).as_deref(),
            Some("default")
        );
        assert_eq!(
            (context.trace_id.len(), &context.trace_id),
            (32, &refused.trace_id)
        );

        let spoof = Actor {
            kind: ActorKind::System.into(),
            user_id: "bob".to_owned(),
            ..Actor::default()
        };
        let before = gateway.world.calls.lock().expect("locks").len();
        client
            .send(get(
                4,
                Some(RequestContext {
                    actor: Some(spoof),
                    ..RequestContext::default()
                }),
            ))
            .await;
        assert_eq!(
            client.refusal().await,
            (4, ErrorCode::PermissionDenied, "context".to_owned())
        );
        assert_eq!(gateway.world.calls.lock().expect("locks").len(), before);
    }
}

#[tokio::test]
async fn methods_that_are_closed_to_clients_are_unknown() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    for method in [
        "flare.session.v1.SessionService/Authorize",
        "flare.signaling.v1.SignalingService/Revoke",
        "nothing",
        "a/b",
    ] {
        client
            .send(call(
                2,
                method,
                &GetConversationRequest::default(),
                "flare.session.v1.GetConversationRequest",
            ))
            .await;
        assert_eq!(
            client.refusal().await,
            (2, ErrorCode::UnknownMethod, "method".to_owned()),
            "{method}"
        );
    }
    assert!(gateway.world.calls.lock().expect("locks").is_empty());
}

#[tokio::test]
async fn a_sync_reads_ranges_and_the_events_come_in_the_reply() {
    let gateway = Gateway::start().await;
    let method = "flare.storage.v1.StorageReaderService/ReadRanges";
    gateway
        .world
        .answers
        .lock()
        .expect("locks")
        .insert(method.to_owned(), one_event("room"));
    for codec in Codec::ALL {
        let mut client = gateway.client(codec, "alice", "phone").await;
        let ranges = vec![SyncRange {
            conversation_id: "room".to_owned(),
            after_seq: 4,
            limit: Some(7),
        }];
        client.send(ClientFrame::Sync(Sync { id: 2, ranges })).await;
        let response = reply(&mut client).await.response.expect("a response");
        let read = ReadRangesResponse::decode(&*response.value).expect("decodes");
        assert_eq!(read.encode_to_vec(), one_event("room"));
        let (_, request) = gateway
            .world
            .calls
            .lock()
            .expect("locks")
            .pop()
            .expect("called");
        let request = ReadRangesRequest::decode(request).expect("decodes");
        let [range] = &request.ranges[..] else {
            panic!("one range")
        };
        assert_eq!(
            (&*range.conversation_id, range.after_seq, range.limit),
            ("room", 4, Some(7))
        );
        assert_eq!(
            request
                .context
                .and_then(|it| it.actor)
                .map(|it| it.user_id)
                .as_deref(),
            Some("alice")
        );
    }
}

#[tokio::test]
async fn calls_are_limited_and_do_not_hold_up_sends() {
    let gateway = Gateway::start().await;
    gateway
        .world
        .answers
        .lock()
        .expect("locks")
        .insert(GET.to_owned(), Bytes::new());
    gateway.world.calls_go_on.send_replace(false);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    for id in 2..=9 {
        client.send(get(id, None)).await;
    }
    client.send(get(10, None)).await;
    assert_eq!(
        client.refusal().await,
        (10, ErrorCode::ResourceExhausted, String::new())
    );
    client.say(11, "room", "a1").await;
    assert!(matches!(client.frame().await, ServerFrame::SendAck(_)));
    gateway.world.calls_go_on.send_replace(true);
    let mut answered = Vec::new();
    for _ in 2..=9 {
        answered.push(reply(&mut client).await.id);
    }
    answered.sort_unstable();
    assert_eq!(answered, (2..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused_and_the_largest_ones_all_arrive() {
    let gateway = Gateway::with(|config| config.max_reply_bytes = 200_000).await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    let answers = &gateway.world.answers;
    answers
        .lock()
        .expect("locks")
        .insert(GET.to_owned(), vec![0; 200_001].into());
    client.send(get(2, None)).await;
    assert_eq!(client.refusal().await.1, ErrorCode::LimitExceeded);
    answers
        .lock()
        .expect("locks")
        .insert(GET.to_owned(), vec![0; 200_000].into());
    for id in 3..=10 {
        client.send(get(id, None)).await;
    }
    for _ in 3..=10 {
        assert_eq!(
            reply(&mut client).await.response.map(|it| it.value.len()),
            Some(200_000)
        );
    }
    client.send(ClientFrame::Ping(Ping { id: 11 })).await;
    assert!(matches!(client.frame().await, ServerFrame::Pong(_)));
}
