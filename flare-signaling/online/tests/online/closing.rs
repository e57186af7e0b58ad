//! Closing at gateways that do not answer.

use std::{sync::atomic::Ordering, time::Duration};

use flare_signaling_online::application::ports::CloseReason;

use super::{LEASE_MS, NOW_S, Place, connection, device, place};

/// Alice's phone is connected, signed out, and its gateway answers only after so many calls more.
async fn signed_out(folder: &std::path::Path, gives_up: u32) -> Place {
    let place = place(folder).await;
    place
        .registers(connection("alice", "phone", 1), NOW_S)
        .await;
    place.gateways.gives_up.store(gives_up, Ordering::SeqCst);
    let revoked = place.sign_out.revoke(&device("alice", "phone")).await;
    assert_eq!(revoked.unwrap().closed, 0);
    tokio::time::pause();
    place
}

#[tokio::test]
async fn a_gateway_that_did_not_answer_is_asked_again_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let place = signed_out(folder.path(), 3).await;
    assert_eq!(
        place.gateways.calls(1).await,
        [("g1".to_owned(), vec![1], CloseReason::Revoked)]
    );
    assert_eq!(place.gateways.asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_gateway_whose_lease_has_ended_is_asked_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let place = signed_out(folder.path(), u32::MAX).await;
    let long_after = Duration::from_millis(u64::from(LEASE_MS) * 1_000);
    let reaped = tokio::time::timeout(long_after, place.registration.reap()).await;
    assert!(reaped.is_err(), "it runs for ever");
    let asked = place.gateways.asked.load(Ordering::SeqCst);
    assert!((1..=3).contains(&asked), "{asked} times");
}
