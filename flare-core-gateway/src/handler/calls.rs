//! Does what the methods ask for.

use std::{future::Future, sync::Arc, time::Duration};

use flare_core::check::Limits;
use flare_proto::{
    common::ErrorCode, session::session_service_client::SessionServiceClient,
    signaling::signaling_service_client::SignalingServiceClient,
    storage::storage_reader_service_client::StorageReaderServiceClient,
};
use flare_server_core::{
    channels::{Channels, ServiceChannel},
    error::Refusal,
    owners::Owners,
    registry::service,
};
use prost::Message;

use super::{
    admission::{Admission, Call},
    body::check_fields,
    method::{Method, for_each_method},
};
use crate::application::api_keys::ApiKeys;

mod administration;
mod explanation;
mod forwarded;
mod messages;
mod orchestrators;

use self::orchestrators::Orchestrators;
pub(crate) use self::{administration::MAX_REASON_CHARS, messages::MAX_BATCH};

/// The largest answer that is taken from an inner service: a page of the largest contents fits.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// What the methods are done with.
pub struct Calls {
    admission: Arc<Admission>,
    keys: ApiKeys,
    limits: Limits,
    deadline: Duration,
    orchestrators: Orchestrators,
    reader: StorageReaderServiceClient<ServiceChannel>,
    session: SessionServiceClient<ServiceChannel>,
    signaling: SignalingServiceClient<ServiceChannel>,
}

impl Calls {
    /// Over the channels of this process. A call is given up after `deadline`.
    pub fn new(
        channels: &Channels,
        owners: Owners,
        admission: Arc<Admission>,
        keys: ApiKeys,
        limits: Limits,
        deadline: Duration,
    ) -> Self {
        let reader = StorageReaderServiceClient::new(channels.get(service::STORAGE_READER));
        let session = SessionServiceClient::new(channels.get(service::SESSION));
        let signaling = SignalingServiceClient::new(channels.get(service::ONLINE));
        Self {
            admission,
            keys,
            limits,
            deadline,
            // What has no owner is told so within the deadline.
            orchestrators: Orchestrators::new(channels, owners, deadline.mul_f64(0.8)),
            reader: reader.max_decoding_message_size(MAX_ANSWER_BYTES),
            session: session.max_decoding_message_size(MAX_ANSWER_BYTES),
            signaling: signaling.max_decoding_message_size(MAX_ANSWER_BYTES),
        }
    }

    /// Gives a call up after the deadline.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED`, or the call's own.
    pub async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        tokio::time::timeout(self.deadline, work)
            .await
            .unwrap_or_else(|_| {
                let message = format!(
                    "not done after {:?}: whether it will be is unknown",
                    self.deadline
                );
                Err(Refusal::new(ErrorCode::DeadlineExceeded, message))
            })
    }
}

macro_rules! dispatch {
    ($($name:ident, $call:ident($request:ident) -> $response:ident, $scope:ident, $callers:ident;)*) => {
        impl Calls {
            /// Calls a method that is known by its value only, with the bytes of its request; answers with the bytes of its response.
            ///
            /// # Errors
            /// `MALFORMED_FRAME` for bytes that are no such request, `INVALID_ARGUMENT` for far too many fields, or the method's own.
            pub async fn dispatch(&self, method: Method, call: &Call, request: &[u8]) -> Result<Vec<u8>, Refusal> {
                check_fields(request)?;
                match method {
                    $(Method::$name => {
                        let mut request = requests::$request::decode(request)
                            .map_err(|error| Refusal::new(ErrorCode::MalformedFrame, error.to_string()))?;
                        call.fill(&mut request.context)?;
                        Ok(self.$call(call, request).await?.encode_to_vec())
                    })*
                }
            }
        }
    };
}
for_each_method!(dispatch);

/// The requests of all methods, whichever package they are of.
mod requests {
    pub(super) use flare_proto::{gateway::*, session::*, signaling::*, storage::*};
}
