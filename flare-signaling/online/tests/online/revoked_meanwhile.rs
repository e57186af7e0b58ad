//! Registration while the revocations change or break.

use std::time::Duration;

use flare_signaling_online::application::{ports::CloseReason, registration::Outcome};

use super::{Meanwhile, NOW_MS, NOW_S, Place, connection, device, gateway, place};

/// A place where Alice's phone is connected, and something happens while it connects again.
async fn connected(folder: &std::path::Path, meanwhile: Meanwhile) -> Place {
    let place = place(folder).await;
    let first = place.registers(connection("alice", "phone", 1), NOW_S);
    assert_eq!(first.await, Outcome::Stands);
    *place.revocations.after_next_read.lock().unwrap() = Some(meanwhile);
    place
}

#[tokio::test]
async fn a_token_that_is_revoked_during_its_registration_stands_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let meanwhile = Meanwhile::Revoked(device("alice", "phone"));
    let place = connected(folder.path(), meanwhile).await;
    let second = place.registers(connection("alice", "phone", 2), NOW_S);
    assert_eq!(second.await, Outcome::Revoked);
    assert_eq!(place.standing().await, [0_u64; 0]);
    assert_eq!(
        place.gateways.calls(1).await,
        [("g1".to_owned(), vec![1], CloseReason::ConnectAgain)],
        "the client connects again if the displaced token is good"
    );
    let presence = place.queries.presence("default", vec!["alice".to_owned()]);
    assert_eq!(presence.await.unwrap()[0].last_seen_ms, NOW_MS);
}

#[tokio::test]
async fn what_was_displaced_is_closed_though_the_revocations_cannot_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let place = connected(folder.path(), Meanwhile::Broken).await;
    let second = (connection("alice", "phone", 2), NOW_S);
    let outcomes = place.registration.register(&gateway(), vec![second]).await;
    assert!(outcomes.is_err(), "{outcomes:?}");
    assert_eq!(
        place.gateways.calls(1).await,
        [("g1".to_owned(), vec![1], CloseReason::Replaced)]
    );
}

#[tokio::test]
async fn what_was_displaced_is_closed_though_the_gateway_waits_no_longer_for_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let place = connected(folder.path(), Meanwhile::Held).await;
    let stands = async {
        while place.standing().await != [2] {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = place.registers(connection("alice", "phone", 2), NOW_S) => panic!("{outcome:?}"),
        stands = tokio::time::timeout(Duration::from_secs(10), stands) => stands.unwrap(),
    }
    place.revocations.held.send_replace(false);
    assert_eq!(
        place.gateways.calls(1).await,
        [("g1".to_owned(), vec![1], CloseReason::Replaced)]
    );
}
