//! SVID → endpoints, and conversation → interested gateways.

use flare_proto::{
    common::ErrorCode,
    signaling::{
        AnnounceInterestRequest, Announcer, ConversationName, InterestedRequest,
        RegisterServiceRequest, RegisterServiceResponse, ResolveServiceRequest,
        router_service_client::RouterServiceClient,
    },
};
use flare_server_core::error::Refusal;
use flare_signaling_route::RouteConfig;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::ground::{Instance, until};

type Client = RouterServiceClient<Channel>;

fn code(status: Status) -> ErrorCode {
    Refusal::from(status).code
}

/// The stream of a registration, with the way to its requests.
type Registered = (
    mpsc::Sender<RegisterServiceRequest>,
    Streaming<RegisterServiceResponse>,
);

async fn registers(client: &Client, svid: &str, endpoint: &str) -> Result<Registered, Status> {
    let (requests, receiver) = mpsc::channel(1);
    let request = RegisterServiceRequest {
        svid: svid.to_owned(),
        endpoint: endpoint.to_owned(),
    };
    requests.send(request).await.expect("room");
    let mut client = client.clone();
    let stream = client
        .register_service(ReceiverStream::new(receiver))
        .await?;
    let mut answers = stream.into_inner();
    answers.message().await?.expect("it stands");
    Ok((requests, answers))
}

async fn resolved(client: &Client, svid: &str) -> Vec<String> {
    let request = ResolveServiceRequest {
        svid: svid.to_owned(),
        ..ResolveServiceRequest::default()
    };
    let mut client = client.clone();
    let answer = client.resolve_service(request).await.expect("answers");
    answer.into_inner().endpoints
}

#[tokio::test(flavor = "multi_thread")]
async fn a_business_service_is_found_as_long_as_its_stream_stands() {
    let instance = Instance::start().await;
    let client = instance.client().await;
    let first = registers(&client, "shop", "http://10.0.0.1:80")
        .await
        .expect("stands");
    let other = instance.client().await;
    let (requests, _answers) = registers(&other, "shop", "https://shop.example")
        .await
        .expect("stands");
    assert_eq!(
        resolved(&client, "shop").await,
        ["http://10.0.0.1:80", "https://shop.example"]
    );
    assert!(resolved(&client, "bank").await.is_empty());
    drop(requests);
    until("its end is heard", async || {
        resolved(&client, "shop").await.len() == 1
    })
    .await;
    drop(first);
    until("the break is heard", async || {
        resolved(&client, "shop").await.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_checked_and_bounded() {
    let config = RouteConfig {
        max_registrations: 1,
        ..RouteConfig::default()
    };
    let instance = Instance::with("127.0.0.1:0".parse().expect("an address"), config).await;
    let client = instance.client().await;
    for (svid, endpoint) in [
        ("", "http://a"),
        ("a/b", "http://a"),
        ("shop", ""),
        ("shop", "ftp://a"),
        ("shop", "/a"),
        ("shop", &format!("http://{}", "a".repeat(300))),
    ] {
        let refused = registers(&client, svid, endpoint).await;
        let refused = refused.map(drop).expect_err("refused");
        assert_eq!(
            code(refused),
            ErrorCode::InvalidArgument,
            "{svid:?} {endpoint:?}"
        );
    }
    let stands = registers(&client, "shop", "http://a")
        .await
        .expect("stands");
    let full = registers(&client, "bank", "http://b").await;
    assert_eq!(
        code(full.map(drop).expect_err("refused")),
        ErrorCode::LimitExceeded
    );
    let again = RegisterServiceRequest {
        svid: "mill".to_owned(),
        endpoint: "http://c".to_owned(),
    };
    let (requests, mut answers) = stands;
    requests.send(again).await.expect("read");
    let refused = answers.message().await.expect_err("one a stream");
    assert_eq!(code(refused), ErrorCode::InvalidArgument);
    until("it has ended", async || {
        resolved(&client, "shop").await.is_empty()
    })
    .await;
}

fn named(names: &[&str]) -> Vec<ConversationName> {
    let name = |it: &&str| ConversationName {
        tenant_id: "default".to_owned(),
        conversation_id: (*it).to_owned(),
    };
    names.iter().map(name).collect()
}

/// A gateway that tells.
struct Gateway {
    requests: mpsc::Sender<AnnounceInterestRequest>,
    answers: Streaming<flare_proto::signaling::AnnounceInterestResponse>,
}

impl Gateway {
    async fn start(instance: &Instance, name: &str, begun: &[&str]) -> Self {
        Self::start_with(instance, name, begun, false).await
    }

    /// `more`: its statement goes on.
    async fn start_with(instance: &Instance, name: &str, begun: &[&str], more: bool) -> Self {
        let (requests, receiver) = mpsc::channel(4);
        let first = AnnounceInterestRequest {
            gateway: Some(Announcer {
                incarnation: name.to_owned(),
                endpoint: format!("http://{name}"),
            }),
            begun: named(begun),
            more,
            ..AnnounceInterestRequest::default()
        };
        requests.send(first).await.expect("room");
        let mut client = instance.client().await;
        let stream = client
            .announce_interest(ReceiverStream::new(receiver))
            .await;
        let mut gateway = Self {
            requests,
            answers: stream.expect("a stream").into_inner(),
        };
        gateway.heard().await;
        gateway
    }

    async fn heard(&mut self) {
        let heard = self.answers.message().await;
        heard.expect("no error").expect("an answer");
    }

    async fn tell(&mut self, begun: &[&str], ended: &[&str]) {
        let request = AnnounceInterestRequest {
            gateway: None,
            begun: named(begun),
            ended: named(ended),
            more: false,
        };
        self.requests.send(request).await.expect("read");
        self.heard().await;
    }
}

/// For each conversation its gateways, and whether the instance is settled.
async fn interested(client: &Client, names: &[&str]) -> (Vec<Vec<String>>, bool) {
    let request = InterestedRequest {
        conversations: named(names),
        ..InterestedRequest::default()
    };
    let mut client = client.clone();
    let answer = client
        .interested(request)
        .await
        .expect("answers")
        .into_inner();
    let endpoint = |at: u32| answer.endpoints[at as usize].clone();
    let gateways = answer
        .conversations
        .iter()
        .map(|it| it.endpoint_indexes.iter().map(|at| endpoint(*at)).collect());
    (gateways.collect(), answer.settled)
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_are_found_by_the_conversations_that_interest_them() {
    let instance = Instance::start().await;
    let client = instance.client().await;
    let mut g1 = Gateway::start(&instance, "g1", &["fair", "news"]).await;
    let g2 = Gateway::start(&instance, "g2", &["fair"]).await;
    let (gateways, _) = interested(&client, &["fair", "news", "none"]).await;
    assert_eq!(
        gateways,
        [vec!["http://g1", "http://g2"], vec!["http://g1"], vec![]]
    );
    g1.tell(&["town"], &["fair"]).await;
    let (gateways, _) = interested(&client, &["fair", "town"]).await;
    assert_eq!(gateways, [vec!["http://g2"], vec!["http://g1"]]);
    // A farewell is believed at once; what breaks off stands for the grace.
    drop(g1.requests);
    until("the farewell is heard", async || {
        interested(&client, &["town"]).await.0[0].is_empty()
    })
    .await;
    drop(g2);
    until("the grace has passed", async || {
        interested(&client, &["fair"]).await.0[0].is_empty()
    })
    .await;
}

/// Incarnations of gateways that tell, and of those that a conversation interests.
async fn telling(client: &Client, name: &str) -> (Vec<String>, Vec<String>) {
    let request = InterestedRequest {
        conversations: named(&[name]),
        ..InterestedRequest::default()
    };
    let answer = client.clone().interested(request).await.expect("answers");
    let answer = answer.into_inner();
    let all: Vec<_> = answer
        .gateways
        .into_iter()
        .map(|it| it.incarnation)
        .collect();
    let indexes = answer.conversations[0].gateway_indexes.iter();
    let interested = indexes.map(|it| all[*it as usize].clone()).collect();
    (all, interested)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_known_by_what_interests_it_from_the_end_of_its_statement_while_its_stream_stands()
 {
    let instance = Instance::start().await;
    let client = instance.client().await;
    let g1 = Gateway::start(&instance, "g1", &["fair"]).await;
    let g2 = Gateway::start_with(&instance, "g2", &["fair"], true).await;
    assert_eq!(
        telling(&client, "fair").await,
        (vec!["g1".into()], vec!["g1".into()])
    );
    let mut g2 = g2;
    g2.tell(&["news"], &[]).await;
    let both = vec!["g1".to_owned(), "g2".to_owned()];
    assert_eq!(telling(&client, "fair").await, (both.clone(), both.clone()));
    assert_eq!(telling(&client, "news").await, (both, vec!["g2".into()]));
    // Within the grace, what it told stands, but it may have more to tell.
    drop(g1);
    until("it has broken off", async || {
        telling(&client, "fair").await.0 == ["g2"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_has_just_begun_says_that_it_may_not_know_all() {
    let instance = Instance::start().await;
    let client = instance.client().await;
    until("it is settled in time", async || {
        interested(&client, &["fair"]).await.1
    })
    .await;
    let again = Instance::start().await;
    let client = again.client().await;
    assert!(!interested(&client, &["fair"]).await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_checked_and_bounded() {
    let instance = Instance::start().await;
    let mut client = instance.client().await;
    let many = InterestedRequest {
        conversations: named(&["fair"; 1_001]),
        ..InterestedRequest::default()
    };
    let refused = client.interested(many).await.expect_err("too many");
    assert_eq!(code(refused), ErrorCode::InvalidArgument);
    let wrong = InterestedRequest {
        conversations: named(&["../fair"]),
        ..InterestedRequest::default()
    };
    let refused = client.interested(wrong).await.expect_err("no id");
    assert_eq!(code(refused), ErrorCode::InvalidArgument);
}
