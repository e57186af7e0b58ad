//! The page and what it loads, from the binary.

use std::fmt::Write;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::answer;

/// The folder `web` of the repository, but for what only its tests need.
#[derive(RustEmbed)]
#[folder = "../web"]
#[exclude = "tests/*"]
#[exclude = "node_modules/*"]
#[exclude = "package*.json"]
#[exclude = "*.md"]
struct Web;

const INDEX: &str = "index.html";

/// Answers a request for a file of the page; `websocket` is the origin that its scripts connect to, empty: none.
pub fn serve(verb: &Method, path: &str, headers: &HeaderMap, websocket: &str) -> Response {
    let name = match path.trim_start_matches('/') {
        "" => INDEX,
        name => name,
    };
    let Some(file) = Web::get(name) else {
        return answer::no_such_path(path);
    };
    if !matches!(*verb, Method::GET | Method::HEAD) {
        let mut response = answer::no_such_verb(verb.as_str(), path);
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET,HEAD"));
        return response;
    }
    let tag = tag(&file);
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .any(|it| it.trim() == tag || it.trim() == "*");
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = Body::from(file.data.into_owned());
        (
            [(
                header::CONTENT_TYPE,
                HeaderValue::from_static(content_type(name)),
            )],
            body,
        )
            .into_response()
    };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; manifest-src 'self'; \
         connect-src 'self' {websocket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let fixed = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    let made = [
        (header::ETAG, tag),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    let headers = response.headers_mut();
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.extend(
        made.into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))),
    );
    response
}

/// Weak, since the answer may be compressed.
fn tag(file: &EmbeddedFile) -> String {
    let mut tag = "W/\"".to_owned();
    for byte in file.metadata.sha256_hash().iter().take(16) {
        // Writing to a String cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of<'a>(response: &'a Response, name: &str) -> &'a str {
        response
            .headers()
            .get(name)
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default()
    }

    #[test]
    fn the_page_allows_itself_and_the_websocket_alone() {
        let response = serve(&Method::GET, "/", &HeaderMap::new(), "ws://127.0.0.1:8081");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            header_of(&response, "content-type"),
            "text/html; charset=utf-8"
        );
        let policy = header_of(&response, "content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{policy}"
        );
        assert!(
            policy.contains("connect-src 'self' ws://127.0.0.1:8081;"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header_of(&response, "cache-control"), "no-cache");
        assert_eq!(header_of(&response, "x-content-type-options"), "nosniff");
    }

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        let first = serve(&Method::GET, "/index.html", &HeaderMap::new(), "");
        let tag = first.headers().get("etag").expect("a tag").clone();
        let headers: HeaderMap = [(header::IF_NONE_MATCH, tag)].into_iter().collect();
        assert_eq!(
            serve(&Method::GET, "/", &headers, "").status(),
            StatusCode::NOT_MODIFIED
        );
        let other: HeaderMap = [(header::IF_NONE_MATCH, HeaderValue::from_static("W/\"0\""))]
            .into_iter()
            .collect();
        assert_eq!(
            serve(&Method::GET, "/", &other, "").status(),
            StatusCode::OK
        );
    }

    #[test]
    fn what_is_not_of_the_page_is_not_found() {
        for path in [
            "/nothing",
            "/../Cargo.toml",
            "/package.json",
            "//etc/passwd",
            "/index.html/",
        ] {
            assert_eq!(
                serve(&Method::GET, path, &HeaderMap::new(), "").status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
        let refused = serve(&Method::POST, "/", &HeaderMap::new(), "");
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header_of(&refused, "allow"), "GET,HEAD");
    }
}
