use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self,
        error::ProtocolError,
        handshake::{
            machine::TryParse,
            server::{Request, create_response, write_response},
        },
        http::{HeaderValue, header},
        protocol::Role,
    },
};

use super::{Boundary, OriginRule, PATH, WebSocket, config};
use crate::codec::Codec;

/// Longest request of a handshake, in bytes.
const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// What a server takes.
#[derive(Debug, Clone)]
pub struct AcceptOptions {
    /// Largest frame that a client may send, in bytes.
    pub max_frame_bytes: usize,
    /// From which web pages.
    pub origins: OriginRule,
}

/// A connection whose handshake is done.
pub struct Accepted<S> {
    /// The connection.
    pub socket: WebSocket<S>,
    /// The codec that was agreed.
    pub codec: Codec,
    /// The web page's origin, if a browser connects.
    pub origin: Option<String>,
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Refused; the client has been told so over HTTP.
    #[error("handshake refused with {status}: {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The text of the answer.
        reason: String,
    },
    /// The connection broke, or ended before the request did.
    #[error("the connection broke in the handshake: {0}")]
    Io(#[from] io::Error),
}

/// Takes a WebSocket connection over `stream`, or refuses it over HTTP and closes. Give it a deadline: a silent client is waited for.
///
/// # Errors
/// `Refused` with 400 (no WebSocket handshake, no subprotocol that is known), 403 (Origin), 404 (another path), 405, 426 (plain HTTP), 431 (longer
/// than 8 KiB).
pub async fn accept<S>(mut stream: S, options: &AcceptOptions) -> Result<Accepted<S>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let judged = match read_request(&mut stream).await? {
        Ok((request, rest)) => judge(&request, options).map(|agreed| (agreed, rest)),
        Err(refusal) => Err(refusal),
    };
    let (agreed, rest) = match judged {
        Ok(judged) => judged,
        Err((status, reason)) => {
            refuse(&mut stream, status, &reason).await?;
            return Err(AcceptError::Refused { status, reason });
        }
    };
    stream.write_all(&agreed.response).await?;
    stream.flush().await?;
    let stream = Boundary::new(stream, &rest);
    let config = config(options.max_frame_bytes);
    let inner =
        WebSocketStream::from_partially_read(stream, rest, Role::Server, Some(config)).await;
    let socket = WebSocket::new(inner, Role::Server, agreed.codec);
    Ok(Accepted {
        socket,
        codec: agreed.codec,
        origin: agreed.origin,
    })
}

/// Answers a connection by an HTTP refusal, without having read its request if need be (503: too many connections), and closes it.
///
/// # Errors
/// If the connection breaks.
pub async fn refuse<S>(stream: &mut S, status: u16, reason: &str) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = tungstenite::http::StatusCode::from_u16(status)
        .ok()
        .and_then(|it| it.canonical_reason())
        .unwrap_or("Refused");
    let upgrade = if status == 426 {
        "Upgrade: websocket\r\n"
    } else {
        ""
    };
    let allow = if status == 405 { "Allow: GET\r\n" } else { "" };
    let answer = format!(
        "HTTP/1.1 {status} {name}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{upgrade}{allow}Connection: close\r\n\r\n{reason}\n",
        reason.len() + 1
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

type Refusal = (u16, String);

/// The request, and what was read beyond it.
async fn read_request<S>(stream: &mut S) -> io::Result<Result<(Request, Vec<u8>), Refusal>>
where
    S: AsyncRead + Unpin,
{
    const END: &[u8] = b"\r\n\r\n";
    let mut read = Vec::with_capacity(1024);
    loop {
        let searched = read.len().saturating_sub(END.len() - 1);
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let unsearched = read.get(searched..).unwrap_or_default();
        let end = unsearched.windows(END.len()).position(|it| it == END);
        if let Some(end) = end.map(|at| searched + at + END.len()) {
            let rest = read.split_off(end);
            return Ok(parse(&read).map(|request| (request, rest)));
        }
        if read.len() > MAX_REQUEST_BYTES {
            let reason = format!("a request has at most {MAX_REQUEST_BYTES} bytes");
            return Ok(Err((431, reason)));
        }
    }
}

fn parse(head: &[u8]) -> Result<Request, Refusal> {
    match Request::try_parse(head) {
        Ok(Some((_, request))) => Ok(request),
        Ok(None) => Err((400, "not an HTTP request".to_owned())),
        Err(error) => Err(refusal_of(&error)),
    }
}

struct Agreed {
    codec: Codec,
    origin: Option<String>,
    response: Vec<u8>,
}

fn judge(request: &Request, options: &AcceptOptions) -> Result<Agreed, Refusal> {
    if request.uri().path() != PATH {
        let path: String = request.uri().path().chars().take(100).collect();
        return Err((
            404,
            format!("nothing at {path:?}: the client link is at {PATH}"),
        ));
    }
    let mut response = create_response(request).map_err(|error| refusal_of(&error))?;
    let origin = request
        .headers()
        .get(header::ORIGIN)
        .map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    if let Some(origin) = &origin
        && !options.origins.allows(origin)
    {
        return Err((
            403,
            format!("ORIGIN_NOT_ALLOWED: origin {origin:?} may not connect"),
        ));
    }
    let offered: Vec<&str> = request
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect();
    let codec = Codec::from_subprotocols(offered.iter().copied())
        .map_err(|error| (400, error.to_string()))?;
    if !offered.is_empty() {
        let name = HeaderValue::from_static(codec.subprotocol());
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    let mut written = Vec::new();
    write_response(&mut written, &response).map_err(|error| (400, error.to_string()))?;
    Ok(Agreed {
        codec,
        origin,
        response: written,
    })
}

fn refusal_of(error: &tungstenite::Error) -> Refusal {
    let status = match error {
        tungstenite::Error::Protocol(ProtocolError::WrongHttpMethod) => 405,
        tungstenite::Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::MissingSecWebSocketVersionHeader,
        ) => 426,
        _ => 400,
    };
    (status, format!("a WebSocket handshake is needed: {error}"))
}
