//! Unary calls of any service, without knowing their messages.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes};
use flare_proto::common::ErrorCode;
use flare_server_core::{channels::Channels, error::Refusal, registry::service};
use http::uri::PathAndQuery;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::within;
use crate::application::ports::Services;

/// Above the largest reply by so much, an answer is not even read.
const READ_FACTOR: usize = 16;

/// Calls services by the contract's names of their methods.
pub struct GrpcServices {
    channels: Channels,
    deadline: Duration,
}

impl GrpcServices {
    /// Calls over these channels; each call is given up after `deadline`.
    pub fn new(channels: Channels, deadline: Duration) -> Self {
        Self { channels, deadline }
    }
}

/// The registry's name of the service that has the method.
fn registered(method: &str) -> Option<&'static str> {
    let (service, _) = method.split_once('/')?;
    Some(match service {
        "flare.session.v1.SessionService" => service::SESSION,
        "flare.storage.v1.StorageReaderService" => service::STORAGE_READER,
        "flare.signaling.v1.SignalingService" => service::ONLINE,
        _ => return None,
    })
}

#[async_trait]
impl Services for GrpcServices {
    async fn call(
        &self,
        method: &str,
        request: Bytes,
        max_reply_bytes: usize,
    ) -> Result<Bytes, Refusal> {
        let unknown = || {
            Refusal::new(
                ErrorCode::UnknownMethod,
                format!("no service here has {method:?}"),
            )
            .with_field("method")
        };
        let service = registered(method).ok_or_else(unknown)?;
        let path = PathAndQuery::try_from(format!("/{method}")).map_err(|_| unknown())?;
        let mut client = Grpc::new(self.channels.get(service))
            .max_decoding_message_size(max_reply_bytes.saturating_mul(READ_FACTOR));
        let call = async {
            // The channel readies itself with each call.
            client
                .ready()
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            client.unary(Request::new(request), path, Raw).await
        };
        let reply = within(self.deadline, call).await?;
        if reply.len() > max_reply_bytes {
            let message = format!(
                "the answer has {} bytes, at most {max_reply_bytes} fit: ask for less",
                reply.len()
            );
            return Err(Refusal::new(ErrorCode::LimitExceeded, message));
        }
        Ok(reply)
    }
}

/// Messages as their bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, into: &mut EncodeBuf<'_>) -> Result<(), Self::Error> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Self::Error> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_that_is_open_to_clients_has_a_service_here() {
        let mut open = 0;
        for service in flare_proto::descriptor_pool().services() {
            for method in service.methods() {
                let name = format!("{}/{}", service.full_name(), method.name());
                if flare_proto::is_client_callable(&name) {
                    open += 1;
                    assert!(registered(&name).is_some(), "{name}");
                }
            }
        }
        assert!(open > 0);
    }
}
