//! API keys from the first day to the last.

use flare_core_gateway::CoreGatewayConfig;
use serde_json::Value;

use crate::running::Running;

#[tokio::test]
async fn a_key_is_made_used_listed_and_revoked() {
    let (running, folder) = Running::start().await;
    let admin = running.key(&["admin"]).await;
    let headers = [("x-api-key", admin.as_str())];
    let body = r#"{"name":"orders","scopes":["read","presence"]}"#;
    let made = running
        .call("POST", "/api/v1/api-keys", &headers, Some(body))
        .await
        .json();
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    let key_id = made["apiKey"]["keyId"].as_str().expect("an id").to_owned();
    assert_eq!(
        made["apiKey"]["scopes"],
        serde_json::json!(["read", "presence"])
    );
    assert!(secret.starts_with("flare_"), "{secret}");

    // It is let in: what refuses it is its missing scope.
    let answer = running
        .call(
            "GET",
            "/api/v1/conversations/team",
            &[("x-api-key", &secret)],
            None,
        )
        .await;
    assert_eq!(answer.refusal().0, "SCOPE_MISSING");

    let listed = running
        .call("GET", "/api/v1/api-keys", &headers, None)
        .await;
    assert!(
        listed.text.contains(&key_id) && !listed.text.contains(&secret),
        "{}",
        listed.text
    );
    let path = format!("/api/v1/api-keys/{key_id}");
    for _ in 0..2 {
        assert_eq!(
            running.call("DELETE", &path, &headers, None).await.status,
            200
        );
    }
    let dead = [("x-api-key", secret.as_str())];
    assert_eq!(
        running
            .call("GET", "/api/v1/conversations/team", &dead, None)
            .await
            .refusal()
            .0,
        "UNAUTHENTICATED"
    );

    running.stop().await;
    let running = Running::on(folder.path(), CoreGatewayConfig::default()).await;
    assert_eq!(
        running
            .call("GET", "/api/v1/conversations/team", &dead, None)
            .await
            .refusal()
            .0,
        "UNAUTHENTICATED"
    );
    let listed = running
        .call("GET", "/api/v1/api-keys", &headers, None)
        .await
        .json();
    let keys = listed["apiKeys"].as_array().expect("keys");
    let revoked: Vec<&Value> = keys
        .iter()
        .filter(|it| it.get("revokedMs").is_some())
        .collect();
    assert_eq!((keys.len(), revoked.len()), (2, 1), "{listed}");
    assert_eq!(revoked[0]["keyId"], key_id.as_str());
}

#[tokio::test]
async fn a_command_beside_the_server_counts_at_once() {
    let (running, _folder) = Running::start().await;
    let (key, secret) = running
        .keys
        .create("default", "beside", ["read"])
        .await
        .expect("a key");
    let headers = [("x-api-key", secret.expose())];
    let path = "/api/v1/conversations/team";
    assert_eq!(
        running.call("GET", path, &headers, None).await.refusal().0,
        "SCOPE_MISSING"
    );
    running
        .keys
        .revoke("default", &key.id.to_string())
        .await
        .expect("revoked");
    assert_eq!(
        running.call("GET", path, &headers, None).await.refusal().0,
        "UNAUTHENTICATED"
    );
}

#[tokio::test]
async fn keys_are_listed_by_pages() {
    let (running, _folder) = Running::start().await;
    let admin = running.key(&["admin"]).await;
    let headers = [("x-api-key", admin.as_str())];
    for _ in 0..4 {
        running.key(&["read"]).await;
    }
    let mut ids = Vec::new();
    let mut token = String::new();
    loop {
        let path = format!("/api/v1/api-keys?page_size=2&page_token={token}");
        let page = running.call("GET", &path, &headers, None).await.json();
        let keys = page["apiKeys"].as_array().expect("keys").clone();
        assert!(keys.len() <= 2);
        ids.extend(
            keys.into_iter()
                .map(|it| it["keyId"].as_str().expect("an id").to_owned()),
        );
        token = page["nextPageToken"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted());
    for (query, code) in [
        ("page_size=0", "INVALID_ARGUMENT"),
        ("page_size=201", "INVALID_ARGUMENT"),
        ("page_token=x", "INVALID_PAGE_TOKEN"),
    ] {
        let answer = running
            .call("GET", &format!("/api/v1/api-keys?{query}"), &headers, None)
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.refusal().0.as_str()),
            (400, code),
            "{query}"
        );
    }
}

#[tokio::test]
async fn what_is_no_key_is_refused_by_field() {
    let (running, _folder) = Running::start().await;
    let admin = running.key(&["admin"]).await;
    let headers = [("x-api-key", admin.as_str())];
    for (body, field) in [
        (r#"{"scopes":["read"]}"#, "name"),
        (r#"{"name":"x"}"#, "scopes"),
        (r#"{"name":"x","scopes":["root"]}"#, "scopes"),
        ("{\"name\":\"a\\nb\",\"scopes\":[\"read\"]}", "name"),
    ] {
        let answer = running
            .call("POST", "/api/v1/api-keys", &headers, Some(body))
            .await;
        assert_eq!(
            answer.refusal(),
            ("INVALID_ARGUMENT".to_owned(), field.to_owned()),
            "{body}"
        );
    }
    let answer = running
        .call(
            "DELETE",
            "/api/v1/api-keys/01ARZ3NDEKTSV4RRFFQ69G5FAV",
            &headers,
            None,
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.refusal().1.as_str()),
        (404, "key_id")
    );
}
