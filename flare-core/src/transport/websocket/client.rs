use std::io;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        self,
        client::IntoClientRequest,
        http::{HeaderValue, Uri, header},
        protocol::Role,
    },
};

use tokio_util::either::Either;

use super::{Boundary, Trust, WebSocket, config};
use crate::codec::Codec;

/// A connection to a server, encrypted or not.
pub type ClientStream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Where a client connects, and how.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// "wss://host:port/ws", or with ws:// in the clear.
    pub url: String,
    /// Whose certificates are believed where the URL says wss.
    pub trust: Trust,
    /// How frames are to be written.
    pub codec: Codec,
    /// Sent as a browser would, if given.
    pub origin: Option<String>,
    /// Largest frame that the server may send, in bytes.
    pub max_frame_bytes: usize,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a ws or wss URL with a host.
    #[error("{url:?} is no address of a client link: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody there, a certificate that is not believed, or the connection broke in the handshake.
    #[error("no connection to {url}: {source}")]
    Io {
        /// The address.
        url: String,
        /// What the system says.
        source: io::Error,
    },
    /// The server refused over HTTP.
    #[error("{url} refused with {status}: {reason}")]
    Refused {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The text of the answer, as far as it came.
        reason: String,
    },
    /// Something answered that is no server of this link.
    #[error("{url} speaks another protocol: {reason}")]
    Protocol {
        /// The address.
        url: String,
        /// What was wrong.
        reason: String,
    },
}

/// Connects to a server. Give it a deadline: a silent server is waited for.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(options: &ConnectOptions) -> Result<WebSocket<ClientStream>, ConnectError> {
    let url = &options.url;
    let bad_url = |reason: String| ConnectError::Url {
        url: url.clone(),
        reason,
    };
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|error| bad_url(error.to_string()))?;
    let (host, port, encrypted) =
        address(request.uri()).map_err(|reason| bad_url(reason.to_owned()))?;
    let headers = request.headers_mut();
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(options.codec.subprotocol()),
    );
    if let Some(origin) = &options.origin {
        let origin = HeaderValue::from_str(origin).map_err(|error| bad_url(error.to_string()))?;
        headers.insert(header::ORIGIN, origin);
    }
    let broken = |source: io::Error| ConnectError::Io {
        url: url.clone(),
        source,
    };
    let stream = TcpStream::connect((host.as_str(), port))
        .await
        .map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let stream = if encrypted {
        let name =
            ServerName::try_from(host.clone()).map_err(|error| bad_url(error.to_string()))?;
        let connector = TlsConnector::from(options.trust.client_config());
        let stream = connector.connect(name, stream).await.map_err(broken)?;
        Either::Right(Box::new(stream))
    } else {
        Either::Left(stream)
    };
    let config = config(options.max_frame_bytes);
    let (inner, _) = client_async_with_config(request, Boundary::new(stream, &[]), Some(config))
        .await
        .map_err(|error| refused(url, error))?;
    Ok(WebSocket::new(inner, Role::Client, options.codec))
}

/// Host, port, and whether the connection is encrypted.
fn address(uri: &Uri) -> Result<(String, u16, bool), &'static str> {
    let (encrypted, usual_port) = match uri.scheme_str() {
        Some("ws") => (false, 80),
        Some("wss") => (true, 443),
        _ => return Err("the scheme is ws or wss"),
    };
    let host = uri.host().ok_or("a host is needed")?;
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    Ok((host, uri.port_u16().unwrap_or(usual_port), encrypted))
}

fn refused(url: &str, error: tungstenite::Error) -> ConnectError {
    let url = url.to_owned();
    match error {
        tungstenite::Error::Io(source) => ConnectError::Io { url, source },
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            ConnectError::Refused {
                url,
                status: response.status().as_u16(),
                reason: String::from_utf8_lossy(body).trim().to_owned(),
            }
        }
        other => ConnectError::Protocol {
            url,
            reason: other.to_string(),
        },
    }
}
