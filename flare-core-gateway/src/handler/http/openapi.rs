//! The OpenAPI document, from the table of routes and the contract with its comments.

use flare_server_core::error::Refusal;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use self::{
    comments::comment,
    schema::{Schemas, Side, said_of},
};
use super::{
    request::descriptor,
    routes::{CLIENT_CONFIG_PATH, OPENAPI_PATH, ROUTES, Route},
};
use crate::domain::caller::Callers;

mod comments;
mod refusals;
mod rules;
mod schema;

const INTRODUCTION: &str = "The HTTP/JSON side of `flare.gateway.v1.CoreGatewayService`.\n\n\
    - JSON is proto3 JSON: lowerCamelCase, 64-bit integers as strings, enums by name. Unknown fields, and those given twice, are refused.\n\
    - Callers: users by `authorization: Bearer <token>`, backends by `x-api-key`, which act for the system, or for the user that \
    `x-flare-user` names.\n\
    - A refusal is `{\"error\": {…}}`; its `code` is stable. Where it may be retried, `retry-after` says when.\n\
    - What sends, recalls or changes a conversation has a `clientId` of the caller's choice: sent again with the same one, it gets the first \
    answer again. What has none may be repeated, but that another `createApiKey` makes another key.\n\
    - Pages: `page_size` absent is 50; 0 and above 200 are refused. `page_token` is the last answer's `nextPageToken`.\n\
    - Every answer bears `x-request-id` and `x-trace-id`; a `traceparent` of the caller's is taken over.";

/// The document.
///
/// # Errors
/// `INTERNAL` for a table that does not fit the contract.
pub fn document() -> Result<Value, Refusal> {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut schemas)?;
        add(&mut paths, route.path, route.verb.name(), operation);
    }
    add(
        &mut paths,
        OPENAPI_PATH,
        "GET",
        open_operation("getOpenApi", "This document.", json!({"type": "object"})),
    );
    let link = json!({
        "type": "object",
        "properties": {
            "websocketUrl": {"type": "string", "description": "Where WebSocket connections are taken; empty: not known here."},
            "developmentSignIn": {"type": "boolean", "description": "Whether development links may be offered."},
            "version": {"type": "string", "description": "The server's version."},
        },
    });
    add(
        &mut paths,
        CLIENT_CONFIG_PATH,
        "GET",
        open_operation("getClientConfig", "Where clients connect.", link),
    );
    let error = schemas.reference_to("flare.common.v1.Error")?;
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Flare IM Core",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "responses": refusals::components(&error)?,
            "securitySchemes": {
                "userToken": {"type": "http", "scheme": "bearer", "description": "A user's token."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "A backend's key."},
            },
        },
    }))
}

fn add(paths: &mut Map<String, Value>, path: &str, verb: &str, operation: Value) {
    let item = paths.entry(path).or_insert_with(|| json!({}));
    if let Value::Object(item) = item {
        item.insert(verb.to_lowercase(), operation);
    }
}

fn open_operation(id: &str, summary: &str, schema: Value) -> Value {
    json!({
        "operationId": id,
        "summary": summary,
        "tags": ["Server"],
        "security": [],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
    })
}

fn operation(route: &Route, schemas: &mut Schemas) -> Result<Value, Refusal> {
    let method = descriptor(route.method)?;
    let (request, mut answer) = (method.input(), method.output());
    let mut holder = request.clone();
    if let Some(element) = route.element {
        holder = element_of(&request, element.request)?;
        answer = element_of(&answer, element.answer)?;
    }
    let mut parameters = Vec::new();
    for name in route.path_fields() {
        parameters.push(parameter(&field(&holder, name)?, "path", schemas));
    }
    for name in route.query {
        parameters.push(parameter(&field(&holder, name)?, "query", schemas));
    }
    let access = route.method.access();
    let scope = format!("API keys need the scope `{}`.", access.scope);
    let (callers, security) = match access.callers {
        Callers::Any => (scope, json!([{"userToken": []}, {"apiKey": []}])),
        Callers::AsUser => (
            format!("{scope} They name the user by `x-flare-user`."),
            json!([{"userToken": []}, {"apiKey": []}]),
        ),
        Callers::System => (
            format!("For API keys only. {scope}"),
            json!([{"apiKey": []}]),
        ),
    };
    if access.callers != Callers::System {
        parameters.push(json!({
            "name": "x-flare-user", "in": "header", "required": false,
            "description": "With an API key: the user for whom it acts.", "schema": {"type": "string"},
        }));
    }
    let said = comment(
        method
            .parent_service()
            .parent_file()
            .file_descriptor_proto(),
        method.path(),
    );
    let description = [said.as_str(), &callers]
        .into_iter()
        .filter(|it| !it.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n");
    let mut responses = refusals::references()?;
    let answered = json!({
        "description": "OK",
        "content": {"application/json": {"schema": schemas.reference(&answer, Side::Answer)}},
    });
    responses.insert("200".to_owned(), answered);
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": spaced(route.method.name()),
        "description": description,
        "tags": [tag(route.path)],
        "security": security,
        "parameters": parameters,
        "responses": responses,
    });
    if route.body {
        let given: Vec<&str> = route.path_fields().collect();
        let body = schemas.body_without(&request, &given);
        operation["requestBody"] = json!({
            "required": body.is_required,
            "content": {"application/json": {"schema": body.schema, "example": body.example}},
        });
    }
    Ok(operation)
}

fn field(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, Refusal> {
    message
        .get_field_by_name(name)
        .ok_or_else(|| Refusal::internal(format!("{} has no field {name}", message.full_name())))
}

fn element_of(message: &MessageDescriptor, name: &str) -> Result<MessageDescriptor, Refusal> {
    match field(message, name)?.kind() {
        Kind::Message(element) => Ok(element),
        _ => Err(Refusal::internal(format!(
            "{}.{name} is no list of messages",
            message.full_name()
        ))),
    }
}

fn parameter(field: &FieldDescriptor, place: &str, schemas: &mut Schemas) -> Value {
    let description = said_of(field);
    let rule = rules::rule(field);
    let mut parameter = json!({
        "name": field.name(),
        "in": place,
        "required": place == "path" || rule.is_required,
        "schema": schemas.value(field, Side::Request),
    });
    if let Some(example) = rule.example {
        parameter["example"] = example;
    }
    if !description.is_empty() {
        parameter["description"] = Value::String(description);
    }
    parameter
}

/// The method's name, told apart where several routes lead to it.
fn operation_id(route: &Route) -> String {
    let name = route.method.name();
    let first = ROUTES
        .iter()
        .find(|it| it.method == route.method)
        .is_some_and(|it| it.path == route.path);
    let mut id = name[..1].to_lowercase() + &name[1..];
    if !first {
        let last = route.path.rsplit('/').next().unwrap_or_default();
        id.push_str("At");
        id.extend(
            last.chars()
                .filter(char::is_ascii_alphanumeric)
                .enumerate()
                .map(|(index, it)| {
                    if index == 0 {
                        it.to_ascii_uppercase()
                    } else {
                        it
                    }
                }),
        );
    }
    id
}

fn spaced(name: &str) -> String {
    let mut spaced = String::new();
    for (index, character) in name.chars().enumerate() {
        if index > 0 && character.is_ascii_uppercase() {
            spaced.push(' ');
            spaced.push(character.to_ascii_lowercase());
        } else {
            spaced.push(character);
        }
    }
    spaced
}

fn tag(path: &str) -> &'static str {
    let has = |part: &str| path.contains(part);
    if has("/admin/") || has("/api-keys") {
        "Administration"
    } else if has("/messages") || has("/events") || has("/snapshot") {
        "Messages"
    } else if has("/inbox") || has("position") {
        "Reading"
    } else if has("/conversations") {
        "Conversations"
    } else {
        "Devices"
    }
}

#[cfg(test)]
mod tests;
