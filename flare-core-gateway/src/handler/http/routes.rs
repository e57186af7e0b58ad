//! The table of HTTP routes. The router, the OpenAPI document and the tests all come from it.
//!
//! A route is a method of the contract: its path and query bear fields of the request by their names in the contract, and its body, where it
//! has one, is the request's JSON without them.

use crate::handler::method::Method;

/// Every path begins so.
pub const PREFIX: &str = "/api/v1";
/// Where the OpenAPI document is.
pub const OPENAPI_PATH: &str = "/api/v1/openapi.json";
/// Where clients learn where to connect.
pub const CLIENT_CONFIG_PATH: &str = "/api/v1/client-config";
/// Where the page over the OpenAPI document is.
pub const DOCS_PATH: &str = "/api/docs";

/// What is done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Looked at.
    Get,
    /// Made, or asked for something.
    Post,
    /// Set.
    Put,
    /// Changed in part.
    Patch,
    /// Ended.
    Delete,
}

impl Verb {
    /// As HTTP has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// What is done.
    pub verb: Verb,
    /// With `{names}` of the request's fields.
    pub path: &'static str,
    /// What is called.
    pub method: Method,
    /// The request's fields that stand in the query.
    pub query: &'static [&'static str],
    /// Whether the rest of the request is the body.
    pub body: bool,
    /// Where path and query are about one element of a repeated field of the request, and the answer is that element's.
    pub element: Option<Element>,
}

/// A route about one element of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The repeated field of the request.
    pub request: &'static str,
    /// The repeated field of the answer.
    pub answer: &'static str,
}

impl Route {
    /// The names in the path.
    pub fn path_fields(&self) -> impl Iterator<Item = &'static str> {
        self.path
            .split('/')
            .filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'))
    }
}

const PAGE: &[&str] = &["page_size", "page_token"];

const fn route(verb: Verb, path: &'static str, method: Method) -> Route {
    Route {
        verb,
        path,
        method,
        query: &[],
        body: false,
        element: None,
    }
}

const fn get(path: &'static str, method: Method, query: &'static [&'static str]) -> Route {
    Route {
        query,
        ..route(Verb::Get, path, method)
    }
}

const fn with_body(verb: Verb, path: &'static str, method: Method) -> Route {
    Route {
        body: true,
        ..route(verb, path, method)
    }
}

const fn post(path: &'static str, method: Method) -> Route {
    with_body(Verb::Post, path, method)
}

const fn delete(path: &'static str, method: Method, query: &'static [&'static str]) -> Route {
    Route {
        query,
        ..route(Verb::Delete, path, method)
    }
}

/// The table.
pub const ROUTES: &[Route] = &[
    post("/api/v1/messages", Method::SendMessage),
    post("/api/v1/messages:batch", Method::SendMessages),
    post("/api/v1/conversations", Method::CreateConversation),
    get(
        "/api/v1/conversations/{conversation_id}",
        Method::GetConversation,
        &[],
    ),
    with_body(
        Verb::Patch,
        "/api/v1/conversations/{conversation_id}",
        Method::RenameConversation,
    ),
    delete(
        "/api/v1/conversations/{conversation_id}",
        Method::DisbandConversation,
        &["client_id"],
    ),
    get(
        "/api/v1/conversations/{conversation_id}/members",
        Method::ListMembers,
        PAGE,
    ),
    post(
        "/api/v1/conversations/{conversation_id}/members",
        Method::AddMembers,
    ),
    delete(
        "/api/v1/conversations/{conversation_id}/members/{user_id}",
        Method::RemoveMember,
        &["client_id"],
    ),
    with_body(
        Verb::Put,
        "/api/v1/conversations/{conversation_id}/members/{user_id}/role",
        Method::SetRole,
    ),
    post(
        "/api/v1/conversations/{conversation_id}/leave",
        Method::LeaveConversation,
    ),
    with_body(
        Verb::Put,
        "/api/v1/conversations/{conversation_id}/owner",
        Method::TransferOwnership,
    ),
    with_body(
        Verb::Patch,
        "/api/v1/conversations/{conversation_id}/settings",
        Method::UpdateSettings,
    ),
    get(
        "/api/v1/conversations/{conversation_id}/messages",
        Method::History,
        &[
            "before_seq",
            "after_seq",
            "around_seq",
            "from_time_ms",
            "page_size",
            "page_token",
        ],
    ),
    post(
        "/api/v1/conversations/{conversation_id}/messages/{seq}/recall",
        Method::RecallMessage,
    ),
    Route {
        element: Some(Element {
            request: "ranges",
            answer: "ranges",
        }),
        ..get(
            "/api/v1/conversations/{conversation_id}/events",
            Method::ReadRanges,
            &["after_seq", "limit"],
        )
    },
    post("/api/v1/events:read", Method::ReadRanges),
    get(
        "/api/v1/conversations/{conversation_id}/snapshot",
        Method::Snapshot,
        &["page_size"],
    ),
    get(
        "/api/v1/conversations/{conversation_id}/positions",
        Method::ListPositions,
        PAGE,
    ),
    with_body(
        Verb::Put,
        "/api/v1/conversations/{conversation_id}/read-position",
        Method::MarkRead,
    ),
    get("/api/v1/inbox", Method::SyncInbox, &["token", "page_size"]),
    post("/api/v1/presence:query", Method::GetPresence),
    get("/api/v1/users/{user_id}/devices", Method::ListDevices, &[]),
    get("/api/v1/devices", Method::ListDevices, &[]),
    post("/api/v1/sign-out", Method::SignOut),
    post("/api/v1/admin/users/{user_id}/kick", Method::Kick),
    post("/api/v1/admin/users/{user_id}/revoke", Method::Revoke),
    get(
        "/api/v1/admin/messages/{message_id}",
        Method::ExplainMessage,
        &[],
    ),
    get("/api/v1/api-keys", Method::ListApiKeys, PAGE),
    post("/api/v1/api-keys", Method::CreateApiKey),
    delete("/api/v1/api-keys/{key_id}", Method::RevokeApiKey, &[]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::Kind;

    use super::*;
    use crate::handler::method::SERVICE;

    #[test]
    fn every_method_has_a_route() {
        let routed: BTreeSet<&str> = ROUTES.iter().map(|it| it.method.name()).collect();
        let methods: BTreeSet<&str> = Method::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(routed, methods);
    }

    #[test]
    fn no_two_routes_are_the_same() {
        let keys: BTreeSet<String> = ROUTES
            .iter()
            .map(|it| format!("{} {}", it.verb.name(), it.path))
            .collect();
        assert_eq!(keys.len(), ROUTES.len());
    }

    #[test]
    fn path_and_query_name_fields_of_the_request_and_all_fields_can_be_given() {
        let service = flare_proto::descriptor_pool()
            .get_service_by_name(SERVICE)
            .expect("in the contract");
        for route in ROUTES {
            let method = service
                .methods()
                .find(|it| it.name() == route.method.name())
                .expect("in the contract");
            let mut request = method.input();
            if let Some(element) = route.element {
                let Kind::Message(inner) = request
                    .get_field_by_name(element.request)
                    .expect("a field")
                    .kind()
                else {
                    panic!("{} is no list of messages", element.request);
                };
                request = inner;
            }
            let given: Vec<&str> = route
                .path_fields()
                .chain(route.query.iter().copied())
                .collect();
            let distinct: BTreeSet<&str> = given.iter().copied().collect();
            assert_eq!(
                distinct.len(),
                given.len(),
                "{}: a field is given twice",
                route.path
            );
            for name in &given {
                let field = request
                    .get_field_by_name(name)
                    .unwrap_or_else(|| panic!("{}: {name}", route.path));
                assert!(
                    !field.is_list() && !matches!(field.kind(), Kind::Message(_)),
                    "{}: {name}",
                    route.path
                );
            }
            // The whole request can be given by one route of the method at least.
            let of_method = || ROUTES.iter().filter(|it| it.method == route.method);
            let whole = of_method().any(|it| it.body)
                || of_method().any(|it| {
                    let named: BTreeSet<&str> =
                        it.path_fields().chain(it.query.iter().copied()).collect();
                    request
                        .fields()
                        .all(|field| field.name() == "context" || named.contains(field.name()))
                });
            assert!(whole, "{}: some of the request cannot be given", route.path);
        }
    }
}
