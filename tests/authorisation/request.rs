//! A call's request, as each surface takes it.

use flare_core_gateway::handler::{
    http::routes::{ROUTES, Route, Verb},
    method::Method,
};
use flare_proto::{descriptor_pool, is_client_callable};
use serde_json::{Value, json};

use crate::surfaces::{
    api::SERVICE,
    message::{FRAME_ID, call, proto},
};

/// A request over HTTP.
pub(crate) struct Http {
    pub(crate) verb: &'static str,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

/// A method of core-gateway as gRPC has it, and its request's bytes.
pub(crate) fn grpc(method: Method, request: &Value) -> (String, Vec<u8>) {
    let service = descriptor_pool().get_service_by_name(SERVICE);
    let input = service
        .and_then(|it| it.methods().find(|it| it.name() == method.name()))
        .expect("a method of the contract")
        .input();
    let body = proto(input.full_name(), request);
    (format!("{SERVICE}/{}", method.name()), body)
}

/// The method of another service that the client link calls for this one; None: there is none.
pub(crate) fn called(method: Method) -> Option<String> {
    descriptor_pool().services().find_map(|service| {
        let name = format!("{}/{}", service.full_name(), method.name());
        is_client_callable(&name).then_some(name)
    })
}

/// The frame by which the client link asks for it; None: it does not.
pub(crate) fn frame(method: Method, request: &Value) -> Option<Value> {
    let with_id = || {
        let mut fields = request.clone();
        fields["id"] = json!(FRAME_ID);
        fields
    };
    match method {
        // The link has no field for a sender: it is the token's user.
        Method::SendMessage if request.get("senderId").is_some() => None,
        Method::SendMessage => Some(json!({"send": with_id()})),
        Method::RecallMessage => {
            let mut operate = with_id();
            let seq = operate.as_object_mut().and_then(|it| it.remove("seq"));
            operate["recall"] = json!({"seq": seq});
            Some(json!({"operate": operate}))
        }
        Method::ReadRanges => Some(json!({"sync": with_id()})),
        _ => called(method).map(|it| call(&it, request)),
    }
}

/// The routes over which this very request can be made.
pub(crate) fn routes(
    method: Method,
    request: &Value,
) -> impl Iterator<Item = (&'static Route, Http)> {
    ROUTES
        .iter()
        .filter(move |it| it.method == method)
        .filter_map(|it| Some((it, over(it, request)?)))
}

/// The request over a route; None: it has no place for all of it.
fn over(route: &Route, request: &Value) -> Option<Http> {
    let mut fields = request.as_object()?.clone();
    if let Some(element) = route.element {
        let list = fields.remove(element.request)?;
        fields.extend(list.as_array()?.first()?.as_object()?.clone());
    }
    let mut taken = |name: &str| fields.remove(&camel(name));
    let mut path = Vec::new();
    for part in route.path.split('/') {
        path.push(
            match part.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
                Some(name) => text(&taken(name)?),
                None => part.to_owned(),
            },
        );
    }
    let query: Vec<String> = route
        .query
        .iter()
        .filter_map(|name| Some(format!("{name}={}", text(&taken(name)?))))
        .collect();
    let mut path = path.join("/");
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    let body = match (route.body, fields.is_empty()) {
        (true, _) => Value::Object(fields).to_string().into_bytes(),
        (false, true) => Vec::new(),
        (false, false) => return None,
    };
    Some(Http {
        verb: Verb::name(route.verb),
        path,
        body,
    })
}

/// A field's name in JSON.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|it| it.to_ascii_uppercase()));
        name.extend(letters);
        name
    })
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
