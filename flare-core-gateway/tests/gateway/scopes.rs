//! What API keys and tokens may call.

use flare_core_gateway::{
    domain::{caller::Callers, scope::Scope},
    handler::{
        http::routes::{ROUTES, Verb},
        method::Method,
    },
};
use flare_proto::common::ErrorCode;

use crate::running::{Running, bearer};

/// The path with something in place of each name.
pub(crate) fn filled(path: &str) -> String {
    let filled = |it: &str| {
        if it.starts_with('{') {
            if it == "{seq}" { "7" } else { "x1" }
        } else {
            it
        }
        .to_owned()
    };
    path.split('/').map(filled).collect::<Vec<_>>().join("/")
}

pub(crate) fn body(verb: Verb, body: bool) -> Option<&'static str> {
    (body && verb != Verb::Get).then_some("{}")
}

#[tokio::test]
async fn each_route_needs_its_scope_and_the_refusal_names_it() {
    let (running, _folder) = Running::start().await;
    for route in ROUTES {
        let access = route.method.access();
        let others: Vec<&str> = Scope::ALL
            .into_iter()
            .filter(|it| *it != access.scope)
            .map(Scope::name)
            .collect();
        let key = running.key(&others).await;
        let headers = [("x-api-key", key.as_str())];
        let answer = running
            .call(
                route.verb.name(),
                &filled(route.path),
                &headers,
                body(route.verb, route.body),
            )
            .await;
        assert_eq!(
            answer.status,
            403,
            "{} {}: {}",
            route.verb.name(),
            route.path,
            answer.text
        );
        assert_eq!(answer.refusal().0, ErrorCode::ScopeMissing.as_str_name());
        assert!(
            answer.text.contains(&format!("no scope {}", access.scope)),
            "{}",
            answer.text
        );
    }
    assert_eq!(running.inner.calls(), 0, "nothing went further in");
}

#[tokio::test]
async fn the_scope_alone_opens_the_route() {
    let (running, _folder) = Running::start().await;
    for route in ROUTES {
        let access = route.method.access();
        let key = running.key(&[access.scope.name()]).await;
        let mut headers = vec![("x-api-key", key.as_str())];
        if access.callers == Callers::AsUser {
            let answer = running
                .call(
                    route.verb.name(),
                    &filled(route.path),
                    &headers,
                    body(route.verb, route.body),
                )
                .await;
            assert_eq!(
                answer.refusal(),
                ("INVALID_ARGUMENT".to_owned(), "x-flare-user".to_owned()),
                "{}",
                route.path
            );
            headers.push(("x-flare-user", "alice"));
        }
        let answer = running
            .call(
                route.verb.name(),
                &filled(route.path),
                &headers,
                body(route.verb, route.body),
            )
            .await;
        assert_ne!(answer.status, 401, "{}: {}", route.path, answer.text);
        assert_ne!(answer.status, 403, "{}: {}", route.path, answer.text);
    }
}

#[tokio::test]
async fn administration_is_not_for_users_tokens() {
    let (running, _folder) = Running::start().await;
    let token = bearer(&running.token("alice"));
    let headers = [("authorization", token.as_str())];
    let key = running.key(&["admin"]).await;
    let mut seen = 0;
    for route in ROUTES
        .iter()
        .filter(|it| it.method.access().callers == Callers::System)
    {
        seen += 1;
        let (verb, path, body) = (
            route.verb.name(),
            filled(route.path),
            body(route.verb, route.body),
        );
        assert_eq!(
            running.call(verb, &path, &headers, body).await.refusal().0,
            "PERMISSION_DENIED",
            "{path}"
        );
        let acting = [("x-api-key", key.as_str()), ("x-flare-user", "alice")];
        assert_eq!(
            running.call(verb, &path, &acting, body).await.refusal().1,
            "x-flare-user",
            "{path}"
        );
    }
    assert_eq!(
        seen,
        Method::ALL
            .iter()
            .filter(|it| it.access().callers == Callers::System)
            .count()
    );
    assert_eq!(running.inner.calls(), 0);
}
