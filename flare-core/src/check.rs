//! What of a frame can be refused without any state: at the edge, before it costs anything.

use std::borrow::Cow;

use flare_proto::{
    client::{
        Ack, Call, ClientSignal, Connect, Operate, Refresh, Send, Sync, client_frame::Frame,
        operate,
    },
    common::{Error, ErrorCode},
    descriptor_pool,
    ids::{self, IdError},
    is_client_callable,
};

pub use self::content::content;

mod content;

/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Longest platform and SDK version, in bytes.
pub const MAX_LABEL_BYTES: usize = 64;
/// Most positions in one `Ack`.
pub const MAX_ACK_POSITIONS: usize = 1_000;
/// Most ranges in one `Sync`.
pub const MAX_SYNC_RANGES: usize = 50;
/// Every seq is below this, so that JavaScript reads it exactly.
pub const SEQ_LIMIT: u64 = 1 << 53;

/// The limits that a deployment sets. `Connected` tells them to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest content, in bytes.
    pub max_content_bytes: usize,
    /// Most mentions in a content.
    pub max_mentions: usize,
    /// Most events in a range or page.
    pub max_page_size: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_content_bytes: 64 * 1024,
            max_mentions: 50,
            max_page_size: 200,
        }
    }
}

/// A frame that is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The code of the refusal.
    pub code: ErrorCode,
    /// The request's field that is wrong, in the contract's spelling.
    pub field: Cow<'static, str>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Refusal {
    /// The refusal as the contract's error.
    pub fn to_error(&self) -> Error {
        Error {
            code: self.code.into(),
            message: self.message.clone(),
            field: self.field.clone().into_owned(),
            ..Error::default()
        }
    }

    fn invalid(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::of(ErrorCode::InvalidArgument, field, message)
    }

    fn of(
        code: ErrorCode,
        field: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            field: field.into(),
            message: message.into(),
        }
    }
}

/// Checks any client's frame.
///
/// # Errors
/// Names the first field that is wrong.
pub fn client_frame(frame: &Frame, limits: &Limits) -> Result<(), Refusal> {
    match frame {
        Frame::Connect(it) => connect(it),
        Frame::Ping(it) => request_id(it.id),
        Frame::Send(it) => send(it, limits),
        Frame::Operate(it) => operate(it),
        Frame::Ack(it) => ack(it),
        Frame::Sync(it) => sync(it, limits),
        Frame::Call(it) => call(it),
        Frame::Signal(it) => signal(it),
        Frame::Refresh(it) => refresh(it),
    }
}

/// The id by which a frame's answer is told: that of the request, 0 for frames that have no answer.
pub fn request_id_of(frame: &Frame) -> u32 {
    match frame {
        Frame::Connect(it) => it.id,
        Frame::Ping(it) => it.id,
        Frame::Send(it) => it.id,
        Frame::Operate(it) => it.id,
        Frame::Sync(it) => it.id,
        Frame::Call(it) => it.id,
        Frame::Refresh(it) => it.id,
        Frame::Ack(_) | Frame::Signal(_) => 0,
    }
}

fn connect(it: &Connect) -> Result<(), Refusal> {
    request_id(it.id)?;
    token(&it.token)?;
    id("device_id", ids::check_device_id(&it.device_id))?;
    label("platform", &it.platform)?;
    label("sdk_version", &it.sdk_version)
}

fn send(it: &Send, limits: &Limits) -> Result<(), Refusal> {
    request_id(it.id)?;
    match (it.conversation_id.is_empty(), it.user_id.is_empty()) {
        (false, true) => id(
            "conversation_id",
            ids::check_conversation_id(&it.conversation_id),
        )?,
        (true, false) => id("user_id", ids::check_user_id(&it.user_id))?,
        (true, true) => {
            return Err(Refusal::invalid(
                "conversation_id",
                "one of conversation_id and user_id is needed",
            ));
        }
        (false, false) => {
            return Err(Refusal::invalid(
                "user_id",
                "conversation_id and user_id exclude each other",
            ));
        }
    }
    command(&it.client_id, &it.abandons, &it.trace_id)?;
    content::content(&it.content, limits).map(drop)
}

fn operate(it: &Operate) -> Result<(), Refusal> {
    request_id(it.id)?;
    id(
        "conversation_id",
        ids::check_conversation_id(&it.conversation_id),
    )?;
    command(&it.client_id, &it.abandons, &it.trace_id)?;
    match &it.operation {
        Some(operate::Operation::Recall(recall)) => seq("recall.seq", recall.seq),
        None => Err(Refusal::invalid(
            "operation",
            "an operation that is known here is needed: recall",
        )),
    }
}

fn ack(it: &Ack) -> Result<(), Refusal> {
    if it.positions.len() > MAX_ACK_POSITIONS {
        let message = format!(
            "{} positions, at most {MAX_ACK_POSITIONS}",
            it.positions.len()
        );
        return Err(Refusal::invalid("positions", message));
    }
    for position in &it.positions {
        id(
            "positions.conversation_id",
            ids::check_conversation_id(&position.conversation_id),
        )?;
        seq("positions.seq", position.seq)?;
    }
    Ok(())
}

fn sync(it: &Sync, limits: &Limits) -> Result<(), Refusal> {
    request_id(it.id)?;
    if !(1..=MAX_SYNC_RANGES).contains(&it.ranges.len()) {
        let message = format!(
            "{} ranges, 1 to {MAX_SYNC_RANGES} are taken",
            it.ranges.len()
        );
        return Err(Refusal::invalid("ranges", message));
    }
    for range in &it.ranges {
        id(
            "ranges.conversation_id",
            ids::check_conversation_id(&range.conversation_id),
        )?;
        if range.after_seq >= SEQ_LIMIT {
            return Err(Refusal::invalid(
                "ranges.after_seq",
                format!("{} is no seq", range.after_seq),
            ));
        }
        if let Some(limit) = range.limit
            && !(1..=limits.max_page_size).contains(&limit)
        {
            let message = format!("limit {limit}: 1 to {}, or absent", limits.max_page_size);
            return Err(Refusal::invalid("ranges.limit", message));
        }
    }
    Ok(())
}

/// Also that the method is one for clients, and that the request is the method's.
fn call(it: &Call) -> Result<(), Refusal> {
    request_id(it.id)?;
    if !is_client_callable(&it.method) {
        let shown: String = it.method.chars().take(MAX_LABEL_BYTES * 2).collect();
        let message = format!("no method {shown:?} is open to clients");
        return Err(Refusal::of(ErrorCode::UnknownMethod, "method", message));
    }
    let Some(request) = &it.request else {
        return Err(Refusal::invalid(
            "request",
            "the method's request is needed",
        ));
    };
    let given = request.type_url.rsplit('/').next().unwrap_or_default();
    let wanted = it
        .method
        .split_once('/')
        .and_then(|(service, method)| {
            let service = descriptor_pool().get_service_by_name(service)?;
            service.methods().find(|it| it.name() == method)
        })
        .map(|method| method.input().full_name().to_owned())
        .unwrap_or_default();
    if given != wanted {
        let given: String = given.chars().take(MAX_LABEL_BYTES * 2).collect();
        let message = format!("the method takes a {wanted}, not a {given:?}");
        return Err(Refusal::invalid("request", message));
    }
    Ok(())
}

fn signal(it: &ClientSignal) -> Result<(), Refusal> {
    id(
        "conversation_id",
        ids::check_conversation_id(&it.conversation_id),
    )?;
    if it.signal.is_none() {
        return Err(Refusal::invalid(
            "signal",
            "a signal that is known here is needed: typing or viewing",
        ));
    }
    Ok(())
}

fn refresh(it: &Refresh) -> Result<(), Refusal> {
    request_id(it.id)?;
    token(&it.token)
}

/// What every command has beside its subject.
fn command(client_id: &str, abandons: &str, trace_id: &str) -> Result<(), Refusal> {
    id("client_id", ids::check_client_id(client_id))?;
    if !abandons.is_empty() {
        id("abandons", ids::check_client_id(abandons))?;
        if abandons == client_id {
            return Err(Refusal::invalid(
                "abandons",
                "a message cannot give itself up",
            ));
        }
    }
    let is_trace = trace_id.len() == 32
        && trace_id.bytes().all(|it| it.is_ascii_hexdigit())
        && trace_id.bytes().any(|it| it != b'0');
    if !trace_id.is_empty() && !is_trace {
        return Err(Refusal::invalid(
            "trace_id",
            "32 hexadecimal digits, not all 0, or nothing",
        ));
    }
    Ok(())
}

fn request_id(id: u32) -> Result<(), Refusal> {
    if id == 0 {
        return Err(Refusal::invalid("id", "a request has an id above 0"));
    }
    Ok(())
}

fn token(token: &str) -> Result<(), Refusal> {
    if token.is_empty() {
        return Err(Refusal::of(
            ErrorCode::Unauthenticated,
            "token",
            "a token is needed",
        ));
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::of(
            ErrorCode::Unauthenticated,
            "token",
            "this is too long for a token",
        ));
    }
    Ok(())
}

fn label(field: &'static str, label: &str) -> Result<(), Refusal> {
    if label.len() > MAX_LABEL_BYTES || label.chars().any(char::is_control) {
        let message = format!("at most {MAX_LABEL_BYTES} bytes without control characters");
        return Err(Refusal::invalid(field, message));
    }
    Ok(())
}

fn seq(field: &'static str, seq: u64) -> Result<(), Refusal> {
    if !(1..SEQ_LIMIT).contains(&seq) {
        return Err(Refusal::invalid(
            field,
            format!("{seq} is no seq: they begin at 1"),
        ));
    }
    Ok(())
}

fn id(field: &'static str, checked: Result<(), IdError>) -> Result<(), Refusal> {
    checked.map_err(|error| Refusal::invalid(field, error.to_string()))
}

#[cfg(test)]
mod tests;
