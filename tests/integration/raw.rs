//! A device that speaks frames without the SDK, for what the SDK would never do.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use flare_checker::{ClientEvent, Refused, Target, Via};
use flare_core::{
    codec::{self, ClientFrame, ServerFrame},
    transport::{
        Incoming, TransportExt, close_reason,
        websocket::{self, ClientStream, ConnectOptions, WebSocket},
    },
};
use flare_core_sdk::TokenSource;
use flare_proto::{
    client::{CloseReason, Connect, ErrorFrame, Send, SendAck},
    common::ErrorCode,
    message::{Content, Event, Text, content::Kind},
};
use flare_server_core::error::is_retryable;
use prost::Message;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    person::{Device, SOON},
    recorder::{self, Recorder},
};

const MAX_FRAME_BYTES: usize = 4 << 20;
/// Before what was refused is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// What came.
#[derive(Debug)]
pub(crate) enum Heard {
    Frame(Box<ServerFrame>),
    /// The connection ended; with a reason if the server gave one.
    Closed(Option<CloseReason>),
}

/// A connection that is let in.
pub(crate) struct Raw {
    device: Device,
    recorder: Recorder,
    socket: WebSocket<ClientStream>,
    heartbeat_ms: u32,
    next_id: u32,
}

/// The content of a text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let kind = Some(Kind::Text(Text {
        text: text.to_owned(),
    }));
    Content {
        kind,
        ..Content::default()
    }
    .encode_to_vec()
}

impl Raw {
    /// Connects, and leaves the heartbeat to the server.
    pub(crate) async fn arrive(device: Device, recorder: Recorder) -> anyhow::Result<Self> {
        Self::arrive_beating(device, recorder, 0).await
    }

    /// Connects, and promises a frame so often.
    pub(crate) async fn arrive_beating(
        device: Device,
        recorder: Recorder,
        heartbeat_ms: u32,
    ) -> anyhow::Result<Self> {
        let socket = connect(&device, &recorder, heartbeat_ms).await?;
        Ok(Self {
            device,
            recorder,
            socket,
            heartbeat_ms,
            next_id: 2,
        })
    }

    /// Drops the connection without a word, and connects anew.
    pub(crate) async fn reconnect(&mut self) -> anyhow::Result<()> {
        self.recorder.write(ClientEvent::Disconnected);
        self.socket = connect(&self.device, &self.recorder, self.heartbeat_ms).await?;
        Ok(())
    }

    /// Sends a text to a user under a client id, without waiting. `again`: it was sent before.
    pub(crate) async fn send(
        &mut self,
        user: &str,
        client_id: &str,
        said: &str,
        again: bool,
    ) -> anyhow::Result<u32> {
        let content = text(said);
        if again {
            self.recorder.write(ClientEvent::Resent {
                client_id: client_id.to_owned(),
            });
        } else {
            self.recorder
                .intends(client_id, Target::User(user.to_owned()), &content);
        }
        let id = self.next_id;
        self.next_id += 1;
        let send = Send {
            id,
            user_id: user.to_owned(),
            client_id: client_id.to_owned(),
            content: content.into(),
            ..Send::default()
        };
        self.put(&ClientFrame::Send(send)).await?;
        Ok(id)
    }

    /// Sends a text, and the same again after each refusal that says to try again, until there is a receipt; fails if one comes later than `refused_for`. The receipt.
    pub(crate) async fn send_until_kept(
        &mut self,
        user: &str,
        client_id: &str,
        said: &str,
        mut again: bool,
        refused_for: Duration,
    ) -> anyhow::Result<SendAck> {
        let deadline = Instant::now() + refused_for;
        loop {
            self.send(user, client_id, said, again).await?;
            let error = match self.answer().await? {
                Ok(ack) => return Ok(ack),
                Err(frame) => frame.error.unwrap_or_default(),
            };
            ensure!(is_retryable(error.code()), "refused for good: {error:?}");
            ensure!(Instant::now() < deadline, "still refused: {error:?}");
            sleep_until(Instant::now() + PAUSE).await;
            again = true;
        }
    }

    /// Drops the connection; the device goes on by other means, with the same history.
    pub(crate) fn leave(self) -> (Device, Recorder) {
        self.recorder.write(ClientEvent::Disconnected);
        (self.device, self.recorder)
    }

    /// Writes a frame.
    pub(crate) async fn put(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        let payload = codec::encode_client(self.device.codec, frame)?;
        Ok(self.socket.send(payload).await?)
    }

    /// What comes next. Events, receipts and hints are in the history then.
    pub(crate) async fn hears(&mut self) -> anyhow::Result<Heard> {
        loop {
            let came = timeout(SOON, self.socket.recv()).await;
            let came = came
                .with_context(|| format!("nothing came to {} within {SOON:?}", self.device.user))?;
            let closed = match came {
                Some(Ok(Incoming::Frame(bytes))) => {
                    let frame = codec::decode_server(self.device.codec, bytes, MAX_FRAME_BYTES)?;
                    self.record(&frame)?;
                    return Ok(Heard::Frame(Box::new(frame)));
                }
                Some(Ok(Incoming::Alive)) => continue,
                Some(Ok(Incoming::Closed { code, .. })) => code.and_then(close_reason),
                Some(Err(_)) | None => None,
            };
            self.recorder.write(ClientEvent::Disconnected);
            return Ok(Heard::Closed(closed));
        }
    }

    /// The next receipt.
    pub(crate) async fn receipt(&mut self) -> anyhow::Result<SendAck> {
        match self.answer().await? {
            Ok(ack) => Ok(ack),
            Err(error) => bail!("refused: {error:?}"),
        }
    }

    /// The next receipt or refusal.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<Result<SendAck, ErrorFrame>> {
        loop {
            match self.hears().await? {
                Heard::Frame(frame) => match *frame {
                    ServerFrame::SendAck(ack) => return Ok(Ok(ack)),
                    ServerFrame::Error(error) => return Ok(Err(error)),
                    _ => {}
                },
                Heard::Closed(reason) => bail!("closed with {reason:?} before an answer"),
            }
        }
    }

    fn record(&self, frame: &ServerFrame) -> anyhow::Result<()> {
        match frame {
            ServerFrame::Deliver(deliver) => {
                for bytes in &deliver.events {
                    let event = Event::decode(bytes.clone())?;
                    let delivered = recorder::delivered(&event, Via::Deliver)
                        .context("an event without a header")?;
                    self.recorder.write(ClientEvent::Delivered(delivered));
                }
            }
            ServerFrame::SendAck(ack) => self.recorder.write(recorder::acked(ack)),
            ServerFrame::Error(error) if !error.client_id.is_empty() => {
                let code = error.error.as_ref().map(|it| it.code());
                let code = code.unwrap_or(ErrorCode::Unspecified);
                self.recorder.write(ClientEvent::Refused(Refused {
                    client_id: error.client_id.clone(),
                    code: code.as_str_name().to_owned(),
                    retryable: is_retryable(code),
                }));
            }
            ServerFrame::SyncHint(hint) if hint.conversation_ids.is_empty() => {
                self.recorder
                    .write(ClientEvent::SyncHint { conversation: None });
            }
            ServerFrame::SyncHint(hint) => {
                for conversation in &hint.conversation_ids {
                    self.recorder.write(ClientEvent::SyncHint {
                        conversation: Some(conversation.clone()),
                    });
                }
            }
            ServerFrame::Kicked(kicked) => {
                self.recorder.write(ClientEvent::Kicked {
                    reason: kicked.reason().as_str_name().to_owned(),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

async fn connect(
    device: &Device,
    recorder: &Recorder,
    heartbeat_ms: u32,
) -> anyhow::Result<WebSocket<ClientStream>> {
    let TokenSource::Fixed(token) = &device.token else {
        bail!("a raw device has a fixed token")
    };
    let options = ConnectOptions {
        url: device.url.clone(),
        trust: device.trust.clone(),
        codec: device.codec,
        origin: None,
        max_frame_bytes: MAX_FRAME_BYTES,
    };
    let mut socket = timeout(SOON, websocket::connect(&options)).await??;
    let hello = Connect {
        id: 1,
        token: token.clone(),
        device_id: device.device.clone(),
        platform: "test".to_owned(),
        sdk_version: "raw/1".to_owned(),
        heartbeat_ms,
    };
    socket
        .send(codec::encode_client(
            device.codec,
            &ClientFrame::Connect(hello),
        )?)
        .await?;
    let came = timeout(SOON, socket.recv())
        .await?
        .context("closed before an answer")??;
    let Incoming::Frame(bytes) = came else {
        bail!("{came:?} came instead of Connected")
    };
    let frame = codec::decode_server(device.codec, bytes, MAX_FRAME_BYTES)?;
    ensure!(
        matches!(frame, ServerFrame::Connected(_)),
        "{frame:?} came instead of Connected"
    );
    recorder.write(ClientEvent::Connected);
    Ok(socket)
}
