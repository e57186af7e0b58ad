//! Owners that change, die and do not answer.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use flare_core::codec::{ClientFrame, Codec, ServerFrame};
use flare_proto::{
    client::Ping, common::ErrorCode,
    message::message_orchestrator_service_server::MessageOrchestratorServiceServer,
};
use flare_server_core::owners::Directory;
use flare_storage_model::{ConversationKey, partition_of};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::{
    harness::{Client, Gateway, owner},
    sending::{ack, refused},
    services::{Orchestrator, OrchestratorService, until},
};

/// Another process that may own the log. Dropped, it is gone.
struct Process {
    endpoint: String,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Process {
    async fn start(orchestrator: &Arc<Orchestrator>, number: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let service = OrchestratorService(Arc::clone(orchestrator), number);
        let serving = Server::builder()
            .add_service(MessageOrchestratorServiceServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self {
            endpoint,
            serving: tokio::spawn(serving),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Gateway {
    /// It is told that the log's one partition has this owner.
    fn tell(&self, epoch: u64, endpoint: &str) {
        let directory = Directory::of([owner(epoch, endpoint)]);
        self.owners.send_replace(Arc::new(directory));
    }

    fn order(&self) -> Vec<String> {
        self.world.orchestrator.order.lock().expect("locks").clone()
    }
}

/// Everything that it sent before was read.
async fn is_read(client: &mut Client) {
    client.send(ClientFrame::Ping(Ping { id: 99 })).await;
    assert!(matches!(client.frame().await, ServerFrame::Pong(_)));
}

async fn acked(client: &mut Client, ids: &[&str]) {
    for id in ids {
        assert_eq!(ack(client).await.client_id, *id);
    }
}

#[tokio::test]
async fn commands_wait_until_an_owner_is_known() {
    let gateway = Gateway::told(Directory::default(), |_| {}).await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    for (id, client_id) in [(2, "a1"), (3, "a2")] {
        client.say(id, "room", client_id).await;
    }
    is_read(&mut client).await;
    gateway.owners.send_replace(Arc::new(Directory::of([None])));
    client.say(4, "room", "a3").await;
    is_read(&mut client).await;
    assert!(gateway.order().is_empty());
    gateway.tell(1, "");
    acked(&mut client, &["a1", "a2", "a3"]).await;
}

#[tokio::test]
async fn commands_that_find_no_owner_are_refused_in_time_and_in_their_order() {
    let gateway = Gateway::told(Directory::of([None]), |it| it.command_ms = 200).await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client.say(2, "room", "a1").await;
    client.say(3, "room", "a2").await;
    for id in ["a1", "a2"] {
        let (client_id, code) = refused(&mut client).await;
        assert_eq!((&*client_id, code), (id, ErrorCode::DeadlineExceeded));
    }
    gateway.tell(1, "");
    for (id, client_id) in [(4, "a1"), (5, "a2")] {
        client.say(id, "room", client_id).await;
    }
    acked(&mut client, &["a1", "a2"]).await;
    assert_eq!(gateway.order(), ["a1", "a2"]);
}

#[tokio::test]
async fn what_is_refused_as_not_owned_goes_to_the_next_owner_without_a_word_to_the_client() {
    let gateway = Gateway::start().await;
    let other = Process::start(&gateway.world.orchestrator, 1).await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client.say(2, "room", "a1").await;
    acked(&mut client, &["a1"]).await;
    gateway.world.orchestrator.owner.store(1, Ordering::SeqCst);
    for (id, client_id) in [(3, "a2"), (4, "a3"), (5, "a4")] {
        client.say(id, "room", client_id).await;
    }
    is_read(&mut client).await;
    gateway.tell(2, &other.endpoint);
    acked(&mut client, &["a2", "a3", "a4"]).await;
    assert_eq!(gateway.order(), ["a1", "a2", "a3", "a4"]);
}

#[tokio::test]
async fn whoever_refuses_may_say_who_is_the_owner() {
    let gateway = Gateway::start().await;
    let orchestrator = &gateway.world.orchestrator;
    let other = Process::start(orchestrator, 1).await;
    *orchestrator.hint.lock().expect("locks") = other.endpoint.clone();
    orchestrator.owner.store(1, Ordering::SeqCst);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client.say(2, "room", "a1").await;
    client.say(3, "room", "a2").await;
    acked(&mut client, &["a1", "a2"]).await;
}

#[tokio::test]
async fn what_waits_for_an_owner_that_does_not_answer_is_overtaken_by_nothing() {
    let gateway = Gateway::start().await;
    let silent = Arc::new(Orchestrator::default());
    let other = Process::start(&silent, 0).await;
    gateway.tell(2, &other.endpoint);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client.say(2, "room", "a1").await;
    until("it is asked", || {
        silent.seen.lock().expect("locks").len() == 1
    })
    .await;
    gateway.tell(3, "");
    client.say(3, "room", "a2").await;
    client.say(4, "room", "a3").await;
    acked(&mut client, &["a1", "a2", "a3"]).await;
    assert_eq!(gateway.order(), ["a1", "a2", "a3"]);
    assert_eq!(silent.seen.lock().expect("locks").len(), 1);
}

#[tokio::test]
async fn an_owner_that_is_not_reached_is_left_as_soon_as_another_is_known() {
    let gateway = Gateway::start().await;
    let gone = Process::start(&gateway.world.orchestrator, 0)
        .await
        .endpoint
        .clone();
    gateway.tell(2, &gone);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client.say(2, "room", "a1").await;
    client.say(3, "room", "a2").await;
    is_read(&mut client).await;
    assert!(gateway.order().is_empty());
    gateway.tell(3, "");
    acked(&mut client, &["a1", "a2"]).await;
}

#[tokio::test]
async fn a_partition_without_an_owner_holds_up_no_other() {
    let gateway = Gateway::told(Directory::of([None, owner(1, "")]), |_| {}).await;
    let of = |partition| {
        let names = (0..).map(|it| format!("room-{it}"));
        let mut its = names.filter(move |it| {
            partition_of(&ConversationKey::new("default", it.as_str()), 2) == partition
        });
        its.next().expect("there are many")
    };
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client.say(2, &of(0), "a1").await;
    client.say(3, &of(1), "b1").await;
    acked(&mut client, &["b1"]).await;
    let both = Directory::of([owner(1, ""), owner(1, "")]);
    gateway.owners.send_replace(Arc::new(both));
    acked(&mut client, &["a1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_keep_their_order_while_the_owner_changes_all_the_time() {
    const ROOMS: usize = 4;
    const COMMANDS: usize = 600;
    let gateway = Gateway::start().await;
    let orchestrator = Arc::clone(&gateway.world.orchestrator);
    let first = Process::start(&orchestrator, 1).await;
    let second = Process::start(&orchestrator, 2).await;
    let endpoints = [
        String::new(),
        first.endpoint.clone(),
        second.endpoint.clone(),
    ];
    let owners = gateway.owners.clone();
    let moving = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(7));
        for turn in 1.. {
            // The directory tells sooner, later, or of a moment in between.
            let (owner_at, told_at) = [(turn, turn), (turn, turn - 1), (turn - 1, turn)][turn % 3];
            orchestrator.owner.store(owner_at % 3, Ordering::SeqCst);
            ticks.tick().await;
            let epoch = told_at as u64 + 1;
            let directory = Directory::of([owner(epoch, &endpoints[told_at % 3])]);
            owners.send_replace(Arc::new(directory));
            ticks.tick().await;
            orchestrator.owner.store(told_at % 3, Ordering::SeqCst);
            ticks.tick().await;
        }
    });
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    let (mut sent, mut answered) = (0, 0);
    while answered < COMMANDS {
        while sent < COMMANDS && sent - answered < 40 {
            let room = format!("room-{}", sent % ROOMS);
            let id = u32::try_from(sent + 2).expect("few");
            client.say(id, &room, &format!("{room}-{sent:04}")).await;
            sent += 1;
        }
        match client.frame().await {
            ServerFrame::SendAck(_) => answered += 1,
            other => panic!("an ack, not {other:?}"),
        }
    }
    moving.abort();
    let mut by_room: HashMap<String, Vec<String>> = HashMap::new();
    for id in gateway.order() {
        let (room, _) = id.rsplit_once('-').expect("a room's");
        by_room.entry(room.to_owned()).or_default().push(id);
    }
    assert_eq!(by_room.len(), ROOMS);
    for (room, ids) in by_room {
        assert!(ids.is_sorted(), "{room}: {ids:?}");
        assert_eq!(ids.len(), COMMANDS / ROOMS, "{room}");
    }
}
