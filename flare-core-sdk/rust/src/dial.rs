//! One attempt to connect: token, WebSocket, `Connect`, `Connected`.

use std::{future::Future, pin::Pin};

use flare_core::{
    codec::{self, ClientFrame, Codec, ServerFrame},
    transport::{
        Incoming, TransportExt, close_reason,
        websocket::{self, ClientStream, ConnectError, ConnectOptions, WebSocket},
    },
};
use flare_proto::client::{Connect, Connected};
use tokio::time::timeout;

use crate::{
    core::{CONNECT_ID, millis},
    error::Refusal,
    event::DisconnectReason,
    options::Options,
    token::TokenFuture,
};

/// A connection that the server has let in.
pub(crate) type Dialed = (WebSocket<ClientStream>, Connected);

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct DialError {
    pub(crate) reason: DisconnectReason,
    /// Another attempt would fail likewise.
    pub(crate) is_final: bool,
}

/// An attempt on its way.
pub(crate) type Dialing = Pin<Box<dyn Future<Output = Result<Box<Dialed>, DialError>> + Send>>;

/// Begins an attempt.
pub(crate) fn dial(options: &Options, token: TokenFuture) -> Dialing {
    let to = ConnectOptions {
        url: options.url.clone(),
        trust: options.trust.clone(),
        codec: options.codec,
        origin: options.origin.clone(),
        max_frame_bytes: options.max_frame_bytes,
    };
    let connect = Connect {
        id: CONNECT_ID,
        token: String::new(),
        device_id: options.device_id.clone(),
        platform: options.platform.clone(),
        sdk_version: format!("rust/{}", env!("CARGO_PKG_VERSION")),
        heartbeat_ms: options
            .heartbeat
            .map_or(0, |it| u32::try_from(millis(it)).unwrap_or(u32::MAX)),
    };
    let deadline = options.connect_timeout;
    Box::pin(async move {
        timeout(deadline, attempt(to, connect, token))
            .await
            .unwrap_or_else(|_| {
                Err(passing(DisconnectReason::Unreachable(format!(
                    "no answer within {deadline:?}"
                ))))
            })
    })
}

async fn attempt(
    to: ConnectOptions,
    mut connect: Connect,
    token: TokenFuture,
) -> Result<Box<Dialed>, DialError> {
    connect.token = token
        .await
        .map_err(|why| passing(DisconnectReason::NoToken(why)))?;
    let mut socket = websocket::connect(&to).await.map_err(unreachable_server)?;
    let frame = codec::encode_client(to.codec, &ClientFrame::Connect(connect))
        .map_err(|error| lasting(DisconnectReason::Protocol(error.to_string())))?;
    socket
        .send(frame)
        .await
        .map_err(|error| passing(DisconnectReason::Broken(error.to_string())))?;
    match first_frame(&mut socket, to.codec, to.max_frame_bytes).await? {
        ServerFrame::Connected(connected) => Ok(Box::new((socket, connected))),
        ServerFrame::Error(error) => {
            let refusal = Refusal::from(error.error.unwrap_or_default());
            // Whether a refused token is the end depends on where tokens come from.
            let is_final = !refusal.is_retryable() && !refusal.is_about_the_token();
            Err(DialError {
                reason: DisconnectReason::Refused(refusal),
                is_final,
            })
        }
        ServerFrame::Kicked(kicked) => Err(passing(DisconnectReason::Closed {
            reason: kicked.reason(),
            message: kicked.message,
        })),
        other => Err(passing(DisconnectReason::Protocol(format!(
            "{other:?} came before Connected"
        )))),
    }
}

async fn first_frame(
    socket: &mut WebSocket<ClientStream>,
    codec: Codec,
    max_frame_bytes: usize,
) -> Result<ServerFrame, DialError> {
    loop {
        match socket.recv().await {
            Some(Ok(Incoming::Frame(bytes))) => {
                return codec::decode_server(codec, bytes, max_frame_bytes)
                    .map_err(|error| passing(DisconnectReason::Protocol(error.to_string())));
            }
            Some(Ok(Incoming::Alive)) => {}
            Some(Ok(Incoming::Closed { code, reason })) => {
                return Err(passing(closed(code, reason)));
            }
            Some(Err(error)) => return Err(passing(DisconnectReason::Broken(error.to_string()))),
            None => return Err(passing(DisconnectReason::Broken("it ended".to_owned()))),
        }
    }
}

/// What a close of the transport means.
pub(crate) fn closed(code: Option<u16>, message: String) -> DisconnectReason {
    match code.and_then(close_reason) {
        Some(reason) => DisconnectReason::Closed { reason, message },
        None => DisconnectReason::Broken(match code {
            Some(code) => format!("closed with {code} {message}"),
            None => "closed without a reason".to_owned(),
        }),
    }
}

fn unreachable_server(error: ConnectError) -> DialError {
    let is_final = match &error {
        ConnectError::Url { .. } => true,
        // What is wrong with the request stays wrong; the rest passes.
        ConnectError::Refused { status, .. } => matches!(status, 400 | 401 | 403 | 404 | 405 | 426),
        ConnectError::Io { .. } | ConnectError::Protocol { .. } => false,
    };
    DialError {
        reason: DisconnectReason::Unreachable(error.to_string()),
        is_final,
    }
}

fn passing(reason: DisconnectReason) -> DialError {
    DialError {
        reason,
        is_final: false,
    }
}

fn lasting(reason: DisconnectReason) -> DialError {
    DialError {
        reason,
        is_final: true,
    }
}
