//! `flare.access.v1.AccessGatewayService`: what other services put out to connections, and which they close.

use std::sync::Arc;

use flare_core::{
    codec::{Codec, Payload, ServerFrame},
    deliver::EncodedEvent,
    outbound::Outbound,
};
use flare_proto::{
    access::{
        CloseConnectionsRequest, CloseConnectionsResponse, DeliverBatch, DeliverOutcome, Delivery,
        access_gateway_service_server::AccessGatewayService, delivery,
    },
    client::{CloseReason, Signal, SyncHint, signal},
};
use flare_server_core::{
    error::Refusal,
    telemetry::{Batch, EventPlace, Spans},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{link::frames, member_change::member_change};
use crate::application::{
    connection::Close,
    connections::Connections,
    large::{LargeConversations, MembersHere},
};

/// Outcomes that are not read yet; then no more batches are taken.
const OUTCOMES_AHEAD: usize = 16;

/// The service's gRPC side.
pub struct Grpc {
    connections: Arc<Connections>,
    large: Arc<LargeConversations>,
    spans: Spans,
    closed: CancellationToken,
}

impl Grpc {
    /// Puts out to these connections; streams end when `closed`.
    pub fn new(
        connections: Arc<Connections>,
        large: Arc<LargeConversations>,
        spans: Spans,
        closed: CancellationToken,
    ) -> Self {
        Self {
            connections,
            large,
            spans,
            closed,
        }
    }
}

#[tonic::async_trait]
impl AccessGatewayService for Grpc {
    type DeliverStream = ReceiverStream<Result<DeliverOutcome, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverBatch>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        // What was to go out before may be lost: on an earlier stream, or while there was none.
        self.connections.hint(&self.connections.all());
        self.large.doubt_all();
        let mut batches = request.into_inner();
        let (outcomes, answered) = mpsc::channel(OUTCOMES_AHEAD);
        let connections = Arc::clone(&self.connections);
        let large = Arc::clone(&self.large);
        let spans = self.spans.clone();
        let closed = self.closed.clone();
        tokio::spawn(closed.run_until_cancelled_owned(async move {
            loop {
                let outcome = match batches.message().await {
                    Ok(Some(batch)) => Ok(put_out(&connections, &large, &spans, batch)),
                    Ok(None) => return,
                    Err(status) => Err(status),
                };
                let ends = outcome.is_err();
                if outcomes.send(outcome).await.is_err() || ends {
                    return;
                }
            }
        }));
        Ok(Response::new(ReceiverStream::new(answered)))
    }

    async fn close_connections(
        &self,
        request: Request<CloseConnectionsRequest>,
    ) -> Result<Response<CloseConnectionsResponse>, Status> {
        let request = request.into_inner();
        let reason = match request.reason() {
            CloseReason::Unspecified => {
                return Err(Refusal::invalid("reason", "a reason to close for is needed").into());
            }
            reason => reason,
        };
        let closed = if request.incarnation == self.connections.incarnation {
            self.connections.close(
                &request.connection_ids,
                &Close::new(reason, request.message),
            )
        } else {
            0
        };
        Ok(Response::new(CloseConnectionsResponse {
            closed: u32::try_from(closed).unwrap_or(u32::MAX),
        }))
    }
}

fn put_out(
    connections: &Connections,
    large: &LargeConversations,
    spans: &Spans,
    batch: DeliverBatch,
) -> DeliverOutcome {
    let DeliverBatch {
        batch_id,
        incarnation,
        deliveries,
    } = batch;
    let mut gone = Vec::new();
    if incarnation == connections.incarnation {
        let (begun, now_ms) = (Instant::now(), connections.now_ms());
        let mut told = Batch::new(spans);
        let mut put = Put::default();
        for delivery in deliveries {
            put_out_one(
                connections,
                large,
                delivery,
                now_ms,
                &mut gone,
                &mut put,
                &mut told,
            );
        }
        for (kind, count) in [("event", put.events), ("signal", put.signals)] {
            metrics::counter!("flare_access_gateway_deliveries_total", "kind" => kind)
                .increment(count);
        }
        metrics::counter!("flare_access_gateway_large_events_total").increment(put.large);
        told.step("access_gateway.deliver", begun.elapsed(), None);
    } else {
        gone.extend(deliveries.into_iter().flat_map(|it| it.connection_ids));
    }
    gone.sort_unstable();
    gone.dedup();
    DeliverOutcome {
        batch_id,
        gone_connection_ids: gone,
    }
}

/// What connections were given.
#[derive(Default)]
struct Put {
    events: u64,
    signals: u64,
    /// Events of large conversations, each once.
    large: u64,
}

fn put_out_one(
    connections: &Connections,
    large: &LargeConversations,
    delivery: Delivery,
    now_ms: u64,
    gone: &mut Vec<u64>,
    put: &mut Put,
    told: &mut Batch<'_>,
) {
    let prepared = match delivery.payload {
        Some(delivery::Payload::Event(event)) => match EncodedEvent::new(&event) {
            Ok(event) => {
                let view = event.view();
                told.add(view.trace_id, || EventPlace {
                    conversation: view.conversation_id.to_owned(),
                    seq: view.seq,
                    message_id: view.message_id.to_owned(),
                });
                Prepared::Event(event)
            }
            Err(error) => {
                tracing::error!(%error, "an event does not decode; its readers see the gap and sync");
                return;
            }
        },
        Some(delivery::Payload::Signal(signal)) => {
            Prepared::Signal(Box::new(PreparedSignal::new(signal)))
        }
        Some(delivery::Payload::SyncHint(hint)) => {
            Prepared::Signal(Box::new(PreparedSignal::in_place_of_some(hint)))
        }
        None => return,
    };
    if let (Some(members), Prepared::Event(event)) = (delivery.members, &prepared) {
        let members = MembersHere {
            change: member_change(&event.view()),
            member_seq: members.member_seq,
            named_all: members.named_all,
        };
        put.events += large.deliver(event, &delivery.connection_ids, &members, gone);
        put.large += 1;
        return;
    }
    for id in delivery.connection_ids {
        let taken = connections
            .get(id)
            .is_some_and(|connection| match &prepared {
                Prepared::Event(event) => connection.deliver(Arc::clone(event), now_ms),
                Prepared::Signal(signal) => {
                    connection.push(signal.outbound(connection.codec), now_ms)
                }
            });
        match prepared {
            _ if !taken => gone.push(id),
            Prepared::Event(_) => put.events += 1,
            Prepared::Signal(_) => put.signals += 1,
        }
    }
}

enum Prepared {
    Event(Arc<EncodedEvent>),
    Signal(Box<PreparedSignal>),
}

/// A signal, or a hint in place of some, encoded at most once per codec.
struct PreparedSignal {
    frame: ServerFrame,
    transient: bool,
    encoded: [std::cell::OnceCell<Payload>; Codec::ALL.len()],
}

impl PreparedSignal {
    fn new(signal: Signal) -> Self {
        let transient = matches!(signal.signal, None | Some(signal::Signal::Typing(_)));
        Self {
            frame: ServerFrame::Signal(signal),
            transient,
            encoded: Default::default(),
        }
    }

    fn in_place_of_some(hint: SyncHint) -> Self {
        Self {
            frame: ServerFrame::SyncHint(hint),
            transient: false,
            encoded: Default::default(),
        }
    }

    fn outbound(&self, codec: Codec) -> Outbound {
        let [proto, json] = &self.encoded;
        let cell = if codec == Codec::Json { json } else { proto };
        let payload = cell
            .get_or_init(|| frames::encode(codec, &self.frame))
            .clone();
        if self.transient {
            Outbound::Transient(payload)
        } else {
            Outbound::Inbox(payload)
        }
    }
}
