//! Wire to domain, with every check that needs nothing but the item itself.

use std::sync::Arc;

use bytes::Bytes;
use flare_proto::{
    common::{self, ErrorCode},
    message::{
        self as proto, EventBody, EventKind, MessageRecalled, event_body::Body, receipt,
        submit_item,
    },
};
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, Fingerprint, direct_conversation_id, fingerprint};
use prost::Message;

use crate::{
    application::{ports::ContentRules, streams::Receipt},
    domain::command::{Action, Actor, ActorKind, Command, Origin, is_direct_id},
};

/// Client ids that begin so belong to services.
const SERVICE_PREFIX: &str = "flare:";
const MAX_ID_BYTES: usize = 64;
const MAX_TENANT_BYTES: usize = 32;

/// Refuses an id that is not 1 to 64 of `A-Za-z0-9._:@+=~-`, or is `.` or `..`.
pub(super) fn check_id(field: &'static str, id: &str) -> Result<(), Refusal> {
    let well_formed = (1..=MAX_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"._:@+=~-".contains(&it))
        && id != "."
        && id != "..";
    if well_formed {
        return Ok(());
    }
    let shown: String = id.chars().take(80).collect();
    Err(Refusal::invalid(
        field,
        format!("{shown:?} is not 1 to 64 characters of A-Za-z0-9._:@+=~-, and not . or .."),
    ))
}

fn check_tenant(tenant: &str) -> Result<(), Refusal> {
    let well_formed = (1..=MAX_TENANT_BYTES).contains(&tenant.len())
        && tenant
            .bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
    if well_formed {
        return Ok(());
    }
    let shown: String = tenant.chars().take(80).collect();
    Err(Refusal::invalid(
        "tenant_id",
        format!("{shown:?} is not 1 to 32 characters of a-z0-9-"),
    ))
}

/// The item as a command. Its stream is filled in later.
///
/// # Errors
/// What is wrong with the item in itself.
pub fn command(item: proto::SubmitItem, rules: &dyn ContentRules) -> Result<Command, Refusal> {
    check_tenant(&item.tenant_id)?;
    let actor = actor(item.actor.unwrap_or_default())?;
    check_client_id(&item.client_id, actor.kind)?;
    if !matches!(item.trace_id.len(), 0 | 16) {
        let message = format!("trace id has {} bytes, not 16", item.trace_id.len());
        return Err(Refusal::invalid("trace_id", message));
    }
    let (conversation, participants) = target(
        &item.tenant_id,
        &item.conversation_id,
        &item.peer_user_id,
        &actor,
    )?;
    let wanted = item
        .command
        .ok_or_else(|| Refusal::invalid("command", "item has no command"))?;
    let Wanted {
        action,
        body,
        fingerprint,
    } = action(wanted, &actor, &conversation, rules)?;
    Ok(Command {
        origin: Origin {
            stream: 0,
            correlation: item.correlation,
            lane: item.lane,
            lane_generation: item.lane_generation,
        },
        conversation,
        participants,
        actor,
        client_id: item.client_id.into(),
        trace_id: Bytes::copy_from_slice(&item.trace_id),
        fingerprint,
        action,
        body,
        refused: None,
    })
}

fn actor(actor: common::Actor) -> Result<Actor, Refusal> {
    let kind = match actor.kind() {
        common::ActorKind::User => ActorKind::User,
        common::ActorKind::Api => ActorKind::Api,
        common::ActorKind::System => ActorKind::System,
        common::ActorKind::Service => ActorKind::Service,
        common::ActorKind::Unspecified => {
            return Err(Refusal::invalid("actor.kind", "nobody acts"));
        }
    };
    match kind {
        ActorKind::System if !actor.user_id.is_empty() => {
            return Err(Refusal::invalid("actor.user_id", "the system is no user"));
        }
        ActorKind::System => {}
        ActorKind::Service if actor.user_id.is_empty() => {}
        _ => check_id("actor.user_id", &actor.user_id)?,
    }
    if !actor.device_id.is_empty() {
        check_id("actor.device_id", &actor.device_id)?;
    }
    Ok(Actor {
        kind,
        user: actor.user_id.into(),
        device: actor.device_id.into(),
    })
}

fn check_client_id(id: &str, actor: ActorKind) -> Result<(), Refusal> {
    check_id("client_id", id)?;
    match (id.starts_with(SERVICE_PREFIX), actor) {
        (true, ActorKind::Service)
        | (false, ActorKind::User | ActorKind::Api | ActorKind::System) => Ok(()),
        (true, _) => Err(Refusal::invalid(
            "client_id",
            format!("{id:?}: ids that begin with flare: belong to services"),
        )),
        (false, ActorKind::Service) => Err(Refusal::invalid(
            "client_id",
            format!("{id:?}: a service's id begins with flare:"),
        )),
    }
}

type Participants = Option<[Arc<str>; 2]>;

fn target(
    tenant: &str,
    conversation: &str,
    peer: &str,
    actor: &Actor,
) -> Result<(ConversationKey, Participants), Refusal> {
    match (conversation.is_empty(), peer.is_empty()) {
        (false, true) => {
            check_id("conversation_id", conversation)?;
            Ok((ConversationKey::new(tenant, conversation), None))
        }
        (true, false) => {
            check_id("user_id", peer)?;
            if !matches!(actor.kind, ActorKind::User | ActorKind::Api) {
                return Err(Refusal::invalid(
                    "user_id",
                    "a direct conversation is between two users",
                ));
            }
            if *peer == *actor.user {
                return Err(Refusal::invalid(
                    "user_id",
                    format!("{peer:?} writes to himself: name another user"),
                ));
            }
            let id = direct_conversation_id(tenant, &actor.user, peer);
            let (own, peer) = (Arc::clone(&actor.user), Arc::from(peer));
            let both = if own <= peer {
                [own, peer]
            } else {
                [peer, own]
            };
            Ok((ConversationKey::new(tenant, id), Some(both)))
        }
        (true, true) => Err(Refusal::invalid(
            "conversation_id",
            "name a conversation or a user",
        )),
        (false, false) => Err(Refusal::invalid(
            "conversation_id",
            "name a conversation or a user, not both",
        )),
    }
}

struct Wanted {
    action: Action,
    body: Bytes,
    fingerprint: Fingerprint,
}

fn action(
    wanted: submit_item::Command,
    actor: &Actor,
    conversation: &ConversationKey,
    rules: &dyn ContentRules,
) -> Result<Wanted, Refusal> {
    let is_service = actor.kind == ActorKind::Service;
    let place = &conversation.conversation;
    match wanted {
        submit_item::Command::Change(change) if is_service => {
            let body = change.body.clone();
            let kind = changed_kind(&change)?;
            if is_direct_id(place) {
                return Err(Refusal::invalid(
                    "conversation_id",
                    format!("{place:?} is direct: nothing changes it"),
                ));
            }
            let fingerprint = fingerprint(format!("{place} change {}", change.kind), &body);
            Ok(Wanted {
                action: Action::Change {
                    kind,
                    class: change.class(),
                },
                body,
                fingerprint,
            })
        }
        submit_item::Command::Change(_) => Err(Refusal::new(
            ErrorCode::PermissionDenied,
            "only services change conversations",
        )
        .with_field("change")),
        _ if is_service => Err(Refusal::new(
            ErrorCode::PermissionDenied,
            "services change conversations, and do not speak",
        )),
        submit_item::Command::Send(content) => {
            let fingerprint = fingerprint(place.as_bytes(), &content);
            let checked = rules.check(&content)?;
            let action = Action::Send {
                content: checked.content,
                mentions: checked.mentions,
                mention_all: checked.mention_all,
            };
            Ok(Wanted {
                action,
                body: checked.body,
                fingerprint,
            })
        }
        submit_item::Command::Recall(proto::RecallCommand { seq: 0 }) => Err(Refusal::invalid(
            "seq",
            "seq 0 is no message: they begin at 1",
        )),
        submit_item::Command::Recall(proto::RecallCommand { seq }) => {
            let body = EventBody {
                body: Some(Body::MessageRecalled(MessageRecalled { seq })),
            };
            let fingerprint = fingerprint(format!("{place} recall {seq}"), b"");
            Ok(Wanted {
                action: Action::Recall { seq },
                body: body.encode_to_vec().into(),
                fingerprint,
            })
        }
    }
}

/// The kind of a change, if its body is of that kind.
fn changed_kind(change: &proto::ConversationChange) -> Result<EventKind, Refusal> {
    let body = EventBody::decode(change.body.clone()).map_err(|error| {
        Refusal::invalid("change.body", format!("body does not decode: {error}"))
    })?;
    let kind = match body.body {
        Some(Body::ConversationCreated(_)) => EventKind::ConversationCreated,
        Some(Body::ConversationRenamed(_)) => EventKind::ConversationRenamed,
        Some(Body::MembersAdded(_)) => EventKind::MembersAdded,
        Some(Body::MemberRemoved(_)) => EventKind::MemberRemoved,
        Some(Body::MemberLeft(_)) => EventKind::MemberLeft,
        Some(Body::RoleChanged(_)) => EventKind::RoleChanged,
        Some(Body::OwnershipTransferred(_)) => EventKind::OwnershipTransferred,
        Some(Body::ConversationDisbanded(_)) => EventKind::ConversationDisbanded,
        Some(Body::MessageCreated(_) | Body::MessageRecalled(_)) | None => {
            return Err(Refusal::invalid(
                "change.body",
                "body is no change of a conversation",
            ));
        }
    };
    if kind == change.kind() {
        return Ok(kind);
    }
    let message = format!(
        "body is of kind {}, not {}",
        kind.as_str_name(),
        change.kind().as_str_name()
    );
    Err(Refusal::invalid("change.kind", message))
}

/// A receipt for the wire.
pub(super) fn receipt(receipt: Receipt) -> proto::Receipt {
    let result = match receipt.result {
        Ok(placement) => receipt::Result::Placed(proto::Placed {
            conversation_id: placement.conversation.to_string(),
            message_id: placement.receipt.message_id.to_string(),
            seq: placement.receipt.seq,
            ordinal: placement.receipt.ordinal,
            time_ms: placement.receipt.time_ms,
            duplicate: placement.duplicate,
        }),
        Err(refusal) => receipt::Result::Error(refusal.into()),
    };
    proto::Receipt {
        correlation: receipt.correlation,
        result: Some(result),
        owner_endpoint: receipt.owner.as_deref().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests;
