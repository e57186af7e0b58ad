//! Bodies of requests, read within bounds: of each, of all that are held at once, and of what its caller may ask for.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use http_body_util::BodyExt;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admission::{Admission, Call};

/// So many bytes of a body cost as much as a request: a caller's rate bounds what he can make the server hold.
const COST_UNIT_BYTES: usize = 64 * 1024;
/// All bodies that are held at once, in longest ones.
pub const LONGEST_AT_ONCE: usize = 64;
/// The unit in which room is taken.
const ROOM_UNIT_BYTES: usize = 1024;
/// Fields of a request, each element of a list counted: an empty one of two bytes takes hundreds when it is decoded.
pub const MAX_FIELDS: usize = 10_000;
/// What stands before a gRPC message: whether it is compressed, and its length.
pub const GRPC_PREFIX_BYTES: usize = 5;

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Reads bodies.
pub struct Bodies {
    max_bytes: usize,
    room: Arc<Semaphore>,
}

/// A body that was read; it has its room until it is dropped.
pub struct Held {
    /// All of it.
    pub bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Of at most `max_bytes` each.
    pub fn new(max_bytes: usize) -> Self {
        let room = (max_bytes / ROOM_UNIT_BYTES)
            .saturating_mul(LONGEST_AT_ONCE)
            .min(Semaphore::MAX_PERMITS);
        Self {
            max_bytes,
            room: Arc::new(Semaphore::new(room)),
        }
    }

    /// Reads the body of a call that was let in, with `around` bytes that its surface puts around it, and charges its caller for the length.
    ///
    /// # Errors
    /// `FRAME_TOO_LARGE`; `RATE_LIMITED`; `RESOURCE_EXHAUSTED` while others' bodies take all the room; `MALFORMED_FRAME` for one that breaks off.
    pub async fn read(
        &self,
        mut body: Body,
        around: usize,
        admission: &Admission,
        call: &mut Call,
    ) -> Result<Held, Refusal> {
        let mut bytes = BytesMut::new();
        let mut room: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Refusal::new(
                    ErrorCode::MalformedFrame,
                    format!("the body ended early: {error}"),
                )
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let length = bytes.len() + data.len();
            if length > self.max_bytes + around {
                let message = format!("a body of more than {} bytes", self.max_bytes);
                return Err(Refusal::new(ErrorCode::FrameTooLarge, message));
            }
            admission.charge(call, length.div_ceil(COST_UNIT_BYTES))?;
            self.take_room(&mut room, length)?;
            bytes.extend_from_slice(&data);
        }
        Ok(Held {
            bytes: bytes.freeze(),
            _room: room,
        })
    }

    fn take_room(
        &self,
        room: &mut Option<OwnedSemaphorePermit>,
        length: usize,
    ) -> Result<(), Refusal> {
        let has = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = length.div_ceil(ROOM_UNIT_BYTES).saturating_sub(has);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let taken = Arc::clone(&self.room)
            .try_acquire_many_owned(more)
            .map_err(|_| {
                let message = "other requests take all the room for bodies";
                Refusal::new(ErrorCode::ResourceExhausted, message).with_retry_after(RETRY_AFTER)
            })?;
        match room {
            Some(room) => room.merge(taken),
            None => *room = Some(taken),
        }
        Ok(())
    }
}

/// Refuses a request that would take far more memory than its bytes. What is no request is left to its decoder.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn check_fields(request: &[u8]) -> Result<(), Refusal> {
    let mut rest = request;
    for _ in 0..MAX_FIELDS {
        if rest.is_empty() {
            return Ok(());
        }
        let read = decode_key(&mut rest).and_then(|(number, wire_type)| {
            skip_field(wire_type, number, &mut rest, DecodeContext::default())
        });
        if read.is_err() {
            return Ok(());
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(
        "",
        format!("more than {MAX_FIELDS} fields and elements of lists: ask in several requests"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_so_many_fields_and_elements_and_no_more() {
        let of = |count: usize| [0x12, 0x00].repeat(count);
        assert!(check_fields(&of(MAX_FIELDS)).is_ok());
        assert!(check_fields(&of(MAX_FIELDS + 1)).is_err());
        assert!(
            check_fields(&[0x12, 0x05]).is_ok(),
            "its decoder says what is wrong"
        );
    }
}
