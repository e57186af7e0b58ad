//! Devices and explanations, for administrators.

use flare_proto::{
    gateway::{AdminDeviceRequest, ExplainMessageRequest},
    message::{Event, EventHeader},
    session::{ListPositionsRequest, ListPositionsResponse, MemberPosition},
    signaling::{KickRequest, KickResponse, RevokeRequest, RevokeResponse},
    storage::{LocateRequest, LocateResponse, LogPresence},
};
use prost::Message;

use crate::running::{ALL_SCOPES, Running, refused, with};

#[tokio::test]
async fn an_administrator_kicks_and_revokes_in_his_own_tenant() {
    let (running, _folder) = Running::start().await;
    running
        .inner
        .answer("SignalingService/Kick", |_: KickRequest| {
            Ok(KickResponse {
                closed_connections: 2,
            })
        });
    running
        .inner
        .answer("SignalingService/Revoke", |_: RevokeRequest| {
            Ok(RevokeResponse {
                not_before_s: 5,
                closed_connections: 1,
            })
        });
    let key = running.key(&["admin"]).await;
    let headers = [("x-api-key", key.as_str())];
    let body = Some(r#"{"deviceId":"phone","reason":"lost"}"#);
    let answer = running
        .call("POST", "/api/v1/admin/users/bob/kick", &headers, body)
        .await;
    assert_eq!(answer.json()["closedConnections"], 2);
    let request = running
        .inner
        .requests::<KickRequest>("SignalingService/Kick")
        .remove(0);
    let device = request.device.expect("a device");
    assert_eq!(
        (
            device.tenant_id.as_str(),
            device.user_id.as_str(),
            device.device_id.as_str()
        ),
        ("default", "bob", "phone")
    );
    assert_eq!(request.reason, "lost");
    let answer = running
        .call(
            "POST",
            "/api/v1/admin/users/bob/revoke",
            &headers,
            Some("{}"),
        )
        .await;
    assert_eq!(answer.json()["notBeforeS"], "5");
    let mut grpc = running.grpc().await;
    for (request, field) in [
        (
            AdminDeviceRequest {
                user_id: "b/b".to_owned(),
                ..Default::default()
            },
            "user_id",
        ),
        (
            AdminDeviceRequest {
                user_id: "bob".to_owned(),
                device_id: "..".to_owned(),
                ..Default::default()
            },
            "device_id",
        ),
        (
            AdminDeviceRequest {
                user_id: "bob".to_owned(),
                reason: "a\nb".to_owned(),
                ..Default::default()
            },
            "reason",
        ),
    ] {
        assert_eq!(
            refused(
                grpc.kick(with(&headers, request))
                    .await
                    .expect_err("refused")
            )
            .field,
            field
        );
    }
}

#[tokio::test]
async fn an_explanation_has_the_place_and_all_positions() {
    let (running, _folder) = Running::start().await;
    let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    running
        .inner
        .answer("StorageReaderService/Locate", |request: LocateRequest| {
            let tenant_id = if request.message_id.ends_with('0') {
                "other"
            } else {
                "default"
            }
            .to_owned();
            let is_stored = !request.message_id.ends_with('1');
            let header = EventHeader {
                tenant_id,
                conversation_id: "team".to_owned(),
                seq: 4,
                ..Default::default()
            };
            let event = Event {
                header: Some(header),
                ..Event::default()
            }
            .encode_to_vec();
            Ok(LocateResponse {
                event: event.into(),
                recalled: false,
                log_offset: Some(77),
                log: LogPresence::InLog.into(),
                only_in_log: !is_stored,
            })
        });
    running.inner.answer(
        "SessionService/ListPositions",
        |request: ListPositionsRequest| {
            let (user, next) = if request.page_token.is_empty() {
                ("alice", "more")
            } else {
                ("bob", "")
            };
            let position = MemberPosition {
                user_id: user.to_owned(),
                read_seq: 4,
                ..Default::default()
            };
            Ok(ListPositionsResponse {
                positions: vec![position],
                next_page_token: next.to_owned(),
            })
        },
    );
    let key = running.key(&ALL_SCOPES).await;
    let headers = [("x-api-key", key.as_str())];
    let json = running
        .call(
            "GET",
            &format!("/api/v1/admin/messages/{id}"),
            &headers,
            None,
        )
        .await
        .json();
    assert_eq!(
        (&json["logOffset"], &json["log"], &json["stored"]),
        (&"77".into(), &"IN_LOG".into(), &true.into()),
        "{json}"
    );
    assert_eq!(json["event"]["header"]["seq"], "4");
    let users: Vec<_> = json["positions"]
        .as_array()
        .expect("positions")
        .iter()
        .map(|it| it["userId"].clone())
        .collect();
    assert_eq!(users, ["alice", "bob"]);
    let not_stored = running
        .call(
            "GET",
            "/api/v1/admin/messages/01ARZ3NDEKTSV4RRFFQ69G5FA1",
            &headers,
            None,
        )
        .await
        .json();
    assert_eq!(
        (&not_stored["logOffset"], not_stored.get("stored")),
        (&"77".into(), None),
        "{not_stored}"
    );
    let error = running
        .grpc()
        .await
        .explain_message(with(
            &headers,
            ExplainMessageRequest {
                message_id: "x".to_owned(),
                ..Default::default()
            },
        ))
        .await;
    assert_eq!(refused(error.expect_err("refused")).field, "message_id");
    let foreign = running
        .call(
            "GET",
            "/api/v1/admin/messages/01ARZ3NDEKTSV4RRFFQ69G5FA0",
            &headers,
            None,
        )
        .await;
    assert_eq!(
        (foreign.status.as_u16(), foreign.refusal().0.as_str()),
        (404, "MESSAGE_NOT_FOUND")
    );
}
