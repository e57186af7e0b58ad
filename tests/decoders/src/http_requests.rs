//! Requests of HTTP/JSON. The first byte of an input picks the route; then come lines: the query, the content type, a value for each name in
//! the path. What is left is the body.

use flare_core::json::{message_to_json, server_json_to_message};
use flare_core_gateway::handler::{
    body::check_fields,
    http::{
        request::{assemble, descriptor},
        routes::{ROUTES, Route},
    },
};
use flare_proto::{
    common::ErrorCode,
    gateway::{SendMessageRequest, SendMessagesRequest},
    session::CreateConversationRequest,
    storage::ReadRangesRequest,
};
use http::{HeaderMap, HeaderValue, Uri, header};
use prost::Message;

/// The longest refusal, whatever it repeats of what was sent.
const MOST_REFUSAL_BYTES: usize = 4 * 1024;

/// Judges a request: its bytes are those of the method's request, or the refusal is the caller's to mend.
pub fn requests(bytes: &[u8]) {
    let Some((route, uri, headers, path, body)) = parts(bytes) else {
        return;
    };
    let request = descriptor(route.method).expect("in the contract").input();
    let name = request.full_name();
    match assemble(route, &path, &uri, &headers, body) {
        Ok(wire) => {
            // Of a content of an unknown kind, which is for servers to show, there is none.
            let shown = message_to_json(name, &wire).expect("a request is shown");
            let again = server_json_to_message(name, &shown).expect("what is shown is read");
            let once_more = message_to_json(name, &again).expect("a request is shown");
            assert_eq!(once_more, shown, "{name}");
            decode(&wire);
        }
        Err(refusal) => {
            let mendable = matches!(
                refusal.code,
                ErrorCode::InvalidArgument | ErrorCode::MalformedFrame
            );
            assert!(mendable, "{} {}: {refusal}", route.verb.name(), route.path);
            let length = refusal.message.len() + refusal.field.len();
            assert!(length < MOST_REFUSAL_BYTES, "{length} bytes: {refusal}");
        }
    }
    decode(body);
}

/// What is let through to the decoders of requests costs no more memory than the decoder's bound.
fn decode(bytes: &[u8]) {
    if check_fields(bytes).is_ok() {
        drop(SendMessageRequest::decode(bytes));
        drop(SendMessagesRequest::decode(bytes));
        drop(CreateConversationRequest::decode(bytes));
        drop(ReadRangesRequest::decode(bytes));
    }
}

type Parts<'a> = (
    &'static Route,
    Uri,
    HeaderMap,
    Vec<(String, String)>,
    &'a [u8],
);

fn parts(bytes: &[u8]) -> Option<Parts<'_>> {
    let (first, mut rest) = bytes.split_first()?;
    let route = ROUTES.get(usize::from(*first) % ROUTES.len())?;
    let mut line = || {
        let end = rest.iter().position(|it| *it == b'\n')?;
        let (line, after) = rest.split_at(end);
        rest = after.get(1..)?;
        Some(line)
    };
    let query = String::from_utf8_lossy(line()?);
    let uri = format!("/?{query}").parse().ok()?;
    let content_type = line()?;
    let mut headers = HeaderMap::new();
    if !content_type.is_empty() {
        let value = HeaderValue::from_bytes(content_type).ok()?;
        headers.insert(header::CONTENT_TYPE, value);
    }
    let mut path = Vec::new();
    for name in route.path_fields() {
        let value = String::from_utf8_lossy(line()?);
        path.push((name.to_owned(), value.into_owned()));
    }
    Some((route, uri, headers, path, rest))
}

/// One good request of every route.
pub fn corpus() -> Vec<Vec<u8>> {
    ROUTES.iter().enumerate().map(example).collect()
}

fn example((number, route): (usize, &Route)) -> Vec<u8> {
    let query = route.query.iter().map(|name| match *name {
        "page_size" | "limit" => format!("{name}=50"),
        name if name.ends_with("seq") || name.ends_with("ms") => format!("{name}=7"),
        name => format!("{name}=a%2Bb"),
    });
    let query = query.collect::<Vec<_>>().join("&");
    let path: String = route
        .path_fields()
        .map(|name| if name == "seq" { "7\n" } else { "team\n" })
        .collect();
    let body = match (route.body, route.method.name()) {
        (false, _) => "",
        (true, "SendMessage") => {
            r#"{"message":{"conversationId":"team","clientId":"m1","content":{"text":{"text":"a"}}}}"#
        }
        (true, "SendMessages") => {
            r#"{"messages":[{"conversationId":"team","clientId":"m1","content":{"text":{"text":"a"}}}]}"#
        }
        (true, "ReadRanges") => r#"{"ranges":[{"conversationId":"team","afterSeq":"7"}]}"#,
        (true, _) => r#"{"clientId":"c1"}"#,
    };
    let content_type = if route.body {
        "application/json; charset=utf-8"
    } else {
        ""
    };
    let first = u8::try_from(number).expect("fewer than 256 routes");
    let text = format!("{query}\n{content_type}\n{path}{body}");
    [&[first], text.as_bytes()].concat()
}
