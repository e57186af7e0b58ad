//! Who may do what.

use std::time::Duration;

use flare_proto::{
    common::ErrorCode,
    message::{ConversationClass, EventKind},
};
use flare_server_core::error::Refusal;
use flare_storage_model::flags;

use super::{
    command::{Action, ActorKind, Command, Membership, Role, Standing, is_direct_id},
    memory::{OwnerHead, Target},
};

/// Whether the answer depends on what the sender is to the conversation. The two users of a direct one stand in its head, and services have
/// decided already.
pub(crate) fn needs_membership(command: &Command) -> bool {
    command.actor.kind != ActorKind::Service && !is_direct_id(&command.conversation.conversation)
}

/// Whether the sender may speak, or act at all, in the conversation as it is. A stranger is answered as if there were none; who was in it
/// knows that there is one, and is told that he is no member.
pub(crate) fn may_take_part(
    command: &Command,
    head: &OwnerHead,
    membership: Option<Membership>,
) -> Result<(), Refusal> {
    let conversation = &command.conversation.conversation;
    if is_direct_id(conversation) {
        return may_take_part_directly(command, head);
    }
    if head.seq == 0 {
        return Err(not_found(command));
    }
    let Some(membership) = membership else {
        return Err(Refusal::internal(format!(
            "{} was decided without authorisation",
            command.conversation
        )));
    };
    let is_system = command.actor.kind == ActorKind::System;
    match membership.standing {
        Standing::NoConversation => Err(not_found(command)),
        Standing::Stranger if !is_system => Err(not_found(command)),
        // Before all that came after he had gone: he does not learn of that either.
        Standing::Former if !is_system => Err(not_a_member(command)),
        _ if membership.disbanded => Err(Refusal::new(
            ErrorCode::ConversationDisbanded,
            format!("conversation {conversation:?} was disbanded: nothing can be sent to it"),
        )
        .with_field("conversation_id")),
        _ => Ok(()),
    }
}

fn may_take_part_directly(command: &Command, head: &OwnerHead) -> Result<(), Refusal> {
    if command.participants.is_some() {
        // The door made the id from the sender and the other user.
        return Ok(());
    }
    if head.seq == 0 {
        return Err(not_found(command));
    }
    let participants = head.participants.as_deref().unwrap_or_default();
    let is_there = participants.iter().any(|it| **it == *command.actor.user);
    if is_there || command.actor.kind == ActorKind::System {
        Ok(())
    } else {
        Err(not_found(command))
    }
}

/// In the same words whether there is none or the sender never was in it: by asking he learns nothing.
fn not_found(command: &Command) -> Refusal {
    let conversation = &command.conversation.conversation;
    Refusal::new(
        ErrorCode::ConversationNotFound,
        format!("there is no conversation {conversation:?} that the sender is in"),
    )
    .with_field("conversation_id")
}

fn not_a_member(command: &Command) -> Refusal {
    let (user, conversation) = (&command.actor.user, &command.conversation.conversation);
    Refusal::new(
        ErrorCode::NotAMember,
        format!("user {user:?} is no member of conversation {conversation:?}"),
    )
    .with_field("conversation_id")
}

/// Whether the sender, who takes part, may take the message back: the one who sent it, within the window; a group's owner and admins, and
/// the system, at any time.
pub(crate) fn may_recall(
    command: &Command,
    seq: u64,
    target: Option<&Target>,
    membership: Option<Membership>,
    window: Duration,
    now_ms: i64,
) -> Result<(), Refusal> {
    let Some(target) = target else {
        let message = format!(
            "seq {seq} of {:?} is no message",
            command.conversation.conversation
        );
        return Err(Refusal::new(ErrorCode::MessageNotFound, message).with_field("seq"));
    };
    if target.recalled {
        let message = format!("message {seq} was taken back already");
        return Err(Refusal::new(ErrorCode::FailedPrecondition, message).with_field("seq"));
    }
    let role = membership.map(|it| it.standing);
    let is_in_charge = command.actor.kind == ActorKind::System
        || matches!(role, Some(Standing::Active(Role::Owner | Role::Admin)));
    if is_in_charge {
        return Ok(());
    }
    if target.sender != command.actor.user {
        let message = format!(
            "message {seq} was sent by another user: only its sender and admins take it back"
        );
        return Err(Refusal::new(ErrorCode::PermissionDenied, message).with_field("seq"));
    }
    let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
    if now_ms.saturating_sub(target.time_ms) > window_ms {
        let message = format!(
            "message {seq} is older than {window_ms} ms: its sender cannot take it back any more"
        );
        return Err(Refusal::new(ErrorCode::RecallWindowPassed, message).with_field("seq"));
    }
    Ok(())
}

/// Whether a service's change fits the conversation. What the session has decided is a fact; only what cannot be placed is refused.
pub(crate) fn may_change(
    command: &Command,
    kind: EventKind,
    head: &OwnerHead,
) -> Result<(), Refusal> {
    let conversation = &command.conversation.conversation;
    if is_direct_id(conversation) {
        let message = format!("{conversation:?} is a direct conversation, which nothing changes");
        return Err(Refusal::invalid("conversation_id", message));
    }
    if kind == EventKind::ConversationCreated && head.seq > 0 {
        let message = format!("conversation {conversation:?} exists");
        return Err(Refusal::new(ErrorCode::AlreadyExists, message).with_field("conversation_id"));
    }
    if kind != EventKind::ConversationCreated && head.seq == 0 {
        let message = format!("there is no conversation {conversation:?}");
        return Err(
            Refusal::new(ErrorCode::ConversationNotFound, message).with_field("conversation_id")
        );
    }
    Ok(())
}

/// The header's flags.
pub(crate) fn flags_of(command: &Command) -> u32 {
    let mut bits = match &command.action {
        Action::Send {
            mention_all: true, ..
        } => flags::COUNTABLE | flags::MENTION_ALL,
        Action::Send { .. } => flags::COUNTABLE,
        Action::Recall { .. } => 0,
        Action::Change { kind, .. } if changes_membership(*kind) => flags::MEMBERSHIP,
        Action::Change { .. } => 0,
    };
    if matches!(command.actor.kind, ActorKind::Api | ActorKind::System) {
        bits |= flags::VIA_API;
    }
    bits
}

/// Whether the event changes who may do what.
pub(crate) fn changes_membership(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::ConversationCreated
            | EventKind::MembersAdded
            | EventKind::MemberRemoved
            | EventKind::MemberLeft
            | EventKind::RoleChanged
            | EventKind::OwnershipTransferred
            | EventKind::ConversationDisbanded
    )
}

/// The class that the event's header bears.
pub(crate) fn class_of(command: &Command, head: &OwnerHead) -> ConversationClass {
    match &command.action {
        Action::Change { class, .. } if *class != ConversationClass::Unspecified => *class,
        _ if is_direct_id(&command.conversation.conversation) => ConversationClass::Direct,
        _ => head.class,
    }
}

/// What kind of event the command makes.
pub(crate) fn kind_of(action: &Action) -> EventKind {
    match action {
        Action::Send { .. } => EventKind::MessageCreated,
        Action::Recall { .. } => EventKind::MessageRecalled,
        Action::Change { kind, .. } => *kind,
    }
}
