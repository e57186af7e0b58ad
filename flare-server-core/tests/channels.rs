//! Channels to processes that come, go, die and hang: real servers on loopback.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use flare_server_core::{
    channels::{Channels, ServiceChannel},
    registry::{Registry, service},
    shutdown::Shutdown,
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tonic::{
    Code, Request, Response, Status,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};

const SOON: Duration = Duration::from_secs(10);
/// A runtime has looked at its sockets several times when it was given its turn so often.
const LOOKS_AT_SOCKETS: usize = 1_000;

/// A registry whose endpoints the test sets.
#[derive(Default)]
struct Named {
    endpoints: watch::Sender<Vec<String>>,
}

impl Registry for Named {
    fn endpoints(&self, _: &str) -> watch::Receiver<Vec<String>> {
        self.endpoints.subscribe()
    }
}

/// Answers with its own number as the status, and counts what it was asked.
struct Numbered {
    number: i32,
    asked: Arc<Mutex<u32>>,
    hangs: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Health for Numbered {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        *self.asked.lock().unwrap() += 1;
        let _ = self.hangs.clone().wait_for(|hangs| !hangs).await;
        Ok(Response::new(HealthCheckResponse {
            status: self.number,
        }))
    }

    type WatchStream = tokio_stream::wrappers::ReceiverStream<Result<HealthCheckResponse, Status>>;

    /// A stream that stays open.
    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let first = HealthCheckResponse {
            status: self.number,
        };
        sender.send(Ok(first)).await.unwrap();
        tokio::spawn(async move { sender.closed().await });
        Ok(Response::new(receiver.into()))
    }
}

/// A server in a runtime of its own, so that it can be killed with all its connections.
struct Process {
    runtime: Option<Runtime>,
    at: SocketAddr,
    asked: Arc<Mutex<u32>>,
    hangs: watch::Sender<bool>,
}

impl Process {
    async fn start(number: i32, at: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (asked, hangs) = (Arc::default(), watch::Sender::new(false));
        let numbered = Numbered {
            number,
            asked: Arc::clone(&asked),
            hangs: hangs.subscribe(),
        };
        let at = at.to_owned();
        let bound = runtime.spawn(async move {
            let listener = TcpListener::bind(at).await.unwrap();
            let at = listener.local_addr().unwrap();
            let serving = Server::builder()
                .add_service(HealthServer::new(numbered))
                .serve_with_incoming(TcpIncoming::from(listener));
            tokio::spawn(serving);
            at
        });
        let at = bound.await.unwrap();
        Self {
            runtime: Some(runtime),
            at,
            asked,
            hangs,
        }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.at)
    }

    fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }

    /// Its connections break, and nobody listens any more.
    async fn kill(mut self) -> SocketAddr {
        let at = self.at;
        if let Some(runtime) = self.runtime.take() {
            let ending = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(SOON));
            ending.await.unwrap();
        }
        let gone = async {
            let mut looks = tokio::time::interval(Duration::from_millis(5));
            while tokio::net::TcpStream::connect(at).await.is_ok() {
                looks.tick().await;
            }
        };
        timeout(SOON, gone).await.expect("it is dead");
        // Whoever holds its connections gets to see that they have ended.
        for _ in 0..LOOKS_AT_SOCKETS {
            tokio::task::yield_now().await;
        }
        at
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A channel to what the registry names.
fn channel(registry: Arc<Named>) -> ServiceChannel {
    let channels = Channels::new(registry, None, None, Shutdown::new());
    channels.serve_local(Routes::default(), Vec::new(), None);
    channels.get(service::SESSION)
}

async fn two() -> (Process, Process, Arc<Named>, ServiceChannel) {
    let one = Process::start(1, "127.0.0.1:0").await;
    let two = Process::start(2, "127.0.0.1:0").await;
    let registry = Arc::new(Named::default());
    registry
        .endpoints
        .send_replace(vec![one.endpoint(), two.endpoint()]);
    let channel = channel(Arc::clone(&registry));
    let both = async {
        let mut answered = HashSet::new();
        while answered.len() < 2 {
            answered.insert(ask(&channel).await.unwrap());
        }
    };
    timeout(SOON, both).await.expect("both answer");
    (one, two, registry, channel)
}

/// The number of the process that answers.
async fn ask(channel: &ServiceChannel) -> Result<i32, Status> {
    let request = HealthCheckRequest::default();
    let mut client = HealthClient::new(channel.clone());
    Ok(client.check(request).await?.into_inner().status)
}

/// The numbers of those who answer so many calls.
async fn who_answers(channel: &ServiceChannel, calls: usize) -> HashSet<i32> {
    let mut numbers = HashSet::new();
    for _ in 0..calls {
        numbers.insert(ask(channel).await.unwrap());
    }
    numbers
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let held = async {
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while !holds().await {
            looks.tick().await;
        }
    };
    timeout(SOON, held)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn endpoints_that_come_and_go_are_followed() {
    let (one, two, registry, channel) = two().await;
    let three = Process::start(3, "127.0.0.1:0").await;
    registry
        .endpoints
        .send_replace(vec![two.endpoint(), three.endpoint()]);
    until("the third is called", async || {
        ask(&channel).await.unwrap() == 3
    })
    .await;
    let before = one.asked();
    assert_eq!(who_answers(&channel, 50).await, HashSet::from([2, 3]));
    assert_eq!(one.asked(), before, "the first is called no more");
}

#[tokio::test]
async fn who_drains_is_called_no_more_and_finishes_what_it_has() {
    let (one, two, registry, channel) = two().await;
    one.hangs.send_replace(true);
    let mut calls = JoinSet::new();
    while one.asked() == 0 || calls.len() < 4 {
        let channel = channel.clone();
        calls.spawn(async move { ask(&channel).await });
        tokio::task::yield_now().await;
        if calls.len() > 1_000 {
            break;
        }
    }
    until("the first is asked", async || one.asked() > 0).await;
    registry.endpoints.send_replace(vec![two.endpoint()]);
    until("it is called no more", async || {
        let before = one.asked();
        who_answers(&channel, 20).await == HashSet::from([2]) && one.asked() == before
    })
    .await;
    one.hangs.send_replace(false);
    let answers = calls.join_all().await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn no_call_fails_that_begins_after_a_process_has_died() {
    for _ in 0..5 {
        let (one, two, registry, channel) = two().await;
        one.kill().await;
        assert_eq!(who_answers(&channel, 100).await, HashSet::from([2]));
        assert_eq!(registry.endpoints.borrow().len(), 2, "it is still named");
        drop(two);
    }
}

#[tokio::test]
async fn only_calls_that_were_under_way_fail_when_a_process_dies() {
    const CALLS: u32 = 50;
    let (one, two, _registry, channel) = two().await;
    let (before, all_before) = (one.asked(), one.asked() + two.asked());
    one.hangs.send_replace(true);
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let channel = channel.clone();
        calls.spawn(async move { ask(&channel).await });
    }
    // Those on their way would be under way when it dies, too, and nobody has counted them.
    until("all have arrived", async || {
        one.asked() + two.asked() == all_before + CALLS
    })
    .await;
    let under_way = (one.asked() - before) as usize;
    one.kill().await;
    let answers = calls.join_all().await;
    let failed: Vec<_> = answers.iter().filter_map(|it| it.as_ref().err()).collect();
    assert!(under_way > 10, "{under_way} of {CALLS}");
    assert_eq!(failed.len(), under_way, "{failed:?}");
    assert!(answers.iter().any(Result::is_ok));
    drop(two);
}

#[tokio::test]
async fn a_process_that_comes_back_at_its_endpoint_is_called_again() {
    let (one, two, _registry, channel) = two().await;
    let at = one.kill().await;
    assert_eq!(who_answers(&channel, 10).await, HashSet::from([2]));
    let one = Process::start(3, &at.to_string()).await;
    until("it is called", async || ask(&channel).await.unwrap() == 3).await;
    let at = two.kill().await;
    assert_eq!(who_answers(&channel, 10).await, HashSet::from([3]));
    drop((one, at));
}

#[tokio::test]
async fn the_first_call_reaches_a_process_that_has_come_back() {
    let registry = Arc::new(Named::default());
    let channel = channel(Arc::clone(&registry));
    let one = Process::start(1, "127.0.0.1:0").await;
    registry.endpoints.send_replace(vec![one.endpoint()]);
    until("it is found", async || ask(&channel).await.is_ok()).await;
    let at = one.kill().await;
    // Pauses between attempts have grown by then.
    for _ in 0..6 {
        ask(&channel).await.expect_err("nobody is there");
    }
    let _back = Process::start(2, &at.to_string()).await;
    assert_eq!(ask(&channel).await.unwrap(), 2);
}

#[tokio::test]
async fn who_lets_calls_wait_is_called_only_when_no_other_is_there() {
    let (one, two, registry, channel) = two().await;
    one.hangs.send_replace(true);
    let given_up = async || {
        let call = timeout(Duration::from_millis(1_200), ask(&channel));
        call.await.is_err()
    };
    until("a call is given up", given_up).await;
    let before = one.asked();
    assert_eq!(who_answers(&channel, 20).await, HashSet::from([2]));
    assert_eq!(one.asked(), before);
    registry.endpoints.send_replace(vec![one.endpoint()]);
    one.hangs.send_replace(false);
    until("it is called", async || ask(&channel).await.unwrap() == 1).await;
    drop(two);
}

#[tokio::test]
async fn a_call_of_which_nothing_has_left_goes_to_another() {
    // It takes connections and says nothing that gRPC knows, then breaks them.
    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = rude.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = rude.accept().await {
            drop(stream);
        }
    });
    let one = Process::start(1, "127.0.0.1:0").await;
    let registry = Arc::new(Named::default());
    registry
        .endpoints
        .send_replace(vec![format!("http://{at}"), one.endpoint()]);
    let channel = channel(registry);
    until("the good one is connected", async || {
        ask(&channel).await.is_ok()
    })
    .await;
    let mut failed = 0;
    for _ in 0..200 {
        failed += u32::from(ask(&channel).await.is_err());
        tokio::task::yield_now().await;
    }
    assert_eq!(failed, 0);
}

#[tokio::test]
async fn a_stream_ends_with_its_process_and_the_next_goes_to_another() {
    let (one, two, _registry, channel) = two().await;
    let mut client = HealthClient::new(channel.clone());
    let mut open = async || {
        let opened = client.watch(HealthCheckRequest::default()).await.unwrap();
        let mut stream = opened.into_inner();
        let first = stream.message().await.unwrap().unwrap();
        (first.status, stream)
    };
    let mut stream = loop {
        let (number, stream) = open().await;
        if number == 1 {
            break stream;
        }
    };
    one.kill().await;
    let ended = timeout(SOON, stream.message()).await.expect("it ends");
    assert!(!matches!(ended, Ok(Some(_))));
    assert_eq!(open().await.0, 2);
    drop(two);
}

#[tokio::test]
async fn nobody_there_is_said_at_once_and_why() {
    let registry = Arc::new(Named::default());
    let channel = channel(Arc::clone(&registry));
    let refused = ask(&channel).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("names no endpoint"), "{refused}");

    let one = Process::start(1, "127.0.0.1:0").await;
    registry.endpoints.send_replace(vec![one.endpoint()]);
    until("it is found", async || ask(&channel).await.is_ok()).await;
    let at = one.kill().await;
    let begun = Instant::now();
    let refused = ask(&channel).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains(&at.to_string()), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn the_endpoints_stand_while_this_process_drains() {
    let one = Process::start(1, "127.0.0.1:0").await;
    let registry = Arc::new(Named::default());
    registry.endpoints.send_replace(vec![one.endpoint()]);
    let shutdown = Shutdown::new();
    let channels = Channels::new(registry.clone(), None, None, shutdown.clone());
    channels.serve_local(Routes::default(), Vec::new(), None);
    let channel = channels.get(service::SESSION);
    assert_eq!(ask(&channel).await.unwrap(), 1);
    shutdown.drain();
    tokio::task::yield_now().await;
    registry.endpoints.send_replace(Vec::new());
    assert_eq!(who_answers(&channel, 20).await, HashSet::from([1]));
}
