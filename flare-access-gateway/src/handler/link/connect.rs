//! The first frame: who is there, and may he stay.

use std::sync::Arc;

use flare_core::{
    check,
    codec::{ClientFrame, Codec, decode_client},
    transport::{Incoming, Transport, TransportError, TransportExt},
};
use flare_proto::{
    client::{CloseReason, Connect, Connected, ErrorFrame},
    common::ErrorCode,
};
use flare_server_core::{error::Refusal, identity::Claims};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::{
    LAST_FRAMES, Link, Session, close,
    frames::{self, ServerFrame},
};
use crate::{
    application::{
        connection::{Close, Connection},
        ports::Registration,
        registrar::close_of,
    },
    domain::Identity,
};

/// Why a connection ends before it has begun.
enum Ended {
    /// The client has gone.
    Gone,
    /// It is told why.
    Refused(ErrorFrame, Close),
    /// It is closed without an answer to any request.
    Closed(Close),
}

/// Waits for the Connect, and answers it. None: the connection was closed, and the client told why.
pub async fn connect(
    link: &Arc<Link>,
    socket: &mut impl Transport,
    codec: Codec,
) -> Option<Session> {
    let begun = tokio::select! {
        begun = begin(link, socket, codec) => begun,
        () = link.shutdown.draining() => {
            Err(Ended::Closed(Close::new(CloseReason::GoingAway, "the server ends: connect again")))
        }
    };
    let (error, reason) = match begun {
        Ok(session) => return Some(session),
        Err(Ended::Gone) => {
            socket.close(1_000, "").await;
            return None;
        }
        Err(Ended::Refused(error, reason)) => (Some(error), reason),
        Err(Ended::Closed(reason)) => (None, reason),
    };
    if let Some(error) = error {
        frames::count(&error);
        let payload = frames::encode(codec, &ServerFrame::Error(error));
        let _ = timeout(LAST_FRAMES, socket.send(payload)).await;
    }
    close(socket, codec, &reason).await;
    None
}

async fn begin(
    link: &Arc<Link>,
    socket: &mut impl Transport,
    codec: Codec,
) -> Result<Session, Ended> {
    let deadline = Instant::now() + Duration::from_millis(link.config.connect_ms);
    let late = |_| {
        Ended::Closed(Close::new(
            CloseReason::ConnectTimeout,
            "no Connect in time",
        ))
    };
    let connect = timeout_at(deadline, first_frame(link, socket, codec))
        .await
        .map_err(late)??;
    let id = connect.id;
    let validated = timeout_at(deadline, validate(link, &connect))
        .await
        .map_err(late)?;
    let claims = validated.map_err(|refusal| refused(id, refusal, CloseReason::Unauthenticated))?;
    let registered = register(link, &connect, &claims, codec).await?;

    let heartbeat_ms = link.heartbeats().agree(connect.heartbeat_ms);
    let connected = ServerFrame::Connected(Connected {
        id,
        connection_id: format!(
            "{}.{}",
            link.connections.incarnation,
            registered.connection().id
        ),
        tenant_id: claims.tenant,
        user_id: claims.user,
        device_id: connect.device_id,
        server_time_ms: link.clock.now_ms(),
        heartbeat_ms,
        token_expires_ms: claims.expires_s.saturating_mul(1_000),
        min_sdk_version: link.config.min_sdk_version.clone(),
        limits: Some(link.told_limits()),
    });
    let sent = timeout_at(
        deadline.max(Instant::now() + LAST_FRAMES),
        socket.send(frames::encode(codec, &connected)),
    )
    .await;
    if matches!(sent, Ok(Ok(()))) {
        return Ok(Session::new(registered, heartbeat_ms));
    }
    registered.end().await;
    Err(Ended::Gone)
}

async fn first_frame(
    link: &Link,
    socket: &mut impl Transport,
    codec: Codec,
) -> Result<Connect, Ended> {
    loop {
        let bytes = match socket.recv().await {
            Some(Ok(Incoming::Frame(bytes))) => bytes,
            Some(Ok(Incoming::Alive)) => continue,
            Some(Err(error)) => return Err(broken(&error)),
            Some(Ok(Incoming::Closed { .. })) | None => return Err(Ended::Gone),
        };
        metrics::counter!("flare_access_gateway_frames_total", "kind" => "connect").increment(1);
        let out_of_turn = |error: ErrorFrame| {
            Ended::Refused(
                error,
                Close::new(CloseReason::ProtocolError, "the first frame is a Connect"),
            )
        };
        let frame = decode_client(codec, bytes, link.config.max_frame_bytes)
            .map_err(|error| out_of_turn(error.to_frame()))?;
        let ClientFrame::Connect(connect) = frame else {
            let refusal = Refusal::new(
                ErrorCode::Unauthenticated,
                "nobody has connected yet: send a Connect first",
            );
            return Err(out_of_turn(frames::error(
                check::request_id_of(&frame),
                refusal,
            )));
        };
        let frame = ClientFrame::Connect(connect);
        if let Err(refusal) = check::client_frame(&frame, &link.check_limits()) {
            let reason = match refusal.code {
                ErrorCode::Unauthenticated => CloseReason::Unauthenticated,
                _ => CloseReason::ProtocolError,
            };
            let message = refusal.message.clone();
            let error = frames::error(check::request_id_of(&frame), refusal.to_error());
            return Err(Ended::Refused(error, Close::new(reason, message)));
        }
        if let ClientFrame::Connect(connect) = frame {
            return Ok(connect);
        }
    }
}

fn broken(error: &TransportError) -> Ended {
    match error.code() {
        Some(code) => {
            let refusal = Refusal::new(code, error.to_string());
            Ended::Refused(
                frames::error(0, refusal),
                Close::new(CloseReason::ProtocolError, error.to_string()),
            )
        }
        None => Ended::Gone,
    }
}

fn refused(id: u32, refusal: Refusal, reason: CloseReason) -> Ended {
    let message = refusal.message.to_string();
    Ended::Refused(frames::error(id, refusal), Close::new(reason, message))
}

async fn validate(link: &Link, connect: &Connect) -> Result<Claims, Refusal> {
    let claims = link
        .validator
        .validate(&connect.token, link.clock.now_ms())
        .await?;
    claims.check_device(&connect.device_id)?;
    Ok(claims)
}

/// A connection that others find; gone when this is dropped.
pub(super) struct Registered {
    link: Arc<Link>,
    connection: Arc<Connection>,
    has_ended: bool,
}

impl Registered {
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Removes it here first, so that presence cannot be told of it again after it was told of its end.
    pub(super) async fn end(mut self) {
        self.has_ended = true;
        self.link.connections.remove(&self.connection);
        self.link.large.ended(&self.connection);
        self.link
            .registrar
            .unregister(self.connection.registration())
            .await;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.link.connections.remove(&self.connection);
        self.link.large.ended(&self.connection);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (registrar, registration) =
                (self.link.registrar.clone(), self.connection.registration());
            runtime.spawn(async move { registrar.unregister(registration).await });
        }
    }
}

/// It stands in the table before presence knows of it, so that a delivery right after finds it; what is delivered waits for the Connected.
async fn register(
    link: &Arc<Link>,
    connect: &Connect,
    claims: &Claims,
    codec: Codec,
) -> Result<Registered, Ended> {
    let identity = Identity {
        tenant: claims.tenant.as_str().into(),
        user: claims.user.as_str().into(),
        device: connect.device_id.as_str().into(),
    };
    let registration = Registration {
        identity: Arc::new(identity),
        platform: connect.platform.as_str().into(),
        connection_id: link.connections.next_id(),
        connected_ms: link.clock.now_ms(),
        token_issued_s: claims.issued_s,
        again: false,
    };
    let connection = Connection::new(
        &registration,
        claims.expires_s,
        codec,
        link.config.outbound_bytes,
    );
    link.connections.insert(&connection);
    link.large.connects(&connection);
    let registered = Registered {
        link: Arc::clone(link),
        connection,
        has_ended: false,
    };
    if let Err(error) = link.registrar.register(registration).await {
        // If nobody answered, it may stand all the same.
        registered.end().await;
        let refusal = Refusal::from(error);
        let reason = close_of(&refusal);
        return Err(Ended::Refused(frames::error(connect.id, refusal), reason));
    }
    link.large.registered(&registered.connection).await;
    Ok(registered)
}
