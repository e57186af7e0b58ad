//! What HTTP takes and gives.

use flare_proto::{
    common::{Error, ErrorCode},
    message::{Event, EventHeader},
    session::{
        AddMembersRequest, ChangeResponse, ListMembersRequest, ListMembersResponse, SetRoleRequest,
        UpdateSettingsRequest, UpdateSettingsResponse,
    },
    storage::{
        HistoryRequest, HistoryResponse, RangeResult, ReadRangesRequest, ReadRangesResponse,
        history_request,
    },
};
use prost::Message;

use crate::running::{ALL_SCOPES, Answer, Running};

async fn call(running: &Running, verb: &str, path: &str, body: Option<&str>) -> Answer {
    let key = running.key(&ALL_SCOPES).await;
    running
        .call(
            verb,
            path,
            &[("x-api-key", &key), ("x-flare-user", "alice")],
            body,
        )
        .await
}

#[tokio::test]
async fn path_query_and_body_make_one_request() {
    let (running, _folder) = Running::start().await;
    running
        .inner
        .answer("SessionService/SetRole", |_: SetRoleRequest| {
            Ok(ChangeResponse {
                seq: 9_007_199_254_740_993,
            })
        });
    running
        .inner
        .answer("SessionService/ListMembers", |_: ListMembersRequest| {
            Ok(ListMembersResponse::default())
        });
    running
        .inner
        .answer("StorageReaderService/History", |_: HistoryRequest| {
            Ok(HistoryResponse::default())
        });
    running.inner.answer(
        "SessionService/UpdateSettings",
        |_: UpdateSettingsRequest| Ok(UpdateSettingsResponse::default()),
    );

    let body = Some(r#"{"clientId":"c1","role":"ADMIN"}"#);
    let answer = call(
        &running,
        "PUT",
        "/api/v1/conversations/team/members/bob%40home/role",
        body,
    )
    .await;
    assert_eq!(
        answer.text, r#"{"seq":"9007199254740993"}"#,
        "64 bits are text"
    );
    let request = &running
        .inner
        .requests::<SetRoleRequest>("SessionService/SetRole")[0];
    let given = (
        request.conversation_id.as_str(),
        request.user_id.as_str(),
        request.client_id.as_str(),
        request.role,
    );
    assert_eq!(given, ("team", "bob@home", "c1", 2));

    let path = "/api/v1/conversations/team/members?page_size=7&page_token=a%2Bb";
    assert_eq!(call(&running, "GET", path, None).await.text, "{}");
    let request = &running
        .inner
        .requests::<ListMembersRequest>("SessionService/ListMembers")[0];
    assert_eq!(
        (request.page_size, request.page_token.as_str()),
        (Some(7), "a+b")
    );

    call(
        &running,
        "GET",
        "/api/v1/conversations/team/messages?before_seq=12",
        None,
    )
    .await;
    let request = &running
        .inner
        .requests::<HistoryRequest>("StorageReaderService/History")[0];
    assert_eq!(
        request.position,
        Some(history_request::Position::BeforeSeq(12))
    );
    assert_eq!(request.page_size, None);

    let body = Some(r#"{"pinned":false,"muteUntilMs":"-1"}"#);
    call(
        &running,
        "PATCH",
        "/api/v1/conversations/team/settings",
        body,
    )
    .await;
    let request = &running
        .inner
        .requests::<UpdateSettingsRequest>("SessionService/UpdateSettings")[0];
    assert_eq!(
        (request.pinned, request.hidden, request.mute_until_ms),
        (Some(false), None, Some(-1))
    );
}

#[tokio::test]
async fn what_is_not_the_request_is_refused_by_name() {
    let (running, _folder) = Running::start().await;
    running
        .inner
        .answer("SessionService/AddMembers", |_: AddMembersRequest| {
            Ok(ChangeResponse::default())
        });
    let members = "/api/v1/conversations/team/members";
    let messages = "/api/v1/conversations/team/messages";
    let cases = [
        ("POST", members, Some("{"), "MALFORMED_FRAME", ""),
        ("POST", members, Some("[]"), "INVALID_ARGUMENT", ""),
        (
            "POST",
            members,
            Some(r#"{"clientId":"1","userIds":["a"],"userNames":[]}"#),
            "INVALID_ARGUMENT",
            "userNames",
        ),
        (
            "POST",
            members,
            Some(r#"{"clientId":1}"#),
            "INVALID_ARGUMENT",
            "client_id",
        ),
        (
            "POST",
            members,
            Some(r#"{"userIds":"a"}"#),
            "INVALID_ARGUMENT",
            "user_ids",
        ),
        (
            "POST",
            members,
            Some(r#"{"conversationId":"other"}"#),
            "INVALID_ARGUMENT",
            "conversation_id",
        ),
        (
            "POST",
            members,
            Some(r#"{"conversation_id":"team"}"#),
            "INVALID_ARGUMENT",
            "conversation_id",
        ),
        (
            "POST",
            "/api/v1/conversations/team/members?user_id=a",
            Some("{}"),
            "INVALID_ARGUMENT",
            "user_id",
        ),
        (
            "GET",
            "/api/v1/conversations/team/messages?limit=1",
            None,
            "INVALID_ARGUMENT",
            "limit",
        ),
        (
            "GET",
            "/api/v1/conversations/team/messages?page_size=x",
            None,
            "INVALID_ARGUMENT",
            "page_size",
        ),
        (
            "GET",
            "/api/v1/conversations/team/messages?page_size=-1",
            None,
            "INVALID_ARGUMENT",
            "page_size",
        ),
        (
            "GET",
            "/api/v1/conversations/team/messages?page_size=1&page_size=2",
            None,
            "INVALID_ARGUMENT",
            "page_size",
        ),
        (
            "GET",
            "/api/v1/conversations/team/messages?before_seq=7&around_seq=7",
            None,
            "INVALID_ARGUMENT",
            "around_seq",
        ),
        (
            "GET",
            "/api/v1/conversations/team/events?after_seq=x",
            None,
            "INVALID_ARGUMENT",
            "after_seq",
        ),
        ("GET", messages, Some("{}"), "INVALID_ARGUMENT", ""),
        (
            "POST",
            members,
            Some(r#"{"clientId":"1","client_id":"2"}"#),
            "INVALID_ARGUMENT",
            "client_id",
        ),
        (
            "PUT",
            "/api/v1/conversations/team/read-position",
            Some(r#"{"seq":9007199254740993.0}"#),
            "INVALID_ARGUMENT",
            "seq",
        ),
    ];
    for (verb, path, body, code, field) in cases {
        let answer = call(&running, verb, path, body).await;
        assert_eq!(
            answer.status, 400,
            "{verb} {path} {body:?}: {}",
            answer.text
        );
        assert_eq!(
            answer.refusal(),
            (code.to_owned(), field.to_owned()),
            "{verb} {path} {body:?}: {}",
            answer.text
        );
    }
    let two = "/api/v1/conversations/team/messages?before_seq=1&after_seq=2";
    assert_eq!(
        call(&running, "GET", two, None).await.status,
        400,
        "one position only"
    );
    let key = running.key(&ALL_SCOPES).await;
    let headers = [("x-api-key", key.as_str()), ("content-type", "text/plain")];
    let answer = running.call("POST", members, &headers, Some("{}")).await;
    assert_eq!(
        answer.refusal(),
        ("INVALID_ARGUMENT".to_owned(), "content-type".to_owned())
    );
    assert_eq!(running.inner.calls(), 0, "nothing went further in");
}

#[tokio::test]
async fn one_conversation_s_events_are_one_range() {
    let (running, _folder) = Running::start().await;
    running.inner.answer(
        "StorageReaderService/ReadRanges",
        |request: ReadRangesRequest| {
            let ranges = request.ranges.into_iter().map(|it| {
                let header = EventHeader {
                    conversation_id: it.conversation_id.clone(),
                    seq: it.after_seq + 1,
                    ..Default::default()
                };
                let event = Event {
                    header: Some(header),
                    ..Event::default()
                }
                .encode_to_vec();
                let error = (it.conversation_id == "secret").then(|| Error {
                    code: ErrorCode::NotAMember.into(),
                    message: "not yours".to_owned(),
                    ..Error::default()
                });
                RangeResult {
                    conversation_id: it.conversation_id,
                    events: vec![event.into()],
                    head_seq: 9,
                    error,
                    ..Default::default()
                }
            });
            Ok(ReadRangesResponse {
                ranges: ranges.collect(),
            })
        },
    );
    let answer = call(
        &running,
        "GET",
        "/api/v1/conversations/team/events?after_seq=3&limit=10",
        None,
    )
    .await;
    let json = answer.json();
    assert_eq!(
        (&json["conversationId"], &json["headSeq"]),
        (&"team".into(), &"9".into()),
        "{}",
        answer.text
    );
    assert_eq!(json["events"][0]["header"]["seq"], "4");
    let request = &running
        .inner
        .requests::<ReadRangesRequest>("StorageReaderService/ReadRanges")[0];
    assert_eq!(
        (request.ranges[0].after_seq, request.ranges[0].limit),
        (3, Some(10))
    );
    let answer = call(&running, "GET", "/api/v1/conversations/secret/events", None).await;
    assert_eq!(
        (answer.status.as_u16(), answer.refusal().0.as_str()),
        (403, "NOT_A_MEMBER")
    );
    let several = r#"{"ranges":[{"conversationId":"team"},{"conversationId":"secret"}]}"#;
    let answer = call(&running, "POST", "/api/v1/events:read", Some(several)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["ranges"][1]["error"]["code"], "NOT_A_MEMBER");
}
