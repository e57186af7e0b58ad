//! Registration against revocation and against other connections.

use std::{sync::atomic::Ordering, time::Duration};

use flare_signaling_online::{
    application::{ports::CloseReason, registration::Outcome},
    domain::presence::Connection,
};

use super::{NOW_MS, NOW_S, connection, device, gateway, gateway_of, place};

#[tokio::test]
async fn a_token_that_was_revoked_registers_nothing_and_a_later_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    let revoked = place
        .sign_out
        .revoke(&device("alice", "phone"))
        .await
        .unwrap();
    assert_eq!((revoked.not_before_s, revoked.closed), (NOW_S, 0));
    let outcomes = place
        .registration
        .register(
            &gateway(),
            vec![
                (connection("alice", "phone", 1), NOW_S),
                (connection("alice", "desk", 2), NOW_S),
            ],
        )
        .await
        .unwrap();
    assert_eq!(outcomes, [Outcome::Revoked, Outcome::Stands]);
    assert_eq!(place.standing().await, [2]);
    let later = place.registers(connection("alice", "phone", 3), NOW_S + 1);
    assert_eq!(later.await, Outcome::Stands);
}

#[tokio::test]
async fn revoking_a_user_closes_all_his_connections_and_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let place = place(folder.path()).await;
        let both = vec![
            (connection("alice", "phone", 1), NOW_S),
            (connection("alice", "desk", 2), NOW_S),
        ];
        place.registration.register(&gateway(), both).await.unwrap();
        let revoked = place.sign_out.revoke(&device("alice", "")).await.unwrap();
        assert_eq!(revoked.closed, 2);
        assert_eq!(
            place.gateways.calls(1).await,
            [("g1".to_owned(), vec![2, 1], CloseReason::Revoked)]
        );
    }
    let place = place(folder.path()).await;
    let not_before = place
        .tokens
        .not_before(&[device("alice", "tablet"), device("bob", "phone")])
        .await
        .unwrap();
    assert_eq!(not_before, [NOW_S, 0]);
}

#[tokio::test]
async fn a_revocation_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .sign_out
        .revoke(&device("alice", "phone"))
        .await
        .unwrap();
    place.clock.set(NOW_MS - 60_000);
    assert_eq!(
        place
            .sign_out
            .revoke(&device("alice", "phone"))
            .await
            .unwrap()
            .not_before_s,
        NOW_S
    );
}

#[tokio::test]
async fn a_device_that_connects_again_displaces_its_earlier_connection() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .registers(connection("alice", "phone", 1), NOW_S)
        .await;
    place
        .registers(connection("alice", "phone", 2), NOW_S)
        .await;
    assert_eq!(
        place.gateways.calls(1).await,
        [("g1".to_owned(), vec![1], CloseReason::Replaced)]
    );
}

#[tokio::test]
async fn a_third_device_is_refused_where_two_are_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    let three = [("phone", 1), ("desk", 2), ("tablet", 3)]
        .map(|(name, id)| (connection("alice", name, id), NOW_S));
    let outcomes = place
        .registration
        .register(&gateway(), three.into())
        .await
        .unwrap();
    assert_eq!(
        outcomes,
        [
            Outcome::Stands,
            Outcome::Stands,
            Outcome::TooManyDevices { limit: 2 }
        ]
    );
}

#[tokio::test]
async fn a_kick_leaves_the_token_good() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .registers(connection("alice", "phone", 1), NOW_S)
        .await;
    assert_eq!(
        place
            .sign_out
            .kick(&device("alice", "phone"), "enough")
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        place
            .tokens
            .not_before(&[device("alice", "phone")])
            .await
            .unwrap(),
        [0]
    );
    assert_eq!(place.gateways.calls(1).await[0].2, CloseReason::Kicked);
}

#[tokio::test]
async fn whoever_has_left_was_last_seen_then() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .registers(connection("alice", "phone", 1), NOW_S)
        .await;
    let online = place
        .queries
        .presence("default", vec!["alice".to_owned()])
        .await
        .unwrap();
    assert_eq!(
        (online[0].connections.len(), online[0].last_seen_ms),
        (1, 0)
    );
    place
        .registration
        .unregister("g1", &[(device("alice", "phone"), 1)])
        .await
        .unwrap();
    let gone = place
        .queries
        .presence("default", vec!["alice".to_owned()])
        .await
        .unwrap();
    assert_eq!(
        (gone[0].connections.len(), gone[0].last_seen_ms),
        (0, NOW_MS)
    );
}

#[tokio::test]
async fn a_revoked_token_does_not_displace_the_connection_of_the_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    let phone = device("alice", "phone");
    place.sign_out.revoke(&phone).await.unwrap();
    let signed_in_again = place.registers(connection("alice", "phone", 1), NOW_S + 1);
    assert_eq!(signed_in_again.await, Outcome::Stands);

    let stale = place.registers(connection("alice", "phone", 2), NOW_S);
    assert_eq!(stale.await, Outcome::Revoked);
    assert_eq!(place.standing().await, [1]);

    let later = place.registers(connection("alice", "phone", 3), NOW_S + 1);
    assert_eq!(later.await, Outcome::Stands);
    assert_eq!(
        place.gateways.calls(1).await,
        [("g1".to_owned(), vec![1], CloseReason::Replaced)],
        "the first that was closed"
    );
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_holds_up_no_registration() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .registers(connection("alice", "phone", 1), NOW_S)
        .await;
    place.gateways.hangs.store(true, Ordering::SeqCst);
    let second = place.registers(connection("alice", "phone", 2), NOW_S);
    let outcome = tokio::time::timeout(Duration::from_secs(10), second).await;
    assert_eq!(outcome.expect("in time"), Outcome::Stands);
}

#[tokio::test]
async fn whoever_connects_last_displaces_whatever_the_gateways_clocks_show() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .registers(connection("alice", "phone", 5), NOW_S)
        .await;
    let of_a_slow_clock = Connection {
        connected_ms: 0,
        ..connection("alice", "phone", 1)
    };
    let elsewhere = gateway_of("g2");
    let second = place.registers_at(&elsewhere, of_a_slow_clock, NOW_S);
    assert_eq!(second.await, Outcome::Stands);
    assert_eq!(
        place.gateways.calls(1).await,
        [("g1".to_owned(), vec![5], CloseReason::Replaced)]
    );
}

#[tokio::test]
async fn a_connection_that_comes_again_closes_nobody_s_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .registers(connection("alice", "phone", 1), NOW_S)
        .await;
    let elsewhere = gateway_of("g2");
    let again = Connection {
        again: true,
        connected_ms: NOW_MS + 60_000,
        ..connection("alice", "phone", 2)
    };
    let yields = place.registers_at(&elsewhere, again, NOW_S);
    assert_eq!(yields.await, Outcome::Yields);
    assert_eq!(place.standing().await, [1]);

    let connects = place.registers_at(&elsewhere, connection("alice", "phone", 3), NOW_S);
    assert_eq!(connects.await, Outcome::Stands);
    assert_eq!(
        place.gateways.calls(1).await,
        [("g1".to_owned(), vec![1], CloseReason::Replaced)],
        "the first that was closed"
    );
}
