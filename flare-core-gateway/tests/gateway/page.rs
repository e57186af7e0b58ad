//! The page, its configuration, and other sites.

use flare_core_gateway::CoreGatewayConfig;

use crate::running::Running;

#[tokio::test]
async fn the_page_is_at_the_root_with_a_strict_policy() {
    let (running, _folder) = Running::start().await;
    let page = running.call("GET", "/", &[], None).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("script-src 'self';")
            && policy.contains("connect-src 'self' ws://127.0.0.1:9;"),
        "{policy}"
    );
    let again = running
        .call("GET", "/", &[("if-none-match", page.header("etag"))], None)
        .await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
}

#[tokio::test]
async fn clients_learn_where_to_connect() {
    let (running, _folder) = Running::start().await;
    let config = running
        .call("GET", "/api/v1/client-config", &[], None)
        .await
        .json();
    let version = env!("CARGO_PKG_VERSION");
    let expected = serde_json::json!({"websocketUrl": "ws://127.0.0.1:9/ws", "developmentSignIn": true, "version": version});
    assert_eq!(config, expected);
    let public = Some("wss://chat.example.com/ws".to_owned());
    let (running, _folder) = Running::with(CoreGatewayConfig {
        public_ws_url: public,
        ..Default::default()
    })
    .await;
    let config = running
        .call("GET", "/api/v1/client-config", &[], None)
        .await
        .json();
    assert_eq!(config["websocketUrl"], "wss://chat.example.com/ws");
    let page = running.call("GET", "/", &[], None).await;
    assert!(
        page.header("content-security-policy")
            .contains("connect-src 'self' wss://chat.example.com;")
    );
}

#[tokio::test]
async fn the_document_has_a_page_that_loads_nothing_from_elsewhere() {
    let (running, _folder) = Running::start().await;
    let page = running.call("GET", "/api/docs/", &[], None).await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'; script-src 'self';")
    );
    assert!(
        !page.text.contains("//unpkg") && !page.text.contains("//cdn"),
        "{}",
        page.text
    );
    let script = running
        .call("GET", "/api/docs/swagger-initializer.js", &[], None)
        .await;
    assert!(
        script.text.contains("/api/v1/openapi.json"),
        "{}",
        script.text
    );
    assert_eq!(
        running.call("GET", "/api/docs", &[], None).await.status,
        200,
        "by a redirect"
    );
}

#[tokio::test]
async fn other_sites_call_only_if_they_are_listed() {
    let allowed_origins = vec!["https://shop.example.com".to_owned()];
    let (running, _folder) = Running::with(CoreGatewayConfig {
        allowed_origins,
        ..Default::default()
    })
    .await;
    let asked = [
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-api-key"),
    ];
    for (origin, allowed) in [
        ("https://shop.example.com", "https://shop.example.com"),
        ("https://evil.example.com", ""),
    ] {
        let headers = [&[("origin", origin)][..], &asked].concat();
        let answer = running
            .call("OPTIONS", "/api/v1/messages", &headers, None)
            .await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
    }
    let (running, _folder) = Running::start().await;
    let answer = running
        .call(
            "GET",
            "/api/v1/client-config",
            &[("origin", "https://shop.example.com")],
            None,
        )
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}
