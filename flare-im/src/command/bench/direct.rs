//! Pairs: one user writes, as fast as his acks come; the other receives.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use flare_checker::{
    Acked, Checker, Client, ClientEvent, Counts, Delivered, Intent, Kind, Record, Target, Via,
    body_hash,
};
use flare_core::{
    codec::{ClientFrame, ServerFrame},
    transport::TransportExt,
};
use flare_proto::{
    client::{Ack, Position, Send},
    common::{Error, ErrorCode},
    message::{Content, Event, EventBody, Text, content, event_body::Body},
};
use flare_server_core::clock::{Clock, IdSource, SystemClock};
use hdrhistogram::Histogram;
use prost::Message;
use serde::Serialize;
use tokio::task::JoinSet;
use ulid::Ulid;

use super::link::{Link, Server, Tokens};
use crate::{cli::BenchServer, command::progress, output::say};

const WARM_UP: Duration = Duration::from_secs(1);
/// What is on its way at the end has this long to arrive.
const SETTLE: Duration = Duration::from_secs(20);
/// The text begins with the moment of sending, in hexadecimal microseconds since the start.
const STAMP_CHARS: usize = 16;

/// What is put on the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) pairs: u32,
    pub(super) checked_pairs: u32,
    pub(super) in_flight: u32,
    pub(super) bytes: u32,
    pub(super) seconds: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    pairs: u32,
    in_flight: u32,
    bytes: u32,
    seconds: u64,
    acked_per_s: u64,
    delivered_per_s: u64,
    ack_us: Quantiles,
    delivery_us: Quantiles,
    checked_pairs: u32,
    verdict: String,
    kept: bool,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50: u64,
    p99: u64,
    max: u64,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        }
    }
}

/// What all connections share.
struct Shared {
    start: Instant,
    measuring: AtomicBool,
    stop: AtomicBool,
    acked: AtomicU64,
    delivered: AtomicU64,
}

/// What a connection brings home.
struct Done {
    latency_us: Histogram<u64>,
    records: Vec<Record>,
    count: u64,
}

pub(super) async fn run(load: Load, server: &BenchServer) -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(u64::from(load.pairs) * 2 + 1_000)?;
    let tokens = Tokens::open(&server.data)?;
    let at = Server::of(server)?;
    // Users of their own: the checker sees conversations from their first message.
    let run_id = IdSource::from_os()
        .ulid(SystemClock.now_ms())
        .to_string()
        .to_lowercase();
    let shared = Arc::new(Shared {
        start: Instant::now(),
        measuring: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        acked: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
    });
    let mut senders = JoinSet::new();
    let mut receivers = JoinSet::new();
    let connecting = progress::counted("connecting pairs", load.pairs.into())?;
    for pair in 0..load.pairs {
        let checked = pair < load.checked_pairs;
        let (writer, reader) = (
            format!("bench-{run_id}-w{pair}"),
            format!("bench-{run_id}-r{pair}"),
        );
        let out = Link::open(&at, tokens.mint(&writer)?, "bench").await?;
        let into = Link::open(&at, tokens.mint(&reader)?, "bench").await?;
        let (sent, expected) = tokio::sync::oneshot::channel();
        receivers.spawn(receive(
            into,
            Arc::clone(&shared),
            expected,
            checked.then(|| Client::new("default", &reader, "bench")),
        ));
        let client = checked.then(|| Client::new("default", &writer, "bench"));
        senders.spawn(send(out, Arc::clone(&shared), load, reader, sent, client));
        connecting.inc(1);
    }
    connecting.finish_and_clear();

    tokio::time::sleep(WARM_UP).await;
    shared.measuring.store(true, Ordering::Relaxed);
    let (acked, delivered, begun) = (
        shared.acked.load(Ordering::Relaxed),
        shared.delivered.load(Ordering::Relaxed),
        Instant::now(),
    );
    progress::seconds("measuring, in seconds", load.seconds).await?;
    shared.measuring.store(false, Ordering::Relaxed);
    let took = begun.elapsed().as_secs_f64();
    let acked = shared.acked.load(Ordering::Relaxed) - acked;
    let delivered = shared.delivered.load(Ordering::Relaxed) - delivered;
    shared.stop.store(true, Ordering::Relaxed);

    let settling = progress::uncounted("waiting for what is on its way, and judging it")?;
    let mut ack_us = histogram()?;
    let mut delivery_us = histogram()?;
    let mut checker = Checker::new();
    let mut total_acked = 0;
    let mut total_delivered = 0;
    for (set, latencies, total) in [
        (senders, &mut ack_us, &mut total_acked),
        (receivers, &mut delivery_us, &mut total_delivered),
    ] {
        let all = tokio::time::timeout(SETTLE, collect(set))
            .await
            .context("what is on its way did not arrive in time")??;
        for done in all {
            latencies.add(&done.latency_us)?;
            *total += done.count;
            done.records.iter().for_each(|record| checker.add(record));
        }
    }
    ensure!(
        total_acked == total_delivered,
        "{total_acked} messages were acked, {total_delivered} delivered"
    );
    let verdict = checker.verdict();
    settling.finish_and_clear();
    let enough = Counts {
        acks: u64::from(load.checked_pairs),
        deliveries: u64::from(load.checked_pairs),
        ..Counts::default()
    };
    let kept = verdict.require(&enough).is_ok();
    let report = Report {
        pairs: load.pairs,
        in_flight: load.in_flight,
        bytes: load.bytes,
        seconds: load.seconds,
        acked_per_s: (acked as f64 / took) as u64,
        delivered_per_s: (delivered as f64 / took) as u64,
        ack_us: Quantiles::of(&ack_us),
        delivery_us: Quantiles::of(&delivery_us),
        checked_pairs: load.checked_pairs,
        verdict: verdict.to_string(),
        kept,
    };
    if server.json {
        say!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    ensure!(kept, "the checker found a broken promise");
    Ok(())
}

fn print(report: &Report) {
    say!(
        "{} pairs, {} in flight each, {} bytes, {} s",
        report.pairs,
        report.in_flight,
        report.bytes,
        report.seconds
    );
    say!(
        "acked      {:>9} msg/s   p50 {} us, p99 {} us, max {} us",
        report.acked_per_s,
        report.ack_us.p50,
        report.ack_us.p99,
        report.ack_us.max
    );
    say!(
        "delivered  {:>9} msg/s   p50 {} us, p99 {} us, max {} us",
        report.delivered_per_s,
        report.delivery_us.p50,
        report.delivery_us.p99,
        report.delivery_us.max
    );
    say!(
        "checker, over {} pairs:\n{}",
        report.checked_pairs,
        report.verdict
    );
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

async fn collect(mut set: JoinSet<anyhow::Result<Done>>) -> anyhow::Result<Vec<Done>> {
    let mut all = Vec::new();
    while let Some(done) = set.join_next().await {
        all.push(done??);
    }
    Ok(all)
}

/// Writes down what one connection sees; nothing for pairs that are not checked.
struct Notes {
    client: Option<Client>,
    records: Vec<Record>,
}

impl Notes {
    fn add(&mut self, event: impl FnOnce() -> ClientEvent) {
        if let Some(client) = &self.client {
            let index = self.records.len() as u64 + 1;
            self.records.push(Record {
                client: client.clone(),
                index,
                time_ms: 0,
                event: event(),
            });
        }
    }
}

async fn send(
    mut link: Link,
    shared: Arc<Shared>,
    load: Load,
    to: String,
    sent: tokio::sync::oneshot::Sender<u64>,
    client: Option<Client>,
) -> anyhow::Result<Done> {
    let own = link.connected.user_id.clone();
    let mut notes = Notes {
        client,
        records: Vec::new(),
    };
    notes.add(|| ClientEvent::Connected);
    let server_ms = u64::try_from(link.connected.server_time_ms)?;
    let connected = Instant::now();
    let padding = "x".repeat((load.bytes as usize).saturating_sub(STAMP_CHARS));
    let mut under_way: HashMap<u32, (String, Instant)> = HashMap::new();
    let mut latency_us = histogram()?;
    let (mut id, mut acked, mut last) = (1u32, 0u64, 0u64);
    let mut conversation = String::new();
    loop {
        let stopping = shared.stop.load(Ordering::Relaxed);
        while !stopping && under_way.len() < load.in_flight as usize {
            id += 1;
            let minted_ms = server_ms + u64::try_from(connected.elapsed().as_millis())?;
            let client_id = Ulid::from_parts(minted_ms, u128::from(id)).to_string();
            let text = format!("{:016x}{padding}", shared.start.elapsed().as_micros());
            let content = Content {
                kind: Some(content::Kind::Text(Text { text })),
                ..Content::default()
            }
            .encode_to_vec();
            notes.add(|| {
                ClientEvent::Intent(Intent {
                    client_id: client_id.clone(),
                    target: Target::User(to.clone()),
                    sender: own.clone(),
                    body_hash: body_hash(&content),
                    kind: Kind::Message,
                })
            });
            let frame = Send {
                id,
                user_id: to.clone(),
                client_id: client_id.clone(),
                content: content.into(),
                ..Send::default()
            };
            link.feed(&ClientFrame::Send(frame)).await?;
            under_way.insert(id, (client_id, Instant::now()));
        }
        link.socket.start_flush().await?;
        if under_way.is_empty() {
            break;
        }
        let mut next = Some(link.next().await?);
        // All that is there, so that what it gives rise to goes out in one write.
        while let Some(frame) = next.take() {
            match frame {
                ServerFrame::SendAck(ack) => {
                    let (client_id, at) = under_way
                        .remove(&ack.id)
                        .context("an ack that nobody waits for")?;
                    if shared.measuring.load(Ordering::Relaxed) {
                        latency_us.record(u64::try_from(at.elapsed().as_micros())?.max(1))?;
                    }
                    ensure!(
                        ack.client_id == client_id,
                        "the ack of {client_id} names {}",
                        ack.client_id
                    );
                    ensure!(
                        ack.seq == last + 1,
                        "{} has seq {}, after {last}",
                        ack.conversation_id,
                        ack.seq
                    );
                    last = ack.seq;
                    acked += 1;
                    shared.acked.fetch_add(1, Ordering::Relaxed);
                    conversation.clone_from(&ack.conversation_id);
                    notes.add(|| {
                        ClientEvent::Acked(Acked {
                            client_id,
                            conversation: ack.conversation_id,
                            seq: ack.seq,
                            message_id: ack.message_id,
                            duplicate: ack.duplicate,
                            body_hash: None,
                        })
                    });
                }
                ServerFrame::Error(refused) => bail!(refusal(refused.error.unwrap_or_default())),
                ServerFrame::Kicked(kicked) => bail!("kicked: {}", kicked.message),
                _ => {}
            }
            next = link.ready()?;
        }
    }
    notes.add(|| ClientEvent::End {
        conversation,
        read_to: last,
    });
    let _ = sent.send(acked);
    Ok(Done {
        latency_us,
        records: notes.records,
        count: acked,
    })
}

/// A server that refuses is not measured: its limit is.
fn refusal(error: Error) -> String {
    let advice = match error.code() {
        ErrorCode::RateLimited => {
            ": measure with more pairs, or start the server with --set message_orchestrator.rate.user_per_s=0 \
             --set message_orchestrator.rate.conversation_per_s=0 --set access_gateway.frames_per_s=1000000"
        }
        _ => "",
    };
    format!(
        "the server refuses a message, {}: {}{advice}",
        error.code().as_str_name(),
        error.message
    )
}

async fn receive(
    mut link: Link,
    shared: Arc<Shared>,
    mut expected: tokio::sync::oneshot::Receiver<u64>,
    client: Option<Client>,
) -> anyhow::Result<Done> {
    let mut notes = Notes {
        client,
        records: Vec::new(),
    };
    notes.add(|| ClientEvent::Connected);
    let mut latency_us = histogram()?;
    let (mut count, mut last) = (0u64, 0u64);
    let mut goal = None;
    let mut conversation = String::new();
    while goal != Some(count) {
        let frame = tokio::select! {
            all = &mut expected, if goal.is_none() => {
                goal = Some(all.context("the sender ended early")?);
                continue;
            }
            frame = link.next() => frame?,
        };
        let mut next = Some(frame);
        while let Some(frame) = next.take() {
            match frame {
                ServerFrame::Deliver(deliver) => {
                    for event in deliver.events {
                        let event = Event::decode(event)?;
                        let header = event.header.unwrap_or_default();
                        ensure!(
                            header.seq == last + 1,
                            "{} brings seq {}, after {last}",
                            header.conversation_id,
                            header.seq
                        );
                        last = header.seq;
                        count += 1;
                        shared.delivered.fetch_add(1, Ordering::Relaxed);
                        let content = match EventBody::decode(event.body)?.body {
                            Some(Body::MessageCreated(created)) => created.content,
                            other => bail!("not a message: {other:?}"),
                        };
                        if shared.measuring.load(Ordering::Relaxed) {
                            let at_us = stamp(&content)?;
                            let now_us = u64::try_from(shared.start.elapsed().as_micros())?;
                            latency_us.record(now_us.saturating_sub(at_us).max(1))?;
                        }
                        notes.add(|| {
                            let hash = body_hash(&content);
                            let id = &header.conversation_id;
                            ClientEvent::Delivered(Delivered::message(
                                id,
                                header.seq,
                                &header.message_id,
                                &header.sender_id,
                                hash,
                                Via::Deliver,
                            ))
                        });
                        conversation = header.conversation_id;
                    }
                }
                ServerFrame::SyncHint(_) => {
                    bail!("the server could not deliver in time and asks to sync")
                }
                ServerFrame::Kicked(kicked) => bail!("kicked: {}", kicked.message),
                _ => {}
            }
            next = link.ready()?;
        }
        if last > 0 {
            let positions = vec![Position {
                conversation_id: conversation.clone(),
                seq: last,
            }];
            link.feed(&ClientFrame::Ack(Ack { positions })).await?;
            link.socket.start_flush().await?;
        }
    }
    notes.add(|| ClientEvent::End {
        conversation,
        read_to: last,
    });
    Ok(Done {
        latency_us,
        records: notes.records,
        count,
    })
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
