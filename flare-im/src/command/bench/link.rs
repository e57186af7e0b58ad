//! A bare client link.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use flare_core::{
    codec::{ClientFrame, Codec, ServerFrame, decode_server, encode_client},
    transport::{
        Incoming, Transport, TransportExt,
        websocket::{ClientStream, ConnectOptions, Trust, WebSocket, connect},
    },
};
use flare_proto::client::{Connect, Connected};
use flare_server_core::{
    clock::{Clock, IdSource, SystemClock},
    identity::{IdentityConfig, LocalJwt},
};
use futures::FutureExt;

use crate::{cli, command::sign_in::trust};

/// The largest frame that a server sends.
const MAX_FRAME_BYTES: usize = 1 << 20;
/// A server that has not answered a Connect by then is not there.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
const TOKEN_TTL: Duration = Duration::from_secs(86_400);

/// Makes tokens with the key of a data folder.
pub(super) struct Tokens(LocalJwt);

impl Tokens {
    pub(super) fn open(data: &Path) -> anyhow::Result<Self> {
        let folder = data
            .canonicalize()
            .with_context(|| format!("data folder {}", data.display()))?;
        Ok(Self(LocalJwt::open(
            &IdentityConfig::default(),
            &folder,
            &IdSource::from_os(),
        )?))
    }

    pub(super) fn mint(&self, user: &str) -> anyhow::Result<String> {
        Ok(self
            .0
            .mint("default", user, None, TOKEN_TTL, SystemClock.now_ms())?)
    }
}

/// Which server, and whose word for it counts.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) url: String,
    pub(super) trust: Trust,
}

impl Server {
    pub(super) fn of(args: &cli::BenchServer) -> anyhow::Result<Self> {
        Ok(Self {
            url: args.link.url.clone(),
            trust: trust(args.link.ca.as_deref())?,
        })
    }
}

/// A connection that has been accepted.
pub(super) struct Link {
    pub(super) socket: WebSocket<ClientStream>,
    pub(super) connected: Connected,
}

impl Link {
    pub(super) async fn open(to: &Server, token: String, device: &str) -> anyhow::Result<Self> {
        tokio::time::timeout(CONNECT_DEADLINE, Self::connect(to, token, device))
            .await
            .with_context(|| format!("no answer to Connect within {CONNECT_DEADLINE:?}"))?
    }

    async fn connect(to: &Server, token: String, device: &str) -> anyhow::Result<Self> {
        let options = ConnectOptions {
            url: to.url.clone(),
            trust: to.trust.clone(),
            codec: Codec::Proto,
            origin: None,
            max_frame_bytes: MAX_FRAME_BYTES,
        };
        let mut socket = connect(&options).await?;
        let hello = Connect {
            id: 1,
            token,
            device_id: device.to_owned(),
            platform: "bench".to_owned(),
            sdk_version: env!("CARGO_PKG_VERSION").to_owned(),
            heartbeat_ms: 120_000,
        };
        socket
            .send(encode_client(Codec::Proto, &ClientFrame::Connect(hello))?)
            .await?;
        match socket.recv().await {
            Some(Ok(Incoming::Frame(frame))) => {
                match decode_server(Codec::Proto, frame, MAX_FRAME_BYTES)? {
                    ServerFrame::Connected(connected) => Ok(Self { socket, connected }),
                    other => bail!("refused: {other:?}"),
                }
            }
            other => bail!("refused: {other:?}"),
        }
    }

    /// Puts a frame behind those that are fed already.
    pub(super) async fn feed(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        self.socket.ready().await?;
        Ok(self.socket.feed(encode_client(Codec::Proto, frame)?)?)
    }

    /// The next frame, if it is there already.
    pub(super) fn ready(&mut self) -> anyhow::Result<Option<ServerFrame>> {
        self.next().now_or_never().transpose()
    }

    /// The next frame. Safe to cancel.
    pub(super) async fn next(&mut self) -> anyhow::Result<ServerFrame> {
        loop {
            match self.socket.recv().await {
                Some(Ok(Incoming::Frame(frame))) => {
                    return Ok(decode_server(Codec::Proto, frame, MAX_FRAME_BYTES)?);
                }
                Some(Ok(Incoming::Alive)) => {}
                Some(Ok(Incoming::Closed { code, reason })) => {
                    bail!("closed by the server: {code:?} {reason}")
                }
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the connection ended"),
            }
        }
    }
}
