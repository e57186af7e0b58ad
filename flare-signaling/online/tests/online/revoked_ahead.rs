//! Tokens whose issuer's clock runs ahead of ours.

use flare_proto::signaling::{RevocationsRequest, signaling_service_server::SignalingService};
use flare_signaling_online::application::{ports::CloseReason, registration::Outcome};
use tonic::Request;

use super::{Meanwhile, NOW_MS, NOW_S, connection, device, place};

/// A time of issue that our clock has not reached.
const AHEAD_S: i64 = NOW_S + 30;

#[tokio::test]
async fn a_token_from_ahead_of_our_clock_dies_with_its_revocation() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    let first = place.registers(connection("alice", "phone", 1), AHEAD_S);
    assert_eq!(first.await, Outcome::Stands);
    let phone = device("alice", "phone");
    let revoked = place.sign_out.revoke(&phone).await.unwrap();
    assert_eq!((revoked.not_before_s, revoked.closed), (AHEAD_S, 1));
    place
        .registration
        .unregister("g1", &[(phone, 1)])
        .await
        .unwrap();
    for (id, issued_s, outcome) in [
        (2, AHEAD_S, Outcome::Revoked),
        (3, AHEAD_S + 1, Outcome::Stands),
    ] {
        let again = place.registers(connection("alice", "phone", id), issued_s);
        assert_eq!(again.await, outcome, "{issued_s}");
    }
}

#[tokio::test]
async fn a_token_that_another_service_has_seen_dies_likewise() {
    let folder = tempfile::tempdir().unwrap();
    {
        let service = place(folder.path()).await.service();
        let phone = flare_proto::signaling::DeviceKey {
            tenant_id: "default".to_owned(),
            user_id: "alice".to_owned(),
            device_id: "phone".to_owned(),
        };
        let shown = RevocationsRequest {
            devices: vec![phone],
            issued_s: vec![AHEAD_S],
            ..RevocationsRequest::default()
        };
        let answer = service.revocations(Request::new(shown)).await.unwrap();
        assert_eq!(answer.into_inner().not_before_s, [0]);
    }
    let place = place(folder.path()).await;
    let revoked = place.sign_out.revoke(&device("alice", "phone")).await;
    assert_eq!(revoked.unwrap().not_before_s, AHEAD_S);
}

#[tokio::test]
async fn signing_out_everywhere_reaches_the_newest_token_of_any_device_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let place = place(folder.path()).await;
        for (name, id, issued_s) in [("phone", 1, AHEAD_S), ("desk", 2, NOW_S)] {
            let first = place.registers(connection("alice", name, id), issued_s);
            assert_eq!(first.await, Outcome::Stands);
        }
    }
    let place = place(folder.path()).await;
    let desk = place.sign_out.revoke(&device("alice", "desk")).await;
    assert_eq!(desk.unwrap().not_before_s, NOW_S);
    let all = place.sign_out.revoke(&device("alice", "")).await;
    assert_eq!(all.unwrap().not_before_s, AHEAD_S);
}

#[tokio::test]
async fn a_revocation_during_the_registration_of_such_a_token_is_found_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    let first = place.registers(connection("alice", "phone", 1), AHEAD_S);
    assert_eq!(first.await, Outcome::Stands);
    let meanwhile = Meanwhile::Revoked(device("alice", "phone"));
    *place.revocations.after_next_read.lock().unwrap() = Some(meanwhile);
    let second = place.registers(connection("alice", "phone", 2), AHEAD_S);
    assert_eq!(second.await, Outcome::Revoked);
    assert_eq!(place.standing().await, [0_u64; 0]);
    assert_eq!(
        place.gateways.calls(1).await,
        [("g1".to_owned(), vec![1], CloseReason::ConnectAgain)]
    );
}

#[tokio::test]
async fn what_our_clock_has_reached_needs_no_note() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .registers(connection("alice", "phone", 1), NOW_S + 1)
        .await;
    place.clock.set(NOW_MS + 1_000);
    let revoked = place.sign_out.revoke(&device("alice", "phone")).await;
    assert_eq!(revoked.unwrap().not_before_s, NOW_S + 1);
}
