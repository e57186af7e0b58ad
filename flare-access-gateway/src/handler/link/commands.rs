//! Sends and Operates, and their receipts.

use std::{fmt::Display, sync::Arc};

use flare_core::{codec::ClientFrame, pending::Admit};
use flare_proto::{
    client::{CloseReason, ErrorFrame, Operate, Send, SendAck, operate},
    common::ErrorCode,
};
use flare_server_core::{
    error::Refusal,
    telemetry::{About, Done, TraceId},
};
use flare_storage_model::{direct_conversation_id, place_of};
use tokio::time::{Duration, Instant};
use tracing::Span;

use super::{Session, frames::ServerFrame};
use crate::application::{
    connection::{Close, Settled},
    ports::{Action, Command, Target},
    submitter::Taken,
};

/// When what was refused for want of room may come again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A submitted command.
pub(super) struct Pending {
    request_id: u32,
    command: Arc<Command>,
    /// The conversation, by which its lane is known.
    conversation: Box<str>,
    at: Instant,
    /// Ends with the receipt.
    span: Span,
}

/// What a Send and an Operate have in common.
struct Asked {
    request_id: u32,
    client_id: String,
    abandons: String,
    trace_id: TraceId,
    conversation: String,
    target: Target,
    action: Action,
}

impl Asked {
    fn refused(&self, refusal: Refusal) -> ErrorFrame {
        ErrorFrame {
            id: self.request_id,
            error: Some(refusal.into()),
            client_id: self.client_id.clone(),
            trace_id: self.trace_id.to_string(),
        }
    }
}

impl Session {
    pub(super) fn on_send(&mut self, send: Send, unwelcome: Option<Refusal>) -> Result<(), Close> {
        let (conversation, target) = if send.user_id.is_empty() {
            (
                send.conversation_id.clone(),
                Target::Conversation(send.conversation_id.into()),
            )
        } else {
            let own = &self.connection().identity;
            let id = direct_conversation_id(&own.tenant, &own.user, &send.user_id);
            (id, Target::User(send.user_id.into()))
        };
        let asked = Asked {
            request_id: send.id,
            client_id: send.client_id,
            abandons: send.abandons,
            trace_id: self.trace_id(&send.trace_id),
            conversation,
            target,
            action: Action::Send(send.content),
        };
        self.submit(asked, unwelcome)
    }

    pub(super) fn on_operate(
        &mut self,
        operate: Operate,
        unwelcome: Option<Refusal>,
    ) -> Result<(), Close> {
        // Checked before: there is an operation.
        let Some(operate::Operation::Recall(recall)) = operate.operation else {
            return Ok(());
        };
        let asked = Asked {
            request_id: operate.id,
            client_id: operate.client_id,
            abandons: operate.abandons,
            trace_id: self.trace_id(&operate.trace_id),
            conversation: operate.conversation_id.clone(),
            target: Target::Conversation(operate.conversation_id.into()),
            action: Action::Recall { seq: recall.seq },
        };
        self.submit(asked, unwelcome)
    }

    /// Hands a command on, or refuses it: with `unwelcome`, if the connection may not send at this moment. Such a command may come again, so it
    /// breaks its lane as if the orchestrator had refused it.
    ///
    /// # Errors
    /// The connection ends if its lanes cannot remember the refusal: what is already on its way behind it would overtake it.
    fn submit(&mut self, asked: Asked, unwelcome: Option<Refusal>) -> Result<(), Close> {
        let (lane, generation) =
            match self
                .lanes
                .admit(&asked.conversation, &asked.client_id, &asked.abandons)
            {
                Admit::Admitted { lane, generation } => (lane, generation),
                Admit::RetryInOrder { refused_client_id } => {
                    let message = format!(
                        "send {refused_client_id:?} again first, or give it up by `abandons`"
                    );
                    self.refuse(asked.refused(Refusal::new(ErrorCode::RetryInOrder, message)));
                    return Ok(());
                }
                Admit::Exhausted => {
                    let message =
                        "too many commands of this connection were refused and did not come again";
                    let refusal = Refusal::new(ErrorCode::ResourceExhausted, message)
                        .with_retry_after(RETRY_AFTER);
                    self.refuse(asked.refused(refusal));
                    return Err(Close::new(
                        CloseReason::TooFast,
                        format!("{message}: connect again and send them in their order"),
                    ));
                }
            };
        if let Some(refusal) = unwelcome {
            self.lanes
                .on_refused(&asked.conversation, &asked.client_id, true);
            self.refuse(asked.refused(refusal));
            return Ok(());
        }
        let command = Arc::new(Command {
            identity: Arc::clone(&self.connection().identity),
            target: asked.target.clone(),
            client_id: asked.client_id.as_str().into(),
            place: place_of(&self.connection().identity.tenant, &asked.conversation),
            lane,
            generation,
            trace_id: *asked.trace_id.as_bytes(),
            action: asked.action.clone(),
        });
        let span = self.link().spans.open(
            asked.trace_id,
            || tracing::info_span!("access_gateway.command", conversation = %asked.conversation),
        );
        self.next_ticket += 1;
        let taken = Taken::new(
            Arc::clone(&command),
            Arc::clone(self.connection()),
            self.next_ticket,
            self.link().connections.now_ms(),
        );
        if let Err(refusal) = self.link().submitter.submit(taken) {
            self.lanes
                .on_refused(&asked.conversation, &asked.client_id, true);
            self.refuse(asked.refused(refusal));
            return Ok(());
        }
        let pending = Pending {
            request_id: asked.request_id,
            command,
            conversation: asked.conversation.into(),
            at: Instant::now(),
            span,
        };
        self.unacked.submitted(self.next_ticket, pending);
        if self.unacked.is_full() {
            metrics::counter!("flare_access_gateway_reads_paused_total").increment(1);
        }
        Ok(())
    }

    /// A Send or Operate that is wrong in itself. It is refused for good, so nothing waits for it.
    pub(super) fn client_id_of(frame: &ClientFrame) -> (&str, &str) {
        match frame {
            ClientFrame::Send(it) => (&it.client_id, &it.trace_id),
            ClientFrame::Operate(it) => (&it.client_id, &it.trace_id),
            _ => ("", ""),
        }
    }

    pub(super) fn on_receipt(&mut self, Settled { ticket, result }: Settled) {
        let Some(pending) = self.unacked.settle(ticket) else {
            return;
        };
        let Pending {
            request_id,
            command,
            conversation,
            at,
            span,
        } = pending;
        let client_id = command.client_id.to_string();
        let trace = TraceId::from_bytes(command.trace_id);
        self.link().spans.end(
            span,
            &Done {
                trace,
                operation: "access_gateway.command",
                took: at.elapsed(),
                about: &[("conversation", About::Text(&conversation))],
                error: failure(&result).map(|it| it as &dyn Display),
            },
        );
        let trace_id = trace.map(|it| it.to_string()).unwrap_or_default();
        match result {
            Ok(placed) => {
                metrics::histogram!("flare_access_gateway_ack_seconds")
                    .record(at.elapsed().as_secs_f64());
                self.lanes.on_placed(&conversation, &client_id);
                self.answer(ServerFrame::SendAck(SendAck {
                    id: request_id,
                    client_id,
                    conversation_id: placed.conversation,
                    message_id: placed.message_id,
                    seq: placed.seq,
                    ordinal: placed.ordinal,
                    time_ms: placed.time_ms,
                    duplicate: placed.duplicate,
                    trace_id,
                }));
            }
            Err(refusal) => {
                self.lanes
                    .on_refused(&conversation, &client_id, refusal.is_retryable());
                self.refuse(ErrorFrame {
                    id: request_id,
                    error: Some(refusal.into()),
                    client_id,
                    trace_id,
                });
            }
        }
    }

    /// The client's, or a new one.
    pub(super) fn trace_id(&self, given: &str) -> TraceId {
        given
            .parse()
            .unwrap_or_else(|_| TraceId::mint(&self.link().ids))
    }
}

/// A failure of ours. Others are refusals of what was asked, or of everything at once, which whoever is away reports itself.
fn failure<T>(result: &Result<T, Refusal>) -> Option<&Refusal> {
    let refusal = result.as_ref().err();
    refusal.filter(|it| it.code == ErrorCode::Internal)
}
