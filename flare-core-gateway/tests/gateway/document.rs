//! The OpenAPI document against the router, and reflection against the contract.

use std::{collections::BTreeSet, time::Duration};

use flare_core_gateway::{
    domain::caller::Callers,
    handler::{
        http::routes::{CLIENT_CONFIG_PATH, OPENAPI_PATH, ROUTES},
        method::SERVICE,
    },
};
use flare_proto::gateway::core_gateway_service_server::SERVICE_NAME;
use futures::stream;
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    running::{ALL_SCOPES, Running},
    scopes::filled,
};

const VERBS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

#[tokio::test]
async fn the_router_and_the_document_say_the_same() {
    let (running, _folder) = Running::start().await;
    let document = running.call("GET", OPENAPI_PATH, &[], None).await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for verb in item.as_object().expect("an item").keys() {
            documented.insert((verb.to_uppercase(), path.clone()));
        }
    }
    let mut routed: BTreeSet<(String, String)> = ROUTES
        .iter()
        .map(|it| (it.verb.name().to_owned(), it.path.to_owned()))
        .collect();
    routed.extend([OPENAPI_PATH, CLIENT_CONFIG_PATH].map(|it| ("GET".to_owned(), it.to_owned())));
    assert_eq!(documented, routed);

    // Whatever is documented is answered, and nothing else is, on any documented path.
    let paths: BTreeSet<&String> = documented.iter().map(|(_, path)| path).collect();
    for path in paths {
        for verb in VERBS {
            let answer = running.call(verb, &filled(path), &[], None).await;
            let known = documented.contains(&(verb.to_owned(), path.clone()));
            let open = [OPENAPI_PATH, CLIENT_CONFIG_PATH].contains(&path.as_str());
            let expected = match (known, open) {
                (true, true) => 200,
                (true, false) => 401,
                (false, _) => 405,
            };
            assert_eq!(answer.status, expected, "{verb} {path}");
        }
    }
}

#[tokio::test]
async fn a_body_that_the_document_does_not_need_may_be_left_out() {
    let (running, _folder) = Running::start().await;
    let document = running.call("GET", OPENAPI_PATH, &[], None).await.json();
    let key = running.key(&ALL_SCOPES).await;
    let mut optional = BTreeSet::new();
    for route in ROUTES.iter().filter(|it| it.body) {
        let verb = route.verb.name();
        let operation = &document["paths"][route.path][verb.to_lowercase()];
        if operation["requestBody"]["required"] != false {
            continue;
        }
        let mut headers = vec![("x-api-key", key.as_str())];
        if route.method.access().callers == Callers::AsUser {
            headers.push(("x-flare-user", "alice"));
        }
        let answer = running
            .call(verb, &filled(route.path), &headers, None)
            .await;
        // Further in nobody answers here.
        assert_ne!(answer.status, 400, "{verb} {}: {}", route.path, answer.text);
        optional.insert(route.method.name());
    }
    let expected = ["Kick", "Revoke", "SignOut", "UpdateSettings"];
    assert_eq!(optional, expected.into());
    assert_eq!(running.inner.calls(), expected.len(), "all went further in");
}

#[tokio::test]
async fn reflection_lists_the_service_and_knows_its_types() {
    let (running, _folder) = Running::start().await;
    let mut client = ServerReflectionClient::new(running.channel().await);
    let asked = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol(SERVICE.to_owned()),
        MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".to_owned()),
    ];
    let requests = asked.map(|it| ServerReflectionRequest {
        message_request: Some(it),
        ..Default::default()
    });
    let mut answers = client
        .server_reflection_info(stream::iter(requests))
        .await
        .expect("a stream")
        .into_inner();
    let mut next = async || {
        answers
            .message()
            .await
            .expect("an answer")
            .and_then(|it| it.message_response)
            .expect("one")
    };
    let MessageResponse::ListServicesResponse(services) = next().await else {
        panic!("no list")
    };
    let names: BTreeSet<String> = services.service.into_iter().map(|it| it.name).collect();
    let expected = [
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ];
    assert_eq!(
        names,
        expected.map(str::to_owned).into(),
        "inner services are not for callers"
    );
    for symbol in ["the service", "the details of refusals"] {
        let MessageResponse::FileDescriptorResponse(files) = next().await else {
            panic!("no file for {symbol}")
        };
        assert!(!files.file_descriptor_proto.is_empty(), "{symbol}");
    }
}

#[tokio::test]
async fn health_says_that_the_service_answers() {
    let (running, _folder) = Running::start().await;
    let mut client = HealthClient::new(running.channel().await);
    let answer = client
        .check(HealthCheckRequest {
            service: SERVICE_NAME.to_owned(),
        })
        .await
        .expect("an answer");
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
}

#[tokio::test]
async fn who_watches_does_not_hold_up_the_drain() {
    let (running, _folder) = Running::start().await;
    let mut health = HealthClient::new(running.channel().await);
    let service = SERVICE_NAME.to_owned();
    let watching = health.watch(HealthCheckRequest { service }).await;
    let mut watched = watching.expect("a stream").into_inner();
    let first = watched.message().await.expect("an answer").expect("one");
    assert_eq!(first.status(), ServingStatus::Serving);
    let mut reflection = ServerReflectionClient::new(running.channel().await);
    let asked = reflection.server_reflection_info(stream::pending()).await;
    let mut answers = asked.expect("a stream").into_inner();
    tokio::time::timeout(Duration::from_secs(5), running.stop())
        .await
        .expect("drained");
    let last = async {
        while watched.message().await?.is_some() {}
        Ok(())
    };
    for end in [last.await, answers.message().await.map(drop)] {
        assert_eq!(end.map_err(|it: Status| it.code()), Err(Code::Unavailable));
    }
}
