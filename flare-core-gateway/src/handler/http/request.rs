//! From path, query and body to the bytes of a method's request.

use std::collections::HashMap;

use axum::http::{HeaderMap, Uri, header};
use flare_core::json::{JsonError, json_to_message};
use flare_proto::{common::ErrorCode, descriptor_pool};
use flare_server_core::error::Refusal;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::routes::Route;
use crate::{
    domain::caller::shortened,
    handler::method::{Method, SERVICE},
};

/// What the contract says of a method.
///
/// # Errors
/// `INTERNAL` for a method that it has not.
pub fn descriptor(method: Method) -> Result<MethodDescriptor, Refusal> {
    descriptor_pool()
        .get_service_by_name(SERVICE)
        .and_then(|service| service.methods().find(|it| it.name() == method.name()))
        .ok_or_else(|| Refusal::internal(format!("the contract has no method {}", method.name())))
}

/// The request's bytes. `path` has the names and decoded values of the route's path.
///
/// # Errors
/// Names the parameter or field that is wrong.
pub fn assemble(
    route: &Route,
    path: &[(String, String)],
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<u8>, Refusal> {
    let request = descriptor(route.method)?.input();
    let mut bytes = Vec::new();
    if route.body && !body.is_empty() {
        check_content_type(headers)?;
        bytes = json_to_message(request.full_name(), body).map_err(refused)?;
        refuse_bound_fields(route, &request, body)?;
    }
    if !route.body && !body.is_empty() {
        return Err(Refusal::invalid(
            "",
            format!("{} {} takes no body", route.verb.name(), route.path),
        ));
    }
    let parameters = parameters(route, path, uri)?;
    if parameters.is_empty() && route.element.is_none() {
        return Ok(bytes);
    }
    // Messages of the same type, one after the other, are their fields together.
    bytes.extend(parameter_bytes(route, &request, parameters)?);
    Ok(bytes)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = content_type
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Refusal::invalid(
        "content-type",
        format!("{:?}: want application/json", shortened(essence)),
    ))
}

/// A field that the path gives is not in the body as well: the two might differ.
fn refuse_bound_fields(
    route: &Route,
    request: &MessageDescriptor,
    body: &[u8],
) -> Result<(), Refusal> {
    let given: HashMap<String, IgnoredAny> = serde_json::from_slice(body).unwrap_or_default();
    for name in route.path_fields().chain(route.query.iter().copied()) {
        let json_name = request
            .get_field_by_name(name)
            .map(|it| it.json_name().to_owned())
            .unwrap_or_default();
        if given.contains_key(name) || given.contains_key(&json_name) {
            return Err(Refusal::invalid(
                name,
                format!("{name} stands in the path: leave it out of the body"),
            ));
        }
    }
    Ok(())
}

/// The fields that path and query give, each once, by their names in the contract.
fn parameters(
    route: &Route,
    path: &[(String, String)],
    uri: &Uri,
) -> Result<Vec<(String, String)>, Refusal> {
    let mut parameters = path.to_vec();
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|error| Refusal::invalid("", format!("the query cannot be read: {error}")))?;
    for (name, value) in query.0 {
        if !route.query.contains(&name.as_str()) {
            let shown = shortened(&name);
            let takes = if route.query.is_empty() {
                "no query parameters".to_owned()
            } else {
                route.query.join(", ")
            };
            return Err(Refusal::invalid(
                shown.clone(),
                format!(
                    "unknown query parameter {shown:?}: {} takes {takes}",
                    route.path
                ),
            ));
        }
        if parameters.iter().any(|(given, _)| *given == name) {
            return Err(Refusal::invalid(
                name.clone(),
                format!("query parameter {name} is given twice"),
            ));
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

fn parameter_bytes(
    route: &Route,
    request: &MessageDescriptor,
    parameters: Vec<(String, String)>,
) -> Result<Vec<u8>, Refusal> {
    let element = route
        .element
        .and_then(|it| request.get_field_by_name(it.request));
    let holder = match element.as_ref().map(FieldDescriptor::kind) {
        Some(Kind::Message(inner)) => inner,
        _ => request.clone(),
    };
    let mut fields = Map::new();
    let mut chosen: HashMap<String, String> = HashMap::new();
    for (name, value) in parameters {
        let field = holder.get_field_by_name(&name).ok_or_else(|| {
            Refusal::internal(format!("{}: the request has no field {name}", route.path))
        })?;
        let choice = field.containing_oneof().filter(|it| !it.is_synthetic());
        if let Some(other) = choice.and_then(|it| chosen.insert(it.name().to_owned(), name.clone()))
        {
            return Err(Refusal::invalid(
                name.clone(),
                format!("{name} and {other} exclude each other: give one of them"),
            ));
        }
        let value = match (field.kind(), value.as_str()) {
            (Kind::Bool, "true") => Value::Bool(true),
            (Kind::Bool, "false") => Value::Bool(false),
            // As text JSON takes numbers and enums, too.
            _ => Value::String(value),
        };
        fields.insert(field.json_name().to_owned(), value);
    }
    let mut json = Value::Object(fields);
    if let Some(element) = &element {
        json = Value::Object(Map::from_iter([(
            element.json_name().to_owned(),
            Value::Array(vec![json]),
        )]));
    }
    json_to_message(request.full_name(), json.to_string().as_bytes()).map_err(|error| {
        let refusal = refused(error);
        let prefix = element
            .map(|it| format!("{}[0].", it.name()))
            .unwrap_or_default();
        match refusal.field.strip_prefix(&prefix).map(str::to_owned) {
            Some(field) => refusal.with_field(field),
            None => refusal,
        }
    })
}

/// JSON that is not the request's, as a refusal.
fn refused(error: JsonError) -> Refusal {
    let (code, field) = (error.code(), error.field().to_owned());
    let code = if code == ErrorCode::UnknownMethod {
        ErrorCode::Internal
    } else {
        code
    };
    Refusal::new(code, error.to_string()).with_field(field)
}
