//! Whose call it is: never what the client says.

use bytes::{BufMut, Bytes, BytesMut};
use flare_proto::common::{Actor, ActorKind, ErrorCode, RequestContext, TenantContext};
use flare_server_core::{error::Refusal, telemetry::TraceId};
use prost::{
    Message,
    encoding::{
        DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
    },
};

use crate::domain::Identity;

/// `context` of every request.
const CONTEXT: u32 = 1;

/// The context of a user's call.
pub(super) fn of_user(
    identity: &Identity,
    request_id: String,
    trace_id: TraceId,
) -> RequestContext {
    RequestContext {
        request_id,
        trace_id: trace_id.to_string(),
        actor: Some(Actor {
            kind: ActorKind::User.into(),
            user_id: identity.user.to_string(),
            device_id: identity.device.to_string(),
        }),
        tenant: Some(TenantContext {
            tenant_id: identity.tenant.to_string(),
        }),
    }
}

/// A request without its context, and the trace id that the client gave in it.
#[derive(Debug)]
pub(super) struct Stripped {
    rest: BytesMut,
    pub(super) trace_id: Option<TraceId>,
}

impl Stripped {
    /// Takes the context out of a client's request, of whatever type.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if it is no message; PERMISSION_DENIED if its context names an actor or a tenant.
    pub(super) fn new(request: &[u8]) -> Result<Self, Refusal> {
        let mut rest = BytesMut::with_capacity(request.len() + 256);
        let mut trace_id = None;
        let mut left = request;
        while !left.is_empty() {
            let start = left;
            let malformed = |why: String| {
                Refusal::invalid("request", format!("the request cannot be read: {why}"))
            };
            let (number, wire_type) =
                decode_key(&mut left).map_err(|error| malformed(error.to_string()))?;
            if number != CONTEXT {
                skip_field(wire_type, number, &mut left, DecodeContext::default())
                    .map_err(|error| malformed(error.to_string()))?;
                let field = start.len() - left.len();
                rest.put_slice(start.get(..field).unwrap_or_default());
                continue;
            }
            if wire_type != WireType::LengthDelimited {
                return Err(malformed("its context is no message".to_owned()));
            }
            let length = decode_varint(&mut left).map_err(|error| malformed(error.to_string()))?;
            let Some((context, after)) = usize::try_from(length)
                .ok()
                .and_then(|it| left.split_at_checked(it))
            else {
                return Err(malformed("its context is cut off".to_owned()));
            };
            left = after;
            let context =
                RequestContext::decode(context).map_err(|error| malformed(error.to_string()))?;
            if context.actor.is_some() || context.tenant.is_some() {
                let message = "actor and tenant are the token's: leave them out";
                return Err(
                    Refusal::new(ErrorCode::PermissionDenied, message).with_field("context")
                );
            }
            trace_id = context.trace_id.parse().ok().or(trace_id);
        }
        Ok(Self { rest, trace_id })
    }

    /// The request with this context.
    pub(super) fn with(self, context: &RequestContext) -> Bytes {
        let mut request = BytesMut::with_capacity(self.rest.len() + 256);
        encode_key(CONTEXT, WireType::LengthDelimited, &mut request);
        encode_varint(context.encoded_len() as u64, &mut request);
        request.put_slice(&context.encode_to_vec());
        request.put_slice(&self.rest);
        request.freeze()
    }
}

/// The request with this context in place of the client's. For the tests of decoders.
///
/// # Errors
/// Those of a request that is no message, or names an actor or a tenant.
#[doc(hidden)]
pub fn with_context(request: &[u8], context: &RequestContext) -> Result<Bytes, Refusal> {
    Stripped::new(request).map(|it| it.with(context))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flare_proto::session::GetConversationRequest;

    fn alice() -> RequestContext {
        let identity = Identity {
            tenant: "default".into(),
            user: "alice".into(),
            device: "phone".into(),
        };
        let trace = TraceId::from_bytes([7; 16]).expect("not zero");
        of_user(&identity, "r".to_owned(), trace)
    }

    #[test]
    fn the_context_is_the_server_s_and_the_rest_the_client_s_even_where_it_is_not_known_here() {
        let mut request = GetConversationRequest {
            context: Some(RequestContext {
                trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
                ..RequestContext::default()
            }),
            conversation_id: "c".to_owned(),
        }
        .encode_to_vec();
        let unknown = [0xca, 0x30, 0x01, 0x78];
        request.extend_from_slice(&unknown);
        let stripped = Stripped::new(&request).expect("a message");
        assert_eq!(
            stripped.trace_id.map(|it| it.to_string()).as_deref(),
            Some("0af7651916cd43dd8448eb211c80319c")
        );
        let sent = stripped.with(&alice());
        let read = GetConversationRequest::decode(sent.clone()).expect("decodes");
        assert_eq!(
            (read.context, read.conversation_id.as_str()),
            (Some(alice()), "c")
        );
        assert!(sent.ends_with(&unknown));
    }

    #[test]
    fn a_context_that_names_somebody_is_refused_wherever_it_stands() {
        let spoofs = [
            RequestContext {
                actor: alice().actor,
                ..RequestContext::default()
            },
            RequestContext {
                tenant: alice().tenant,
                ..RequestContext::default()
            },
        ];
        for spoof in spoofs {
            let innocent = GetConversationRequest {
                context: Some(RequestContext::default()),
                conversation_id: "c".to_owned(),
            };
            let spoofed = GetConversationRequest {
                context: Some(spoof),
                ..GetConversationRequest::default()
            };
            // A field that comes twice is merged by every decoder.
            let request = [innocent.encode_to_vec(), spoofed.encode_to_vec()].concat();
            let refusal = Stripped::new(&request).expect_err("spoofed");
            assert_eq!(
                (refusal.code, &*refusal.field),
                (ErrorCode::PermissionDenied, "context")
            );
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [
            &[0x0a][..],
            &[0x0a, 0x05, 0x01],
            &[0x08, 0x01],
            &[0xff; 12],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ] {
            assert_eq!(
                Stripped::new(bytes).expect_err("no message").code,
                ErrorCode::InvalidArgument,
                "{bytes:?}"
            );
        }
    }
}
