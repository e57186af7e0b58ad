//! What the server says.

use flare_core::codec::{ClientFrame, ServerFrame};
use flare_proto::{
    client::{
        Call, Deliver, ErrorFrame, RefreshResponse, Reply, SendAck, Signal, Sync, SyncRange, signal,
    },
    common::ErrorCode,
    session::{SyncInboxRequest, SyncInboxResponse},
    storage::{ReadRangesResponse, SnapshotRequest, SnapshotResponse},
};
use prost::{Message, bytes::Bytes};
use prost_types::Any;

use super::Core;
use crate::{
    calls,
    draft::Sent,
    error::{CallError, Refusal, SendError},
    event::{ConversationEvent, DisconnectReason, Event, Via},
    methods,
    outbox::Refused,
    own_event::own_event,
    reading::{Question, Range},
    requests::Asked,
};

/// How a refresh is named in errors.
pub(super) const REFRESH: &str = "Refresh";
const READ_RANGES_RESPONSE: &str = "flare.storage.v1.ReadRangesResponse";
const SYNC_INBOX_RESPONSE: &str = "flare.session.v1.SyncInboxResponse";
const SNAPSHOT_RESPONSE: &str = "flare.storage.v1.SnapshotResponse";
const REFRESH_RESPONSE: &str = "flare.client.v1.RefreshResponse";
/// Own ids that the server finds too far ahead are replaced so often; then its clock is not to be followed.
const MAX_REMINTED: u8 = 3;

impl Core {
    /// Takes a frame. A reason to end the connection, if that is what it means.
    pub(crate) fn frame(&mut self, frame: ServerFrame, now_ms: u64) -> Option<DisconnectReason> {
        if let Some(online) = &mut self.online {
            online.has_spoken = true;
        }
        match frame {
            // A second one on a connection says nothing that matters.
            ServerFrame::Connected(_) => {}
            ServerFrame::Pong(pong) => self.clock.learn(pong.server_time_ms, now_ms),
            ServerFrame::SendAck(ack) => self.placed(&ack),
            ServerFrame::Deliver(deliver) => self.delivered(deliver),
            ServerFrame::Signal(signal) => self.signalled(signal),
            ServerFrame::Reply(reply) => self.replied(reply, now_ms),
            ServerFrame::SyncHint(hint) => self.reading.hinted(&hint),
            ServerFrame::Error(error) => self.refused(error, now_ms),
            ServerFrame::Goaway(goaway) => {
                if let Some(online) = &mut self.online {
                    online.leave_at_ms = Some(now_ms + u64::from(goaway.reconnect_after_ms));
                }
            }
            ServerFrame::Kicked(kicked) => {
                return Some(DisconnectReason::Closed {
                    reason: kicked.reason(),
                    message: kicked.message,
                });
            }
        }
        None
    }

    fn placed(&mut self, ack: &SendAck) {
        let Some(Asked::Command(key)) = self.requests.answered(ack.id) else {
            return;
        };
        self.observer.acked(ack);
        let Some(mut entry) = self.outbox.placed(key, &ack.conversation_id) else {
            return;
        };
        entry.tell(Ok(Sent {
            client_id: ack.client_id.clone(),
            conversation_id: ack.conversation_id.clone(),
            message_id: ack.message_id.clone(),
            seq: ack.seq,
            time_ms: ack.time_ms,
            duplicate: ack.duplicate,
            trace_id: ack.trace_id.clone(),
        }));
        if let Some(online) = &self.online
            && ack.seq > 0
        {
            let (target, action) = (&entry.command.target, &entry.command.action);
            let event = own_event(&online.connected, target, action, ack);
            self.reading.arrived(event);
        }
    }

    fn delivered(&mut self, deliver: Deliver) {
        for event in deliver.events {
            match ConversationEvent::decode(event, Via::Deliver) {
                Ok(event) => self.reading.arrived(event),
                // The gap that it leaves brings a sync.
                Err(reason) => tracing::warn!(%reason, "an event cannot be read"),
            }
        }
    }

    fn signalled(&mut self, signal: Signal) {
        if let Some(signal::Signal::Settings(_)) = signal.signal {
            self.reading.want_inbox();
        }
        if self.queue.has_room() {
            self.queue.push(Event::Signal(Box::new(signal)));
        }
    }

    fn replied(&mut self, reply: Reply, now_ms: u64) {
        match self.requests.answered(reply.id) {
            Some(Asked::Call(key)) => self.calls.answered(key, reply),
            Some(Asked::Reading(question)) => self.read(question, reply, now_ms),
            Some(Asked::Refresh(answer)) => {
                let renewed = decode::<RefreshResponse>(reply, REFRESH_RESPONSE);
                if let (Ok(renewed), Some(online)) = (&renewed, &mut self.online) {
                    online.connected.token_expires_ms = renewed.token_expires_ms;
                }
                if let Some(answer) = answer {
                    let method = REFRESH.to_owned();
                    let renewed = renewed.map(drop);
                    let _ = answer
                        .send(renewed.map_err(|reason| CallError::Contract { method, reason }));
                }
            }
            // A command has an ack instead; of anything else nobody waits any longer.
            Some(Asked::Command(_)) | None => {}
        }
    }

    fn read(&mut self, question: Question, reply: Reply, now_ms: u64) {
        let read = match question {
            Question::Inbox(token) => decode::<SyncInboxResponse>(reply, SYNC_INBOX_RESPONSE)
                .map(|page| self.reading.inbox_page(page))
                .map_err(|reason| (Question::Inbox(token), reason)),
            Question::Sync(ranges) => {
                match decode::<ReadRangesResponse>(reply, READ_RANGES_RESPONSE) {
                    Ok(answer) => {
                        self.reading.sync_answered(ranges, answer.ranges, now_ms);
                        Ok(())
                    }
                    Err(reason) => Err((Question::Sync(ranges), reason)),
                }
            }
            Question::Snapshot {
                conversation_id,
                messages,
            } => match decode::<SnapshotResponse>(reply, SNAPSHOT_RESPONSE) {
                Ok(answer) => {
                    self.reading.snapshot_answered(&conversation_id, answer);
                    Ok(())
                }
                Err(reason) => Err((
                    Question::Snapshot {
                        conversation_id,
                        messages,
                    },
                    reason,
                )),
            },
        };
        if let Err((question, reason)) = read {
            tracing::warn!(%reason, ?question, "an answer cannot be read");
            self.reading.failed(question, now_ms + super::ASK_AGAIN_MS);
        }
    }

    fn refused(&mut self, frame: ErrorFrame, now_ms: u64) {
        let refusal = Refusal::from(frame.error.unwrap_or_default());
        match self.requests.answered(frame.id) {
            Some(Asked::Command(key)) => self.command_refused(key, refusal, now_ms),
            Some(Asked::Call(key)) => self.calls.refused(key, refusal, now_ms),
            Some(Asked::Reading(question)) => self.reading.refused(question, &refusal, now_ms),
            Some(Asked::Refresh(answer)) => {
                if let Some(answer) = answer {
                    let method = REFRESH.to_owned();
                    let _ = answer.send(Err(CallError::Refused { method, refusal }));
                } else {
                    tracing::warn!(%refusal, "the new token was refused");
                }
            }
            None => tracing::warn!(%refusal, id = frame.id, "the server refused"),
        }
    }

    fn command_refused(&mut self, key: u64, refusal: Refusal, now_ms: u64) {
        let Some(entry) = self.outbox.entry(key) else {
            return;
        };
        let client_id = entry.client_id().to_owned();
        self.observer.refused(&client_id, &refusal);
        if refusal.code == ErrorCode::ClientIdInFuture
            && entry.is_id_ours
            && entry.reminted < MAX_REMINTED
            && let Some(server_ms) = refusal.server_time_ms
        {
            self.clock.learn(server_ms, now_ms);
            self.outbox.rename(key);
            return;
        }
        let chance = self.clock.chance();
        match self.outbox.refused(key, &refusal, now_ms, chance) {
            Some(Refused::Final(mut entry)) => {
                entry.tell(Err(SendError::Refused { client_id, refusal }));
            }
            Some(Refused::Abandoned(client_id)) => self.observer.abandoned(&client_id),
            Some(Refused::Again) | None => {}
        }
    }
}

fn decode<M: Message + Default>(reply: Reply, expected: &str) -> Result<M, String> {
    let bytes: Bytes = calls::response(reply, expected)?;
    M::decode(bytes).map_err(|error| error.to_string())
}

pub(super) fn question_frame(id: u32, question: &Question) -> ClientFrame {
    match question {
        Question::Inbox(token) => {
            let request = SyncInboxRequest {
                token: token.clone(),
                ..SyncInboxRequest::default()
            };
            call(
                id,
                methods::SYNC_INBOX.name(),
                "flare.session.v1.SyncInboxRequest",
                &request,
            )
        }
        Question::Sync(ranges) => ClientFrame::Sync(Sync {
            id,
            ranges: ranges.iter().map(sync_range).collect(),
        }),
        Question::Snapshot {
            conversation_id,
            messages,
        } => {
            let request = SnapshotRequest {
                conversation_id: conversation_id.clone(),
                page_size: Some(*messages),
                ..SnapshotRequest::default()
            };
            call(
                id,
                methods::SNAPSHOT.name(),
                "flare.storage.v1.SnapshotRequest",
                &request,
            )
        }
    }
}

fn sync_range(range: &Range) -> SyncRange {
    SyncRange {
        conversation_id: range.conversation_id.clone(),
        after_seq: range.after_seq,
        limit: Some(range.limit),
    }
}

fn call(id: u32, method: &str, request_type: &str, request: &impl Message) -> ClientFrame {
    ClientFrame::Call(Call {
        id,
        method: method.to_owned(),
        request: Some(Any {
            type_url: format!("{}{request_type}", calls::TYPE_URL_PREFIX),
            value: request.encode_to_vec(),
        }),
    })
}
