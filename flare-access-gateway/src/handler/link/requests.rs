//! Every other frame of a client.

use std::sync::Arc;

use bytes::Bytes;
use flare_core::{
    check,
    codec::{ClientFrame, decode_client},
    outbound::Outbound,
};
use flare_proto::{
    client::{
        Ack, Call, ClientSignal, CloseReason, ErrorFrame, Pong, Refresh, RefreshResponse, Reply,
        Sync, client_signal,
    },
    common::ErrorCode,
    descriptor_pool,
    storage::{ReadRange, ReadRangesRequest},
};
use flare_server_core::{error::Refusal, telemetry::TraceId};
use prost::Message;
use prost_types::Any;
use tokio::time::Duration;

use super::{
    Link, Session, context,
    frames::{self, ServerFrame},
    pace::{Judged, Pace},
    told_call::ToldCall,
};
use crate::application::{
    connection::{Close, Connection, TokenTimes},
    ports::Typing,
    registrar::{RegisterError, close_of},
};

const READ_RANGES: &str = "flare.storage.v1.StorageReaderService/ReadRanges";
/// What an `Any`'s type is named by, before its message's name.
const TYPE_URL: &str = "type.googleapis.com/";
/// When a client may try again that had too much under way.
const RETRY_AFTER: Duration = Duration::from_millis(100);

impl Session {
    /// Any bytes at all. An error closes the connection.
    pub(super) fn on_frame(&mut self, bytes: Bytes) -> Result<(), Close> {
        let decoded = decode_client(
            self.connection().codec,
            bytes,
            self.link().config.max_frame_bytes,
        );
        let frame = match decoded {
            Ok(frame) => frame,
            Err(error) => {
                metrics::counter!("flare_access_gateway_frames_total", "kind" => "unreadable")
                    .increment(1);
                self.refuse(error.to_frame());
                if error.closes() {
                    return Err(Close::new(CloseReason::ProtocolError, error.to_string()));
                }
                // Wrong frames cost as much as right ones.
                return self.too_fast().map(drop);
            }
        };
        metrics::counter!("flare_access_gateway_frames_total", "kind" => kind(&frame)).increment(1);
        let too_fast = self.too_fast()?;
        if let Err(refusal) = check::client_frame(&frame, &self.limits) {
            let (client_id, trace_id) = Self::client_id_of(&frame);
            self.refuse(ErrorFrame {
                id: check::request_id_of(&frame),
                error: Some(refusal.to_error()),
                client_id: client_id.to_owned(),
                trace_id: trace_id.to_owned(),
            });
            return Ok(());
        }
        let begins_work = !matches!(
            frame,
            ClientFrame::Ping(_) | ClientFrame::Ack(_) | ClientFrame::Signal(_)
        );
        let drains = begins_work && self.drains_until_ms.is_some();
        let unwelcome = too_fast.or_else(|| drains.then(draining));
        match (frame, unwelcome) {
            (ClientFrame::Send(send), unwelcome) => self.on_send(send, unwelcome)?,
            (ClientFrame::Operate(operate), unwelcome) => self.on_operate(operate, unwelcome)?,
            (ClientFrame::Connect(connect), _) => {
                let refusal = Refusal::new(ErrorCode::FailedPrecondition, "already connected");
                self.refuse(frames::error(connect.id, refusal));
                return Err(Close::new(CloseReason::ProtocolError, "a second Connect"));
            }
            (ClientFrame::Ping(ping), None) => {
                self.shrinks = true;
                self.answer(ServerFrame::Pong(Pong {
                    id: ping.id,
                    server_time_ms: self.link().clock.now_ms(),
                }));
            }
            (ClientFrame::Ack(ack), None) => self.on_ack(&ack),
            (ClientFrame::Signal(signal), None) => self.on_signal(&signal),
            (ClientFrame::Sync(sync), None) => self.on_sync(sync),
            (ClientFrame::Call(call), None) => self.on_call(call),
            (ClientFrame::Refresh(refresh), None) => self.on_refresh(refresh),
            (frame, Some(refusal)) => {
                self.refuse(frames::error(check::request_id_of(&frame), refusal))
            }
        }
        Ok(())
    }

    fn too_fast(&mut self) -> Result<Option<Refusal>, Close> {
        match self.pace.judge() {
            Judged::Passes => Ok(None),
            Judged::Waits(wait) => {
                let message = format!(
                    "at most {} frames a second",
                    self.link().config.frames_per_s
                );
                Ok(Some(
                    Refusal::new(ErrorCode::RateLimited, message).with_retry_after(wait),
                ))
            }
            Judged::Abuse => Err(Close::new(
                CloseReason::TooFast,
                "far above the rate of frames for long",
            )),
        }
    }

    fn on_ack(&self, ack: &Ack) {
        let positions = ack
            .positions
            .iter()
            .map(|it| (it.conversation_id.as_str(), it.seq));
        if let Err(refusal) = self
            .link()
            .positions
            .note(&self.connection().identity, positions)
        {
            self.refuse(frames::error(0, refusal));
        }
    }

    fn on_signal(&mut self, signal: &ClientSignal) {
        if let Some(client_signal::Signal::Viewing(viewing)) = &signal.signal {
            // Nobody else hears of it.
            let large = &self.link().large;
            let viewed = large.view(self.connection(), &signal.conversation_id, viewing.active);
            if let Err(refusal) = viewed {
                self.refuse(frames::error(0, refusal));
            }
            return;
        }
        let per_s = self.link().config.signals_per_s;
        let pace = self
            .signal_pace
            .get_or_insert_with(|| Pace::new(per_s, per_s, u32::MAX));
        if let Judged::Waits(wait) = pace.judge() {
            let refusal = Refusal::new(
                ErrorCode::RateLimited,
                format!("at most {per_s} signals a second"),
            );
            self.refuse(frames::error(0, refusal.with_retry_after(wait)));
            return;
        }
        // Checked before: there is a signal.
        let Some(client_signal::Signal::Typing(typing)) = &signal.signal else {
            return;
        };
        let typing = Typing {
            identity: Arc::clone(&self.connection().identity),
            conversation: signal.conversation_id.as_str().into(),
            active: typing.active,
        };
        if let Err(refusal) = self.link().signals.pass_on(typing) {
            self.refuse(frames::error(0, refusal));
        }
    }

    fn on_sync(&self, sync: Sync) {
        let ranges = sync.ranges.into_iter().map(|it| ReadRange {
            conversation_id: it.conversation_id,
            after_seq: it.after_seq,
            limit: it.limit,
        });
        let request = ReadRangesRequest {
            context: None,
            ranges: ranges.collect(),
        };
        self.call(sync.id, READ_RANGES, &request.encode_to_vec());
    }

    fn on_call(&self, call: Call) {
        let request = call.request.unwrap_or_default();
        self.call(call.id, &call.method, &request.value);
    }

    fn call(&self, id: u32, method: &str, request: &[u8]) {
        let link = self.link();
        let stripped = match context::Stripped::new(request) {
            Ok(stripped) => stripped,
            Err(refusal) => return self.refuse(frames::error(id, refusal)),
        };
        let trace_id = stripped.trace_id.unwrap_or_else(|| self.trace_id(""));
        let request_id = link.ids.ulid(link.clock.now_ms()).to_string();
        let context = context::of_user(&self.connection().identity, request_id, trace_id);
        let request = stripped.with(&context);
        let Some(response) = response_type(method) else {
            let refusal = Refusal::new(
                ErrorCode::UnknownMethod,
                format!("no method {method:?} is open to clients"),
            );
            return self.refuse(frames::error(id, refusal.with_field("method")));
        };
        let method = method.to_owned();
        let told = ToldCall::begins(&link.spans, trace_id, &method);
        self.spawn(id, Some(trace_id), move |link, _| async move {
            let calling = link
                .services
                .call(&method, request, link.config.max_reply_bytes);
            let value = told.until(calling, &link.spans, &method).await?;
            Ok(Any {
                type_url: format!("{TYPE_URL}{response}"),
                value: value.into(),
            })
        });
    }

    fn on_refresh(&self, refresh: Refresh) {
        self.spawn(refresh.id, None, move |link, connection| async move {
            let expires_s = renew(&link, &connection, &refresh.token).await?;
            let response = RefreshResponse {
                token_expires_ms: expires_s.saturating_mul(1_000),
            };
            Ok(Any {
                type_url: format!("{TYPE_URL}flare.client.v1.RefreshResponse"),
                value: response.encode_to_vec(),
            })
        });
    }

    /// Answers a request when `work` is done, without holding up the frames behind it. A refusal bears the trace under which it was worked.
    fn spawn<W>(
        &self,
        id: u32,
        trace: Option<TraceId>,
        work: impl FnOnce(Arc<Link>, Arc<Connection>) -> W,
    ) where
        W: Future<Output = Result<Any, Refusal>> + Send + 'static,
    {
        let (link, connection) = (Arc::clone(self.link()), Arc::clone(self.connection()));
        let max = link.config.max_calls;
        if !connection.begin_call(max) {
            let refusal = Refusal::new(
                ErrorCode::ResourceExhausted,
                format!("{max} calls are under way, the most that may be"),
            );
            return self.refuse(frames::error(id, refusal.with_retry_after(RETRY_AFTER)));
        }
        let work = work(Arc::clone(&link), Arc::clone(&connection));
        tokio::spawn(async move {
            let call = CallPlace(connection);
            match work.await {
                Ok(response) => {
                    let reply = ServerFrame::Reply(Reply {
                        id,
                        response: Some(response),
                    });
                    let payload = frames::encode(call.0.codec, &reply);
                    call.0.reply(payload, || link.connections.now_ms()).await;
                }
                Err(refusal) => {
                    let error = ErrorFrame {
                        trace_id: trace.map(|it| it.to_string()).unwrap_or_default(),
                        ..frames::error(id, refusal)
                    };
                    frames::count(&error);
                    let payload = frames::encode(call.0.codec, &ServerFrame::Error(error));
                    call.0
                        .push(Outbound::Answer(payload), link.connections.now_ms());
                }
            }
        });
    }
}

/// A call's place, given back when it ends in whatever way.
struct CallPlace(Arc<Connection>);

impl Drop for CallPlace {
    fn drop(&mut self) {
        self.0.end_call();
    }
}

/// Takes another token of the same user and device. It is registered with its time of issue, so that a revocation finds it or is found by it.
async fn renew(link: &Link, connection: &Connection, token: &str) -> Result<i64, Refusal> {
    let deadline = Duration::from_millis(link.config.call_ms);
    let claims = tokio::time::timeout(
        deadline,
        link.validator.validate(token, link.clock.now_ms()),
    )
    .await
    .map_err(|_| {
        Refusal::new(
            ErrorCode::DeadlineExceeded,
            "the token was not validated in time",
        )
    })??;
    let identity = &connection.identity;
    claims.check_tenant(&identity.tenant)?;
    claims.check_device(&identity.device)?;
    if *claims.user != *identity.user {
        let message = format!(
            "the token is of user {:?}, not {:?}",
            claims.user, identity.user
        );
        return Err(Refusal::new(ErrorCode::PermissionDenied, message).with_field("token"));
    }
    let times = TokenTimes {
        issued_s: claims.issued_s,
        expires_s: claims.expires_s,
    };
    let mut registration = connection.registration();
    registration.token_issued_s = times.issued_s;
    match link.registrar.register(registration).await {
        Ok(()) => {
            connection.renew_token(times);
            Ok(times.expires_s)
        }
        Err(RegisterError::Refused(refusal)) => {
            // Presence does not hold it any more: it cannot stay.
            connection.close(close_of(&refusal));
            Err(refusal)
        }
        Err(RegisterError::Unanswered(refusal)) => Err(refusal),
    }
}

fn response_type(method: &str) -> Option<String> {
    let (service, name) = method.split_once('/')?;
    let service = descriptor_pool().get_service_by_name(service)?;
    let method = service.methods().find(|it| it.name() == name)?;
    Some(method.output().full_name().to_owned())
}

fn draining() -> Refusal {
    Refusal::unavailable(
        "the server ends: send it again after reconnecting",
        RETRY_AFTER,
    )
}

fn kind(frame: &ClientFrame) -> &'static str {
    match frame {
        ClientFrame::Connect(_) => "connect",
        ClientFrame::Ping(_) => "ping",
        ClientFrame::Send(_) => "send",
        ClientFrame::Operate(_) => "operate",
        ClientFrame::Ack(_) => "ack",
        ClientFrame::Sync(_) => "sync",
        ClientFrame::Call(_) => "call",
        ClientFrame::Signal(_) => "signal",
        ClientFrame::Refresh(_) => "refresh",
    }
}
