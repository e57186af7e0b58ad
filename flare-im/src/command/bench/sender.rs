//! Who writes, as fast as his acks come or at a rate.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use flare_checker::{Acked, Client, ClientEvent, Intent, Kind, Refused, Target, body_hash};
use flare_core::{
    codec::{ClientFrame, ServerFrame},
    transport::TransportExt,
};
use flare_proto::{
    client::{ErrorFrame, Send, SendAck},
    message::{Content, Text, content},
};
use flare_server_core::error::is_retryable;
use hdrhistogram::Histogram;
use prost::Message as _;
use tokio::sync::oneshot;
use ulid::Ulid;

use super::{
    link::Link,
    notes::Notes,
    pace::Pace,
    pairs::{Done, Load, STAMP_CHARS, Shared, histogram},
    refusals::{Manner, Refusals, told},
};

/// A message without its receipt.
struct Message {
    client_id: String,
    content: Bytes,
    /// When it was due, or sent for the first time.
    begun: Instant,
    /// The request that waits for an answer; None: it was refused, and will come again.
    request: Option<u32>,
}

/// See the module.
pub(super) struct Sender {
    link: Link,
    shared: Arc<Shared>,
    load: Load,
    to: String,
    notes: Notes,
    /// In the order in which they are to be kept.
    window: VecDeque<Message>,
    under_way: usize,
    in_flight: usize,
    /// None: a message is due whenever the window has room.
    pace: Option<Pace>,
    /// Before that nothing is sent again.
    not_before: Instant,
    refusals: Refusals,
    latency_us: Histogram<u64>,
    padding: String,
    server_ms: u64,
    connected: Instant,
    /// Of the last request, and the last message.
    request: u32,
    number: u32,
    acked: u64,
    last_seq: u64,
    conversation: String,
}

impl Sender {
    pub(super) fn new(
        link: Link,
        shared: Arc<Shared>,
        load: Load,
        to: String,
        client: Option<Client>,
        pace: Option<Pace>,
    ) -> anyhow::Result<Self> {
        let now = Instant::now();
        let allowed = link.connected.limits.unwrap_or_default().max_unacked_sends;
        let in_flight = match (load.manner, allowed) {
            // More than the server reads is a measurement of its own.
            (Manner::Strict, _) | (_, 0) => load.in_flight,
            (Manner::Obedient, allowed) => load.in_flight.min(allowed),
        };
        Ok(Self {
            server_ms: u64::try_from(link.connected.server_time_ms)?,
            link,
            shared,
            load,
            to,
            notes: Notes::of(client),
            window: VecDeque::new(),
            under_way: 0,
            in_flight: in_flight as usize,
            pace,
            not_before: now,
            refusals: Refusals::default(),
            latency_us: histogram()?,
            padding: "x".repeat((load.bytes as usize).saturating_sub(STAMP_CHARS)),
            connected: now,
            request: 1,
            number: 0,
            acked: 0,
            last_seq: 0,
            conversation: String::new(),
        })
    }

    /// Writes until it is to stop and has all receipts, whose number it tells.
    pub(super) async fn run(mut self, sent: oneshot::Sender<u64>) -> anyhow::Result<Done> {
        self.notes.add(|| ClientEvent::Connected);
        loop {
            if self.under_way == 0 && !self.window.is_empty() {
                tokio::time::sleep_until(self.not_before.into()).await;
                self.send_again().await?;
            }
            self.send_more().await?;
            self.link.socket.start_flush().await?;
            if self.window.is_empty() && self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
            let mut next = self.next().await?;
            // All that is there, so that what it gives rise to goes out in one write.
            while let Some(frame) = next.take() {
                match frame {
                    ServerFrame::SendAck(ack) => self.on_ack(ack)?,
                    ServerFrame::Error(refused) => self.on_refused(refused)?,
                    ServerFrame::Kicked(kicked) => bail!("kicked: {}", kicked.message),
                    _ => {}
                }
                next = self.link.ready()?;
            }
        }
        let (conversation, read_to) = (self.conversation, self.last_seq);
        self.notes.add(|| ClientEvent::End {
            conversation,
            read_to,
        });
        let _ = sent.send(self.acked);
        Ok(Done {
            latency_us: self.latency_us,
            records: self.notes.records,
            count: self.acked,
            refusals: self.refusals,
            hints: 0,
        })
    }

    /// The next frame; None: a message is due before it.
    async fn next(&mut self) -> anyhow::Result<Option<ServerFrame>> {
        let due = match &self.pace {
            Some(pace) if self.has_room() => pace.due(),
            _ => return self.link.next().await.map(Some),
        };
        tokio::select! {
            frame = self.link.next() => frame.map(Some),
            () = tokio::time::sleep_until(due.into()) => Ok(None),
        }
    }

    fn has_room(&self) -> bool {
        self.under_way == self.window.len() && self.under_way < self.in_flight
    }

    /// New messages, as many as are due and the window takes; none while one that was refused has not come again.
    async fn send_more(&mut self) -> anyhow::Result<()> {
        while self.has_room() && !self.shared.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let Some(begun) = self.pace.as_mut().map_or(Some(now), |it| it.take(now)) else {
                break;
            };
            self.number += 1;
            let minted_ms = self.server_ms + u64::try_from(self.connected.elapsed().as_millis())?;
            let client_id = Ulid::from_parts(minted_ms, u128::from(self.number)).to_string();
            let since = begun.saturating_duration_since(self.shared.start);
            let stamp = since.as_micros();
            let text = format!("{stamp:016x}{}", self.padding);
            let content: Bytes = Content {
                kind: Some(content::Kind::Text(Text { text })),
                ..Content::default()
            }
            .encode_to_vec()
            .into();
            self.notes.add(|| {
                ClientEvent::Intent(Intent {
                    client_id: client_id.clone(),
                    target: Target::User(self.to.clone()),
                    sender: self.link.connected.user_id.clone(),
                    body_hash: body_hash(&content),
                    kind: Kind::Message,
                })
            });
            let request = self.put(&client_id, &content).await?;
            self.window.push_back(Message {
                client_id,
                content,
                begun,
                request: Some(request),
            });
        }
        Ok(())
    }

    /// What was refused, in its order.
    async fn send_again(&mut self) -> anyhow::Result<()> {
        for at in 0..self.window.len() {
            let message = &self.window[at];
            let (client_id, content) = (message.client_id.clone(), message.content.clone());
            self.notes.add(|| ClientEvent::Resent {
                client_id: client_id.clone(),
            });
            let request = self.put(&client_id, &content).await?;
            self.window[at].request = Some(request);
        }
        Ok(())
    }

    async fn put(&mut self, client_id: &str, content: &Bytes) -> anyhow::Result<u32> {
        self.request += 1;
        let frame = Send {
            id: self.request,
            user_id: self.to.clone(),
            client_id: client_id.to_owned(),
            content: content.clone(),
            ..Send::default()
        };
        self.link.feed(&ClientFrame::Send(frame)).await?;
        self.under_way += 1;
        self.refusals.sends += 1;
        Ok(self.request)
    }

    fn find(&self, request: u32) -> Option<usize> {
        self.window
            .iter()
            .position(|it| it.request == Some(request))
    }

    fn on_ack(&mut self, ack: SendAck) -> anyhow::Result<()> {
        let message = self
            .find(ack.id)
            .and_then(|at| self.window.remove(at))
            .context("an ack that nobody waits for")?;
        self.under_way -= 1;
        let client_id = message.client_id;
        if self.shared.measuring.load(Ordering::Relaxed) {
            let us = u64::try_from(message.begun.elapsed().as_micros())?;
            self.latency_us.saturating_record(us.max(1));
        }
        ensure!(
            ack.client_id == client_id,
            "the ack of {client_id} names {}",
            ack.client_id
        );
        ensure!(
            ack.seq == self.last_seq + 1 || self.load.manner == Manner::Obedient,
            "{} has seq {}, after {}",
            ack.conversation_id,
            ack.seq,
            self.last_seq
        );
        self.last_seq = self.last_seq.max(ack.seq);
        self.acked += 1;
        self.shared.acked.fetch_add(1, Ordering::Relaxed);
        self.conversation.clone_from(&ack.conversation_id);
        self.notes.add(|| {
            ClientEvent::Acked(Acked {
                client_id,
                conversation: ack.conversation_id,
                seq: ack.seq,
                message_id: ack.message_id,
                duplicate: ack.duplicate,
                body_hash: None,
            })
        });
        Ok(())
    }

    fn on_refused(&mut self, refused: ErrorFrame) -> anyhow::Result<()> {
        let error = refused.error.unwrap_or_default();
        if self.load.manner == Manner::Strict {
            bail!(told(&error));
        }
        let at = self
            .find(refused.id)
            .with_context(|| format!("a refusal of nothing that was sent: {}", told(&error)))?;
        self.under_way -= 1;
        self.window[at].request = None;
        let client_id = &self.window[at].client_id;
        self.notes.add(|| {
            ClientEvent::Refused(Refused {
                client_id: client_id.clone(),
                code: error.code().as_str_name().to_owned(),
                retryable: is_retryable(error.code()),
            })
        });
        let wait = self.refusals.take(&error)?;
        self.not_before = self.not_before.max(Instant::now() + wait);
        Ok(())
    }
}
