//! What a page has to know to reach flare-access-gateway.

use std::net::SocketAddr;

use axum::{
    extract::Request,
    http::{header, uri::Authority},
};
use serde::Serialize;

/// Where flare-access-gateway listens unless something else is configured: so is one taken to do that runs in another process.
const ACCESS_GATEWAY_PORT: u16 = 8081;

/// What the composer knows of the process, for the page.
#[derive(Clone, Debug, Default)]
pub struct ClientLink {
    /// Where this process's flare-access-gateway listens, if it has one.
    pub access_gateway: Option<SocketAddr>,
    /// Whether it takes encrypted connections alone.
    pub encrypted: bool,
    /// Whether development links may be offered.
    pub development_sign_in: bool,
}

/// The answer of `GET /api/v1/client-config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientConfig {
    /// Where WebSocket connections are taken; empty: not known here.
    pub websocket_url: String,
    /// Whether development links may be offered.
    pub development_sign_in: bool,
    /// The server's version.
    pub version: &'static str,
}

/// Tells clients where to connect.
#[derive(Clone, Debug)]
pub struct ClientLinks {
    /// As the composer says.
    pub link: ClientLink,
    /// As the configuration says, before all else.
    pub public_ws_url: Option<String>,
}

impl ClientLinks {
    /// For a client that asked for this host.
    pub fn config(&self, host: Option<&AskedHost>) -> ClientConfig {
        ClientConfig {
            websocket_url: self.websocket_url(host),
            development_sign_in: self.link.development_sign_in,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The source that a page's Content-Security-Policy has to allow; empty: none.
    pub fn websocket_origin(&self, host: Option<&AskedHost>) -> String {
        let url = self.websocket_url(host);
        let Some((scheme, rest)) = url.split_once("://") else {
            return String::new();
        };
        format!("{scheme}://{}", rest.split('/').next().unwrap_or_default())
    }

    fn websocket_url(&self, host: Option<&AskedHost>) -> String {
        if let Some(url) = &self.public_ws_url {
            return url.clone();
        }
        let here = self.link.access_gateway;
        let host = match (host, here) {
            (Some(it), _) => it.0.clone(),
            (None, Some(SocketAddr::V4(it))) => it.ip().to_string(),
            (None, Some(SocketAddr::V6(it))) => format!("[{}]", it.ip()),
            (None, None) => return String::new(),
        };
        let port = here.map_or(ACCESS_GATEWAY_PORT, |it| it.port());
        let scheme = if self.link.encrypted { "wss" } else { "ws" };
        format!("{scheme}://{host}:{port}/ws")
    }
}

/// The host that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedHost(String);

impl AskedHost {
    /// The request's, if it is one: it goes into an answer's header, so it is taken in few characters only. HTTP/2 names it in the URI.
    pub fn of(request: &Request) -> Option<Self> {
        match request.uri().authority() {
            Some(authority) => Self::from_authority(authority),
            None => {
                let named = request.headers().get(header::HOST)?;
                Self::from_authority(&named.to_str().ok()?.parse().ok()?)
            }
        }
    }

    fn from_authority(authority: &Authority) -> Option<Self> {
        let host = authority.host();
        let fits = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'[' | b']' | b':')
        };
        (!host.is_empty() && host.bytes().all(fits)).then(|| Self(host.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn links(public: Option<&str>) -> ClientLinks {
        let link = ClientLink {
            access_gateway: "127.0.0.1:8081".parse().ok(),
            encrypted: false,
            development_sign_in: true,
        };
        ClientLinks {
            link,
            public_ws_url: public.map(str::to_owned),
        }
    }

    fn asked(host: &str) -> Option<AskedHost> {
        let request = Request::builder().header(header::HOST, host);
        AskedHost::of(&request.body(Body::empty()).expect("a request"))
    }

    #[test]
    fn a_page_connects_to_the_host_that_it_came_from() {
        let links = links(None);
        assert_eq!(
            links
                .config(asked("chat.local:8080").as_ref())
                .websocket_url,
            "ws://chat.local:8081/ws"
        );
        assert_eq!(
            links.config(asked("[::1]:8080").as_ref()).websocket_url,
            "ws://[::1]:8081/ws"
        );
        assert_eq!(
            links.websocket_origin(asked("chat.local:8080").as_ref()),
            "ws://chat.local:8081"
        );
    }

    #[test]
    fn over_http_2_the_host_stands_in_the_uri() {
        let request = Request::builder().uri("https://chat.local:8080/api/v1/client-config");
        let host = AskedHost::of(&request.body(Body::empty()).expect("a request"));
        let mut links = links(None);
        links.link.encrypted = true;
        assert_eq!(
            links.config(host.as_ref()).websocket_url,
            "wss://chat.local:8081/ws"
        );
    }

    #[test]
    fn a_host_that_would_say_more_is_not_repeated() {
        for host in ["a;script-src *", "a b", "", "a,b", "a'b"] {
            assert_eq!(
                links(None).config(asked(host).as_ref()).websocket_url,
                "ws://127.0.0.1:8081/ws",
                "{host}"
            );
        }
        assert_eq!(
            links(None).config(None).websocket_url,
            "ws://127.0.0.1:8081/ws"
        );
    }

    #[test]
    fn a_configured_url_stands_before_all() {
        let links = links(Some("wss://chat.example.com/ws"));
        assert_eq!(
            links.config(asked("other").as_ref()).websocket_url,
            "wss://chat.example.com/ws"
        );
        assert_eq!(
            links.websocket_origin(asked("other").as_ref()),
            "wss://chat.example.com"
        );
    }

    #[test]
    fn without_a_gateway_in_this_process_its_own_port_is_taken() {
        let elsewhere = ClientLinks {
            link: ClientLink::default(),
            public_ws_url: None,
        };
        let host = asked("chat.local:8080");
        assert_eq!(
            elsewhere.config(host.as_ref()).websocket_url,
            "ws://chat.local:8081/ws"
        );
        assert_eq!(
            elsewhere.websocket_origin(host.as_ref()),
            "ws://chat.local:8081"
        );
        assert_eq!(elsewhere.config(None).websocket_url, "");
        assert_eq!(elsewhere.websocket_origin(None), "");
    }
}
