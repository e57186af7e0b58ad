//! Who asks, and what inner services are told of him.

use flare_proto::{
    common::{Actor, ActorKind, ErrorCode, RequestContext, TenantContext},
    session::{ConversationResponse, GetConversationRequest},
    signaling::{RevocationsRequest, RevocationsResponse},
};

use crate::running::{Running, bearer, code, refused, with};

const PATH: &str = "/api/v1/conversations/team";
const METHOD: &str = "SessionService/GetConversation";

fn answering(running: &Running) {
    running.inner.answer(METHOD, |_: GetConversationRequest| {
        Ok(ConversationResponse::default())
    });
}

fn request() -> GetConversationRequest {
    GetConversationRequest {
        conversation_id: "team".to_owned(),
        ..GetConversationRequest::default()
    }
}

#[tokio::test]
async fn nobody_is_let_in_without_good_credentials() {
    let (running, _folder) = Running::start().await;
    answering(&running);
    let token = running.token("alice");
    let key = running.key(&["conversations"]).await;
    let forged = format!("{}x", &token[..token.len() - 1]);
    let other_key = format!("flare_{}", "A".repeat(43));
    let cases: Vec<(Vec<(&'static str, String)>, ErrorCode)> = vec![
        (vec![], ErrorCode::Unauthenticated),
        (
            vec![("authorization", "Bearer".to_owned())],
            ErrorCode::Unauthenticated,
        ),
        (
            vec![("authorization", format!("Basic {token}"))],
            ErrorCode::Unauthenticated,
        ),
        (
            vec![("authorization", bearer("nonsense"))],
            ErrorCode::Unauthenticated,
        ),
        (
            vec![("authorization", bearer(&forged))],
            ErrorCode::Unauthenticated,
        ),
        (
            vec![("authorization", bearer(&running.expired_token("alice")))],
            ErrorCode::TokenExpired,
        ),
        (
            vec![("authorization", bearer(&running.foreign_token("alice")))],
            ErrorCode::TenantMismatch,
        ),
        (
            vec![("x-api-key", "nonsense".to_owned())],
            ErrorCode::Unauthenticated,
        ),
        (vec![("x-api-key", other_key)], ErrorCode::Unauthenticated),
        (
            vec![
                ("x-api-key", key.clone()),
                ("authorization", bearer(&token)),
            ],
            ErrorCode::Unauthenticated,
        ),
        (
            vec![("x-api-key", running.foreign_key().await)],
            ErrorCode::TenantMismatch,
        ),
        (
            vec![("x-api-key", key), ("x-flare-user", "a/b".to_owned())],
            ErrorCode::InvalidArgument,
        ),
        (
            vec![
                ("authorization", bearer(&token)),
                ("x-flare-user", "bob".to_owned()),
            ],
            ErrorCode::PermissionDenied,
        ),
    ];
    let mut grpc = running.grpc().await;
    for (headers, expected) in cases {
        let headers: Vec<(&'static str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = running.call("GET", PATH, &headers, None).await;
        assert_eq!(answer.refusal().0, expected.as_str_name(), "{headers:?}");
        if answer.status == 401 {
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
        let error = refused(
            grpc.get_conversation(with(&headers, request()))
                .await
                .expect_err("refused"),
        );
        assert_eq!(code(&error), expected, "{headers:?}");
    }
    assert_eq!(running.inner.calls(), 0, "nothing went further in");
}

#[tokio::test]
async fn inner_services_are_told_who_asks() {
    let (running, _folder) = Running::start().await;
    answering(&running);
    let token = bearer(&running.token_of("alice", Some("phone")));
    let key = running.key(&["conversations"]).await;
    let traced = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for headers in [
        vec![
            ("authorization", token.as_str()),
            ("traceparent", traced),
            ("x-request-id", "mine-1"),
        ],
        vec![("x-api-key", key.as_str())],
        vec![("x-api-key", key.as_str()), ("x-flare-user", "bob")],
    ] {
        assert_eq!(running.call("GET", PATH, &headers, None).await.status, 200);
        running
            .grpc()
            .await
            .get_conversation(with(&headers, request()))
            .await
            .expect("answered");
    }
    let contexts: Vec<RequestContext> = running
        .inner
        .requests::<GetConversationRequest>(METHOD)
        .into_iter()
        .map(|it| it.context.expect("a context"))
        .collect();
    let actors: Vec<_> = contexts
        .iter()
        .map(|it| it.actor.clone().expect("an actor"))
        .collect();
    let actor = |kind: ActorKind, user: &str, device: &str| Actor {
        kind: kind.into(),
        user_id: user.to_owned(),
        device_id: device.to_owned(),
    };
    let alice = actor(ActorKind::User, "alice", "phone");
    let (system, bob) = (
        actor(ActorKind::System, "", ""),
        actor(ActorKind::Api, "bob", ""),
    );
    assert_eq!(
        actors,
        [
            alice.clone(),
            alice,
            system.clone(),
            system,
            bob.clone(),
            bob
        ]
    );
    assert!(contexts.iter().all(|it| it.tenant
        == Some(TenantContext {
            tenant_id: "default".to_owned()
        })));
    assert_eq!(contexts[0].trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(contexts[0].request_id, "mine-1");
    assert_ne!(contexts[2].trace_id, contexts[3].trace_id);
    assert_eq!(contexts[2].trace_id.len(), 32);
}

#[tokio::test]
async fn a_context_that_says_who_asks_is_refused() {
    let (running, _folder) = Running::start().await;
    answering(&running);
    let token = bearer(&running.token("alice"));
    let headers = [("authorization", token.as_str())];
    let spoofed = [
        RequestContext {
            actor: Some(Actor::default()),
            ..RequestContext::default()
        },
        RequestContext {
            tenant: Some(TenantContext::default()),
            ..RequestContext::default()
        },
    ];
    for context in spoofed {
        let request = GetConversationRequest {
            context: Some(context),
            ..request()
        };
        let error = refused(
            running
                .grpc()
                .await
                .get_conversation(with(&headers, request))
                .await
                .expect_err("refused"),
        );
        assert_eq!(
            (code(&error), error.field.as_str()),
            (ErrorCode::PermissionDenied, "context")
        );
    }
    let body = r#"{"clientId":"1","context":{"tenant":{"tenantId":"other"}}}"#;
    let answer = running
        .call(
            "POST",
            "/api/v1/conversations/team/leave",
            &headers,
            Some(body),
        )
        .await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.refusal(),
        ("PERMISSION_DENIED".to_owned(), "context".to_owned())
    );
    assert_eq!(running.inner.calls(), 0);
}

#[tokio::test]
async fn a_revoked_token_is_dead_from_then_on() {
    let (running, _folder) = Running::start().await;
    answering(&running);
    let now_s = running.platform.clock.now_ms() / 1_000;
    let token = bearer(&running.token_of("alice", Some("phone")));
    let headers = [("authorization", token.as_str())];
    assert_eq!(running.call("GET", PATH, &headers, None).await.status, 200);
    running.inner.answer(
        "SignalingService/Revocations",
        move |request: RevocationsRequest| {
            let dead = request
                .devices
                .iter()
                .all(|it| it.user_id == "alice" && it.device_id == "phone");
            // So that the revocation of one that is issued ahead of the other service's clock reaches it.
            assert_eq!(request.issued_s, [now_s]);
            Ok(RevocationsResponse {
                not_before_s: vec![if dead { now_s + 2 } else { 0 }],
            })
        },
    );
    for _ in 0..2 {
        let answer = running.call("GET", PATH, &headers, None).await;
        assert_eq!(
            (answer.status.as_u16(), answer.refusal().0.as_str()),
            (401, "TOKEN_REVOKED")
        );
    }
    let bob = bearer(&running.token("bob"));
    assert_eq!(
        running
            .call("GET", PATH, &[("authorization", &bob)], None)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_token_that_cannot_be_judged_is_not_taken() {
    let (running, _folder) = Running::start().await;
    answering(&running);
    running.inner.refuse_all(
        "SignalingService/Revocations",
        tonic::Status::unavailable("gone"),
    );
    let token = bearer(&running.token("alice"));
    let answer = running
        .call("GET", PATH, &[("authorization", &token)], None)
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.refusal().0.as_str()),
        (503, "UNAVAILABLE")
    );
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn credentials_that_are_sent_twice_are_none() {
    let (running, _folder) = Running::start().await;
    answering(&running);
    let key = running.key(&["conversations"]).await;
    let other = running.key(&["conversations"]).await;
    let twice = [("x-api-key", key.as_str()), ("x-api-key", other.as_str())];
    let answer = running.call("GET", PATH, &twice, None).await;
    assert_eq!(
        answer.refusal(),
        ("UNAUTHENTICATED".to_owned(), "x-api-key".to_owned())
    );
    let users = [
        ("x-api-key", key.as_str()),
        ("x-flare-user", "alice"),
        ("x-flare-user", "bob"),
    ];
    assert_eq!(
        running.call("GET", PATH, &users, None).await.refusal().1,
        "x-flare-user"
    );
    assert_eq!(running.inner.calls(), 0);
}
