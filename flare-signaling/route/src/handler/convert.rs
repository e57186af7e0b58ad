//! Between the contract and the directories.

use std::collections::HashMap;

use flare_proto::{
    common::ErrorCode,
    ids,
    signaling::{
        Announcer, ConversationName, InterestedGateways, InterestedResponse, Ownership,
        PartitionOwner,
    },
};
use flare_server_core::error::Refusal;
use tonic::codegen::http::Uri;

use crate::{
    application::directories::Interested,
    domain::{
        Refused,
        interest::Conversation,
        owners::{self, Known},
    },
};

/// The longest endpoint.
const MAX_ENDPOINT_BYTES: usize = 256;

/// A refusal, counted.
pub(super) fn refusal(refused: &Refused) -> Refusal {
    let code = match refused {
        Refused::Full { .. } => ErrorCode::LimitExceeded,
        Refused::OtherPartitions { .. } | Refused::Replaced { .. } => ErrorCode::FailedPrecondition,
        Refused::NoPartition { .. } => ErrorCode::InvalidArgument,
    };
    metrics::counter!("flare_route_refusals_total", "code" => code.as_str_name()).increment(1);
    Refusal::new(code, refused.to_string())
}

pub(super) fn announcer(
    given: Option<Announcer>,
    field: &'static str,
) -> Result<Announcer, Refusal> {
    let given = given.ok_or_else(|| {
        Refusal::invalid(
            field,
            format!("the first request of a stream names its {field}"),
        )
    })?;
    ids::check_device_id(&given.incarnation)
        .map_err(|error| Refusal::invalid(format!("{field}.incarnation"), error.to_string()))?;
    if !given.endpoint.is_empty() {
        check_endpoint(&given.endpoint, &format!("{field}.endpoint"))?;
    }
    Ok(given)
}

/// Takes an http or https URI with a host, of at most 256 bytes.
pub(super) fn check_endpoint(endpoint: &str, field: &str) -> Result<(), Refusal> {
    let refused = |why: &str| {
        let shown: String = endpoint.chars().take(80).collect();
        Err(Refusal::invalid(
            field.to_owned(),
            format!("endpoint {shown:?}: {why}"),
        ))
    };
    if endpoint.len() > MAX_ENDPOINT_BYTES {
        return refused("at most 256 bytes");
    }
    match endpoint.parse::<Uri>() {
        Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() => {
            Ok(())
        }
        _ => refused("must be an http or https URI with a host"),
    }
}

pub(super) fn svid(given: &str) -> Result<(), Refusal> {
    ids::check_user_id(given).map_err(|error| {
        let message = error.to_string().replacen(error.what, "svid", 1);
        Refusal::invalid("svid", message)
    })
}

pub(super) fn ownerships(given: Vec<Ownership>) -> Vec<owners::Ownership> {
    let ownership = |it: Ownership| owners::Ownership {
        partition: it.partition,
        epoch: it.epoch,
        ended: it.ended,
    };
    given.into_iter().map(ownership).collect()
}

pub(super) fn owner(partition: u32, known: &Known) -> PartitionOwner {
    PartitionOwner {
        partition,
        epoch: known.epoch,
        endpoint: known.endpoint.as_deref().unwrap_or_default().to_owned(),
        vacant: known.endpoint.is_none(),
    }
}

pub(super) fn conversations(given: Vec<ConversationName>) -> Result<Vec<Conversation>, Refusal> {
    let conversation = |it: ConversationName| {
        ids::check_tenant_id(&it.tenant_id)
            .map_err(|error| Refusal::invalid("tenant_id", error.to_string()))?;
        ids::check_conversation_id(&it.conversation_id)
            .map_err(|error| Refusal::invalid("conversation_id", error.to_string()))?;
        Ok(Conversation {
            tenant: it.tenant_id,
            conversation: it.conversation_id,
        })
    };
    given.into_iter().map(conversation).collect()
}

/// Names each endpoint once, and conversations' gateways by its index.
pub(super) fn interested(found: Interested, settled: bool) -> InterestedResponse {
    let mut endpoints: Vec<String> = Vec::new();
    let mut indexes: HashMap<String, u32> = HashMap::new();
    let to_u32 = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let mut index = |endpoint: String| {
        *indexes.entry(endpoint).or_insert_with_key(|endpoint| {
            endpoints.push(endpoint.clone());
            to_u32(endpoints.len() - 1)
        })
    };
    let conversations = found
        .conversations
        .into_iter()
        .map(|it| InterestedGateways {
            endpoint_indexes: it.endpoints.into_iter().map(&mut index).collect(),
            gateway_indexes: it.telling.into_iter().map(to_u32).collect(),
        })
        .collect();
    let gateways = found.gateways.into_iter().map(|it| Announcer {
        incarnation: it.incarnation,
        endpoint: it.endpoint,
    });
    InterestedResponse {
        conversations,
        endpoints,
        settled,
        gateways: gateways.collect(),
    }
}
