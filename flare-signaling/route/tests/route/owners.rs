//! Partition → owner.

use std::time::{Duration, Instant};

use flare_proto::{
    common::ErrorCode,
    signaling::{AnnounceRequest, Announcer, OwnerRequest, Ownership, WatchRequest},
};
use flare_server_core::error::Refusal;
use tonic::{Status, Streaming};

use crate::ground::{GRACE_MS, Instance, Named, Orchestrator, at, owner, until, watcher};

fn code(status: Status) -> ErrorCode {
    Refusal::from(status).code
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_know_the_same_and_follow_what_changes() {
    let (first, second) = (Instance::start().await, Instance::start().await);
    let both = Named::these(&[&first, &second]);
    let a = Orchestrator::start(&both, "http://a", 4);
    let b = Orchestrator::start(&both, "http://b", 4);
    a.owns(0, 3);
    a.owns(1, 5);
    b.owns(2, 1);
    let watchers = [&first, &second].map(|it| watcher(&Named::these(&[it])));
    for owners in &watchers {
        until("all is told", async || {
            (owner(owners, 0), owner(owners, 1), owner(owners, 2))
                == (at(3, "http://a"), at(5, "http://a"), at(1, "http://b"))
        })
        .await;
        assert_eq!(owners.current().partitions(), Some(4));
        assert_eq!(owner(owners, 3), None);
    }
    // It moves. The earlier owner has not heard of it yet.
    b.owns(1, 6);
    for owners in &watchers {
        until("the later epoch wins", async || {
            owner(owners, 1) == at(6, "http://b")
        })
        .await;
    }
    b.loses(1);
    for owners in &watchers {
        until("who was deposed does not own", async || {
            owner(owners, 1).is_none()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_comes_to_be_known_is_told_everything() {
    let first = Instance::start().await;
    let registry = Named::these(&[&first]);
    let a = Orchestrator::start(&registry, "http://a", 2);
    a.owns(1, 7);
    let second = Instance::start().await;
    registry.name(&[&first, &second]);
    let owners = watcher(&Named::these(&[&second]));
    until("the second knows", async || {
        owner(&owners, 1) == at(7, "http://a")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_orchestrator_that_dies_owned_is_vacant_after_the_grace() {
    let instance = Instance::start().await;
    let registry = Named::these(&[&instance]);
    let a = Orchestrator::start(&registry, "http://a", 2);
    let b = Orchestrator::start(&registry, "http://b", 2);
    a.owns(0, 3);
    a.owns(1, 3);
    let owners = watcher(&registry);
    until("it owns both", async || {
        owner(&owners, 0).is_some() && owner(&owners, 1).is_some()
    })
    .await;
    let died = Instant::now();
    drop(a);
    b.owns(1, 4);
    until("another takes over at once", async || {
        owner(&owners, 1) == at(4, "http://b")
    })
    .await;
    until("the other is vacant", async || owner(&owners, 0).is_none()).await;
    assert!(
        died.elapsed() >= Duration::from_millis(GRACE_MS),
        "{:?}",
        died.elapsed()
    );
    assert_eq!(owner(&owners, 1), at(4, "http://b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farewell_is_believed_at_once() {
    let instance = Instance::start().await;
    let registry = Named::these(&[&instance]);
    let a = Orchestrator::start(&registry, "http://a", 1);
    let b = Orchestrator::start(&registry, "http://b", 1);
    a.owns(0, 3);
    let owners = watcher(&registry);
    until("it owns", async || owner(&owners, 0) == at(3, "http://a")).await;
    a.says_farewell();
    until("it is vacant", async || owner(&owners, 0).is_none()).await;
    b.owns(0, 4);
    until("the next owns", async || {
        owner(&owners, 0) == at(4, "http://b")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_keeps_what_it_knows_while_the_service_restarts_and_is_told_all_again() {
    let instance = Instance::start().await;
    let registry = Named::these(&[&instance]);
    let a = Orchestrator::start(&registry, "http://a", 2);
    a.owns(0, 3);
    a.owns(1, 3);
    let owners = watcher(&registry);
    until("it owns both", async || {
        owner(&owners, 0).is_some() && owner(&owners, 1).is_some()
    })
    .await;
    let address = instance.address;
    drop(instance);
    a.owns(1, 9);
    a.loses(0);
    let instance = Instance::at(address).await;
    until("what changed meanwhile is told", async || {
        owner(&owners, 1) == at(9, "http://a")
    })
    .await;
    assert_eq!(
        owner(&owners, 0),
        at(3, "http://a"),
        "of this nobody tells anything any more"
    );
    let mut client = instance.client().await;
    let asked = client.owner(OwnerRequest {
        partition: 1,
        ..OwnerRequest::default()
    });
    let told = asked.await.expect("answers").into_inner().owner;
    assert_eq!(told.expect("known").epoch, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_finds_an_owner_and_the_next_one_once_the_first_has_refused() {
    let instance = Instance::start().await;
    let registry = Named::these(&[&instance]);
    let owners = watcher(&registry);
    let finding = tokio::spawn({
        let owners = owners.clone();
        async move {
            assert_eq!(owners.partitions().await, 1);
            owners.find(0, None).await
        }
    });
    let a = Orchestrator::start(&registry, "http://a", 1);
    a.owns(0, 3);
    let first = finding.await.expect("found");
    assert_eq!((first.epoch, &*first.endpoint), (3, "http://a"));
    // The same, after a while, if nobody else is told to own.
    assert_eq!(owners.find(0, Some(&first)).await, first);
    let b = Orchestrator::start(&registry, "http://b", 1);
    b.owns(0, 4);
    until("another is found", async || {
        &*owners.find(0, Some(&first)).await.endpoint == "http://b"
    })
    .await;
}

async fn announces(
    instance: &Instance,
    incarnation: &str,
    partitions: u32,
    ownerships: Vec<Ownership>,
) -> Result<Streaming<flare_proto::signaling::AnnounceResponse>, Status> {
    let request = AnnounceRequest {
        announcer: Some(Announcer {
            incarnation: incarnation.to_owned(),
            endpoint: "http://a".to_owned(),
        }),
        partitions,
        ownerships,
    };
    let requests =
        tokio_stream::StreamExt::chain(tokio_stream::once(request), tokio_stream::pending());
    let mut client = instance.client().await;
    let mut answers = client.announce(requests).await?.into_inner();
    answers.message().await?.expect("an answer");
    Ok(answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_log_is_refused() {
    let instance = Instance::start().await;
    let owns = |partition| Ownership {
        partition,
        epoch: 1,
        ended: false,
    };
    let beyond = announces(&instance, "a", 4, vec![owns(4)]).await;
    assert_eq!(
        code(beyond.expect_err("refused")),
        ErrorCode::InvalidArgument
    );
    let none = announces(&instance, "a", 0, Vec::new()).await;
    assert_eq!(code(none.expect_err("refused")), ErrorCode::InvalidArgument);
    let unnamed = announces(&instance, "", 4, Vec::new()).await;
    assert_eq!(
        code(unnamed.expect_err("refused")),
        ErrorCode::InvalidArgument
    );
    let stands = announces(&instance, "a", 4, vec![owns(3)])
        .await
        .expect("stands");
    let other = announces(&instance, "b", 8, Vec::new()).await;
    assert_eq!(
        code(other.expect_err("refused")),
        ErrorCode::FailedPrecondition
    );
    let mut client = instance.client().await;
    let asked = OwnerRequest {
        partition: 4,
        ..OwnerRequest::default()
    };
    assert_eq!(
        code(client.owner(asked).await.expect_err("refused")),
        ErrorCode::InvalidArgument
    );
    drop(stands);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_told_of_the_partitions_that_it_asked_for() {
    let instance = Instance::start().await;
    let registry = Named::these(&[&instance]);
    let a = Orchestrator::start(&registry, "http://a", 3);
    (0..3).for_each(|it| a.owns(it, 1));
    let owners = watcher(&registry);
    until("all are told", async || {
        (0..3).all(|it| owner(&owners, it).is_some())
    })
    .await;
    let mut client = instance.client().await;
    let asked = WatchRequest {
        partitions: vec![1],
        ..WatchRequest::default()
    };
    let mut told = client.watch(asked).await.expect("answers").into_inner();
    let mut next = async || {
        let told = told
            .message()
            .await
            .expect("no error")
            .expect("not the end");
        let named = told.owners.iter().map(|it| (it.partition, it.epoch));
        (told.partitions, named.collect::<Vec<_>>())
    };
    assert_eq!(next().await, (3, vec![(1, 1)]));
    a.owns(0, 2);
    a.owns(1, 3);
    assert_eq!(next().await, (3, vec![(1, 3)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_service_drains() {
    let instance = Instance::start().await;
    let mut stands = announces(&instance, "a", 1, Vec::new())
        .await
        .expect("stands");
    let mut client = instance.client().await;
    let watching = client.watch(WatchRequest::default()).await;
    let mut told = watching.expect("answers").into_inner();
    assert!(told.message().await.expect("no error").is_some());
    instance.shutdown.drain();
    let ended = async { (stands.message().await.ok(), told.message().await.ok()) };
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
    assert_eq!(ended.expect("in time"), (Some(None), Some(None)));
}
