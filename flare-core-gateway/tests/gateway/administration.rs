//! Devices and explanations, for administrators.

use std::{
    io::Write,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use flare_proto::{
    gateway::{AdminDeviceRequest, ExplainMessageRequest, RevokeApiKeyRequest},
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

/// The log lines of the whole test binary: each test looks for its own.
static LINES: LazyLock<Lines> = LazyLock::new(|| {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("no other subscriber");
    lines
});

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lock").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The line about an administrative act, once it is written.
    async fn of(&self, act: &str, subject: &str) -> String {
        let act = format!("act=\"{act}\"");
        let written = async {
            loop {
                let bytes = self.0.lock().expect("lock").clone();
                let text = String::from_utf8_lossy(&bytes);
                let line = text
                    .lines()
                    .find(|it| it.contains(&act) && it.contains(subject));
                if let Some(line) = line {
                    return line.to_owned();
                }
                tokio::task::yield_now().await;
            }
        };
        let written = tokio::time::timeout(Duration::from_secs(10), written);
        written
            .await
            .unwrap_or_else(|_| panic!("no line about {act} {subject}"))
    }
}

#[tokio::test]
async fn an_act_is_written_down_also_if_its_caller_goes_away_and_never_at_length() {
    let lines = LazyLock::force(&LINES);
    let (running, _folder) = Running::start().await;
    let key = running.key(&["admin"]).await;
    let headers = [("x-api-key", key.as_str())];

    let body = r#"{"name":"audited","scopes":["read","send"]}"#;
    running
        .call("POST", "/api/v1/api-keys", &headers, Some(body))
        .await;
    let line = lines.of("create API key", "audited").await;
    assert!(line.contains("send read") && line.contains("OK"), "{line}");

    running.inner.fall_silent("SignalingService/Revoke");
    let path = "/api/v1/admin/users/zoe/revoke";
    let asked = running.call("POST", path, &headers, Some("{}"));
    let begun = async {
        while running
            .inner
            .requests::<RevokeRequest>("SignalingService/Revoke")
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = asked => panic!("{answer:?}"),
        () = begun => {}
    }
    let line = lines.of("revoke", "zoe").await;
    assert!(line.contains("UNKNOWN"), "{line}");

    let request = RevokeApiKeyRequest {
        key_id: "x".repeat(100_000),
        ..Default::default()
    };
    let mut grpc = running.grpc().await;
    grpc.revoke_api_key(with(&headers, request))
        .await
        .expect_err("no such key");
    let line = lines.of("revoke API key", "xxxx").await;
    assert!(line.len() < 1_000, "{} bytes", line.len());

    let acting = [("x-api-key", key.as_str()), ("x-flare-user", "zoe")];
    running
        .call("POST", "/api/v1/sign-out", &acting, Some("{}"))
        .await;
    lines.of("sign out", "zoe").await;
}
