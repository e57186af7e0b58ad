//! Messages on their way in.

use flare_proto::{
    common::{ActorKind, ErrorCode},
    gateway::{RecallMessageRequest, SendMessageRequest, SendMessagesRequest, send_outcome},
    message::{Placed, Receipt, ReceiptBatch, SubmitBatch, receipt, submit_item::Command},
};
use prost::Message;

use crate::running::{Running, bearer, code, refused, with};

const SUBMIT: &str = "MessageOrchestratorService/SubmitOnce";

/// Places what comes, in the opposite order, and refuses what goes to "closed".
fn placing(running: &Running) {
    running.inner.answer(SUBMIT, |batch: SubmitBatch| {
        let receipts = batch.items.into_iter().rev().map(|it| {
            let result = if it.conversation_id == "closed" {
                let code = ErrorCode::ConversationDisbanded.into();
                receipt::Result::Error(flare_proto::common::Error {
                    code,
                    message: "closed".to_owned(),
                    ..Default::default()
                })
            } else {
                receipt::Result::Placed(Placed {
                    conversation_id: it.conversation_id,
                    message_id: it.client_id,
                    seq: 1,
                    ..Default::default()
                })
            };
            Receipt {
                correlation: it.correlation,
                result: Some(result),
                ..Receipt::default()
            }
        });
        Ok(ReceiptBatch {
            receipts: receipts.collect(),
        })
    });
}

/// `{text: {text: "hi"}}`.
const HI: &[u8] = &[0x0a, 0x04, 0x0a, 0x02, b'h', b'i'];

fn message(conversation: &str, client_id: &str) -> SendMessageRequest {
    SendMessageRequest {
        conversation_id: conversation.to_owned(),
        client_id: client_id.to_owned(),
        content: HI.to_vec().into(),
        ..SendMessageRequest::default()
    }
}

#[tokio::test]
async fn a_message_is_submitted_as_its_sender_s() {
    let (running, _folder) = Running::start().await;
    placing(&running);
    let token = bearer(&running.token("alice"));
    let key = running.key(&["send"]).await;
    let body = r#"{"conversationId":"team","clientId":"c1","content":{"text":{"text":"hi"}}}"#;
    let from_bob =
        r#"{"userId":"alice","clientId":"c2","senderId":"bob","content":{"text":{"text":"hi"}}}"#;
    let answer = running
        .call(
            "POST",
            "/api/v1/messages",
            &[("authorization", &token)],
            Some(body),
        )
        .await;
    assert_eq!(
        answer.json()["placed"]["messageId"],
        "c1",
        "{}",
        answer.text
    );
    assert_eq!(answer.json()["traceId"], answer.header("x-trace-id"));
    for body in [body, from_bob] {
        assert_eq!(
            running
                .call(
                    "POST",
                    "/api/v1/messages",
                    &[("x-api-key", &key)],
                    Some(body)
                )
                .await
                .status,
            200
        );
    }
    let items: Vec<_> = running
        .inner
        .requests::<SubmitBatch>(SUBMIT)
        .into_iter()
        .flat_map(|it| it.items)
        .collect();
    let actors: Vec<_> = items
        .iter()
        .map(|it| {
            it.actor
                .as_ref()
                .map(|it| (it.kind(), it.user_id.as_str()))
                .expect("an actor")
        })
        .collect();
    assert_eq!(
        actors,
        [
            (ActorKind::User, "alice"),
            (ActorKind::System, ""),
            (ActorKind::Api, "bob")
        ]
    );
    assert_eq!(
        (
            items[2].peer_user_id.as_str(),
            items[2].conversation_id.as_str()
        ),
        ("alice", "")
    );
    assert!(
        items
            .iter()
            .all(|it| it.tenant_id == "default" && it.trace_id.len() == 16 && it.lane == 0)
    );
    assert!(
        items
            .iter()
            .all(|it| it.command == Some(Command::Send(HI.to_vec().into())))
    );
}

#[tokio::test]
async fn a_content_of_an_unknown_kind_goes_on_byte_for_byte() {
    let (running, _folder) = Running::start().await;
    placing(&running);
    let key = running.key(&["send"]).await;
    // Field 19, which no version has, and a fallback.
    let content: &[u8] = &[0x9a, 0x01, 0x02, 0x08, 0x01, 0xa2, 0x01, 0x01, b'?'];
    let request = SendMessageRequest {
        content: content.to_vec().into(),
        ..message("team", "c1")
    };
    running
        .grpc()
        .await
        .send_message(with(&[("x-api-key", &key)], request))
        .await
        .expect("taken");
    let batch = &running.inner.requests::<SubmitBatch>(SUBMIT)[0];
    assert_eq!(
        batch.items[0].command,
        Some(Command::Send(content.to_vec().into()))
    );
}

#[tokio::test]
async fn a_wrong_message_is_refused_by_field_on_both_surfaces() {
    let (running, _folder) = Running::start().await;
    placing(&running);
    let token = bearer(&running.token("alice"));
    let headers = [("authorization", token.as_str())];
    let content = r#""content":{"text":{"text":"hi"}}"#;
    let big = "x".repeat(65 * 1024);
    let cases = [
        (
            format!(r#"{{"conversationId":"team",{content}}}"#),
            "INVALID_ARGUMENT",
            "client_id",
        ),
        (
            format!(r#"{{"conversationId":"team","clientId":"flare:x",{content}}}"#),
            "INVALID_ARGUMENT",
            "client_id",
        ),
        (
            format!(r#"{{"clientId":"c",{content}}}"#),
            "INVALID_ARGUMENT",
            "conversation_id",
        ),
        (
            format!(r#"{{"conversationId":"a/b","clientId":"c",{content}}}"#),
            "INVALID_ARGUMENT",
            "conversation_id",
        ),
        (
            format!(r#"{{"conversationId":"team","userId":"bob","clientId":"c",{content}}}"#),
            "INVALID_ARGUMENT",
            "user_id",
        ),
        (
            format!(r#"{{"conversationId":"team","clientId":"c","senderId":"bob",{content}}}"#),
            "PERMISSION_DENIED",
            "sender_id",
        ),
        (
            r#"{"conversationId":"team","clientId":"c"}"#.to_owned(),
            "INVALID_ARGUMENT",
            "content",
        ),
        (
            r#"{"conversationId":"team","clientId":"c","content":{"text":{}}}"#.to_owned(),
            "INVALID_ARGUMENT",
            "content.text.text",
        ),
        (
            format!(
                r#"{{"conversationId":"team","clientId":"c","content":{{"text":{{"text":"{big}"}}}}}}"#
            ),
            "CONTENT_TOO_LARGE",
            "content",
        ),
    ];
    let mentions = vec![r#"{"userId":"bob"}"#; 51].join(",");
    let mentioning = format!(
        r#"{{"conversationId":"team","clientId":"c","content":{{"text":{{"text":"hi"}},"mentions":[{mentions}]}}}}"#
    );
    let cases = [
        &cases[..],
        &[(mentioning, "LIMIT_EXCEEDED", "content.mentions")],
    ]
    .concat();
    let mut grpc = running.grpc().await;
    for (body, expected, field) in &cases {
        let shown: String = body.chars().take(120).collect();
        let answer = running
            .call("POST", "/api/v1/messages", &headers, Some(body))
            .await;
        assert_eq!(
            answer.refusal(),
            ((*expected).to_owned(), (*field).to_owned()),
            "{shown}"
        );
        let bytes = flare_core::json::json_to_message(
            "flare.gateway.v1.SendMessageRequest",
            body.as_bytes(),
        )
        .expect("JSON");
        let request = SendMessageRequest::decode(bytes.as_slice()).expect("a request");
        let error = refused(
            grpc.send_message(with(&headers, request))
                .await
                .expect_err("refused"),
        );
        assert_eq!(
            (code(&error).as_str_name(), error.field.as_str()),
            (*expected, *field),
            "{shown}"
        );
    }
    assert_eq!(running.inner.calls(), 0, "nothing went further in");
}

#[tokio::test]
async fn each_message_of_a_batch_has_its_own_outcome_in_order() {
    let (running, _folder) = Running::start().await;
    placing(&running);
    let token = bearer(&running.token("alice"));
    let headers = [("authorization", token.as_str())];
    let spoofed = SendMessageRequest {
        sender_id: "bob".to_owned(),
        ..message("team", "c3")
    };
    let messages = vec![
        message("team", "c1"),
        message("closed", "c2"),
        spoofed,
        message("team", "c4"),
    ];
    let request = SendMessagesRequest {
        messages,
        ..SendMessagesRequest::default()
    };
    let answer = running
        .grpc()
        .await
        .send_messages(with(&headers, request))
        .await
        .expect("answered")
        .into_inner();
    let outcomes: Vec<String> = answer
        .outcomes
        .into_iter()
        .map(|it| match it.result.expect("an outcome") {
            send_outcome::Result::Placed(placed) => placed.message_id,
            send_outcome::Result::Error(error) => code(&error).as_str_name().to_owned(),
        })
        .collect();
    assert_eq!(
        outcomes,
        ["c1", "CONVERSATION_DISBANDED", "PERMISSION_DENIED", "c4"]
    );
    let batches = running.inner.requests::<SubmitBatch>(SUBMIT);
    assert_eq!(
        batches.iter().map(|it| it.items.len()).collect::<Vec<_>>(),
        [3],
        "one submit"
    );
    for count in [0, 201] {
        let request = SendMessagesRequest {
            messages: vec![message("team", "c"); count],
            ..Default::default()
        };
        let error = refused(
            running
                .grpc()
                .await
                .send_messages(with(&headers, request))
                .await
                .expect_err("refused"),
        );
        assert_eq!(
            (code(&error), error.field.as_str()),
            (ErrorCode::InvalidArgument, "messages")
        );
    }
}

#[tokio::test]
async fn a_send_without_a_receipt_is_to_be_sent_again() {
    let (running, _folder) = Running::start().await;
    running
        .inner
        .answer(SUBMIT, |_: SubmitBatch| Ok(ReceiptBatch::default()));
    let key = running.key(&["send"]).await;
    let error = running
        .grpc()
        .await
        .send_message(with(&[("x-api-key", &key)], message("team", "c1")))
        .await;
    assert_eq!(
        code(&refused(error.expect_err("refused"))),
        ErrorCode::Unavailable
    );
}

#[tokio::test]
async fn a_recall_is_a_command_with_a_client_id() {
    let (running, _folder) = Running::start().await;
    placing(&running);
    let key = running.key(&["send"]).await;
    let headers = [("x-api-key", key.as_str()), ("x-flare-user", "alice")];
    let path = "/api/v1/conversations/team/messages/7/recall";
    assert_eq!(
        running
            .call("POST", path, &headers, Some(r#"{"clientId":"r1"}"#))
            .await
            .status,
        200
    );
    let item = running.inner.requests::<SubmitBatch>(SUBMIT)[0].items[0].clone();
    assert_eq!(
        (item.conversation_id.as_str(), item.client_id.as_str()),
        ("team", "r1")
    );
    assert!(matches!(item.command, Some(Command::Recall(recall)) if recall.seq == 7));
    for (request, field) in [
        (
            RecallMessageRequest {
                client_id: "r".to_owned(),
                seq: 1,
                ..Default::default()
            },
            "conversation_id",
        ),
        (
            RecallMessageRequest {
                conversation_id: "team".to_owned(),
                seq: 1,
                ..Default::default()
            },
            "client_id",
        ),
        (
            RecallMessageRequest {
                conversation_id: "team".to_owned(),
                client_id: "r".to_owned(),
                ..Default::default()
            },
            "seq",
        ),
    ] {
        let error = refused(
            running
                .grpc()
                .await
                .recall_message(with(&headers, request))
                .await
                .expect_err("refused"),
        );
        assert_eq!(error.field, field);
    }
}
