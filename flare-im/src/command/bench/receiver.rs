//! Who receives, and says how far he is.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use flare_checker::{Client, ClientEvent, Delivered, Via, body_hash};
use flare_core::{
    codec::{ClientFrame, ServerFrame},
    transport::TransportExt,
};
use flare_proto::{
    client::{Ack, Position, Reply, Sync, SyncRange},
    message::{Content, Event, EventBody, content, event_body::Body},
    storage::ReadRangesResponse,
};
use flare_server_core::error::is_retryable;
use flare_storage_model::direct_conversation_id;
use hdrhistogram::Histogram;
use prost::Message as _;
use tokio::sync::oneshot;

use super::{
    link::Link,
    notes::Notes,
    pairs::{Done, Load, STAMP_CHARS, Shared, histogram},
    refusals::{Manner, Refusals, told},
};

/// The largest page of a sync.
const PAGE: u32 = 200;
/// A store that does not show yet what there is to sync is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Whether what was left out is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syncing {
    No,
    /// As soon as this moment has come.
    From(Instant),
    /// Asked, without an answer.
    Asked,
}

/// See the module.
pub(super) struct Receiver {
    link: Link,
    shared: Arc<Shared>,
    manner: Manner,
    notes: Notes,
    latency_us: Histogram<u64>,
    conversation: String,
    /// All up to this seq is there; it is the number of messages.
    have: u64,
    /// There is as much, as far as is known.
    heard_of: u64,
    syncing: Syncing,
    request: u32,
    hints: u64,
}

impl Receiver {
    pub(super) fn new(
        link: Link,
        shared: Arc<Shared>,
        load: Load,
        from: &str,
        client: Option<Client>,
    ) -> anyhow::Result<Self> {
        let own = &link.connected;
        Ok(Self {
            conversation: direct_conversation_id(&own.tenant_id, &own.user_id, from),
            link,
            shared,
            manner: load.manner,
            notes: Notes::of(client),
            latency_us: histogram()?,
            have: 0,
            heard_of: 0,
            syncing: Syncing::No,
            request: 1,
            hints: 0,
        })
    }

    /// Receives until it has as many messages as its sender tells at last.
    pub(super) async fn run(
        mut self,
        mut expected: oneshot::Receiver<u64>,
    ) -> anyhow::Result<Done> {
        self.notes.add(|| ClientEvent::Connected);
        let mut goal = None;
        while goal != Some(self.have) {
            let due = match self.syncing {
                Syncing::From(at) => Some(at),
                Syncing::No | Syncing::Asked => None,
            };
            let frame = tokio::select! {
                all = &mut expected, if goal.is_none() => {
                    let all = all.context("the sender ended early")?;
                    goal = Some(all);
                    // Whoever was hinted once may have been left out again, without a word that is still to come.
                    if self.hints > 0 && all > self.have {
                        self.has_heard_of(all);
                    }
                    continue;
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    self.sync().await?;
                    continue;
                }
                frame = self.link.next() => frame?,
            };
            let before = self.have;
            let mut next = Some(frame);
            while let Some(frame) = next.take() {
                match frame {
                    ServerFrame::Deliver(deliver) => {
                        self.on_events(deliver.events, Via::Deliver)?
                    }
                    ServerFrame::Reply(reply) => self.on_synced(reply)?,
                    ServerFrame::SyncHint(_) => self.on_hint()?,
                    ServerFrame::Error(refused) => {
                        let error = refused.error.unwrap_or_default();
                        ensure!(is_retryable(error.code()), told(&error));
                        let wait = u64::try_from(error.retry_after_ms).unwrap_or_default();
                        let wait = Duration::from_millis(wait).max(ASK_AGAIN);
                        self.syncing = Syncing::From(Instant::now() + wait);
                    }
                    ServerFrame::Kicked(kicked) => bail!("kicked: {}", kicked.message),
                    _ => {}
                }
                next = self.link.ready()?;
            }
            if self.have > before {
                let positions = vec![Position {
                    conversation_id: self.conversation.clone(),
                    seq: self.have,
                }];
                self.link.feed(&ClientFrame::Ack(Ack { positions })).await?;
                self.link.socket.start_flush().await?;
            }
        }
        let (conversation, read_to) = (self.conversation, self.have);
        self.notes.add(|| ClientEvent::End {
            conversation,
            read_to,
        });
        Ok(Done {
            latency_us: self.latency_us,
            records: self.notes.records,
            count: self.have,
            refusals: Refusals::default(),
            hints: self.hints,
        })
    }

    fn on_events(&mut self, events: Vec<Bytes>, via: Via) -> anyhow::Result<()> {
        for event in events {
            let event = Event::decode(event)?;
            let header = event.header.unwrap_or_default();
            let is_next = header.seq == self.have + 1;
            ensure!(
                is_next || self.hints > 0,
                "{} brings seq {}, after {}",
                header.conversation_id,
                header.seq,
                self.have
            );
            if !is_next {
                if header.seq > self.have {
                    self.has_heard_of(header.seq);
                }
                continue;
            }
            self.have = header.seq;
            self.shared.delivered.fetch_add(1, Ordering::Relaxed);
            let content = match EventBody::decode(event.body)?.body {
                Some(Body::MessageCreated(created)) => created.content,
                other => bail!("not a message: {other:?}"),
            };
            if self.shared.measuring.load(Ordering::Relaxed) {
                let at_us = stamp(&content)?;
                let now_us = u64::try_from(self.shared.start.elapsed().as_micros())?;
                self.latency_us
                    .saturating_record(now_us.saturating_sub(at_us).max(1));
            }
            self.notes.add(|| {
                ClientEvent::Delivered(Delivered::message(
                    header.conversation_id,
                    header.seq,
                    header.message_id,
                    header.sender_id,
                    body_hash(&content),
                    via,
                ))
            });
        }
        Ok(())
    }

    fn on_hint(&mut self) -> anyhow::Result<()> {
        if self.manner == Manner::Strict {
            bail!("the server could not deliver in time and asks to sync");
        }
        self.hints += 1;
        let conversation = Some(self.conversation.clone());
        self.notes.add(|| ClientEvent::SyncHint { conversation });
        self.has_heard_of(self.have + 1);
        Ok(())
    }

    /// There is more than came.
    fn has_heard_of(&mut self, seq: u64) {
        self.heard_of = self.heard_of.max(seq);
        if self.syncing == Syncing::No {
            self.syncing = Syncing::From(Instant::now());
        }
    }

    async fn sync(&mut self) -> anyhow::Result<()> {
        if self.heard_of <= self.have {
            self.syncing = Syncing::No;
            return Ok(());
        }
        self.request += 1;
        let sync = Sync {
            id: self.request,
            ranges: vec![SyncRange {
                conversation_id: self.conversation.clone(),
                after_seq: self.have,
                limit: Some(PAGE),
            }],
        };
        self.link.feed(&ClientFrame::Sync(sync)).await?;
        self.link.socket.start_flush().await?;
        self.syncing = Syncing::Asked;
        Ok(())
    }

    fn on_synced(&mut self, reply: Reply) -> anyhow::Result<()> {
        let response = reply.response.context("a reply without a response")?;
        let response = ReadRangesResponse::decode(response.value.as_slice())?;
        let range = response.ranges.into_iter().next();
        let range = range.context("a reply without the range")?;
        let before = self.have;
        match range.error {
            // The store has not heard of the conversation yet.
            Some(error) if error.code().as_str_name().ends_with("NOT_FOUND") => {}
            Some(error) => bail!(told(&error)),
            None => {
                self.heard_of = self.heard_of.max(range.head_seq);
                self.on_events(range.events, Via::Sync)?;
            }
        }
        let pause = match self.have > before {
            true => Duration::ZERO,
            false => ASK_AGAIN,
        };
        self.syncing = Syncing::From(Instant::now() + pause);
        Ok(())
    }
}

/// The moment of sending, from a message's text.
fn stamp(content: &[u8]) -> anyhow::Result<u64> {
    match Content::decode(content)?.kind {
        Some(content::Kind::Text(text)) => {
            let stamp = text
                .text
                .get(..STAMP_CHARS)
                .context("a text without its stamp")?;
            Ok(u64::from_str_radix(stamp, 16)?)
        }
        other => bail!("not a text: {other:?}"),
    }
}
