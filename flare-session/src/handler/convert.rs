//! Between the contract's types and the domain's.

use std::sync::Arc;

use bytes::Bytes;
use flare_proto::{
    common::{ActorKind, ErrorCode, RequestContext},
    message::{self, ConversationClass, Event, EventMember, HistoryVisibility},
    session::{
        self, Conversation, ConversationSettings, InboxEntry, LargeConversationsResponse,
        LargeMembership, MembershipState,
    },
};
use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;
use prost::Message;

use crate::{
    application::ports::LargeMemberships,
    domain::{
        caller::{Actor, Caller},
        ids::check_id,
        inbox::Entry,
        membership::{Membership, Roster, RosterMember, Standing, Summary},
        role::{Class, History, Role},
    },
};

const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;

/// Who calls. The context was filled by the edge, or by another service.
pub(super) fn caller(context: Option<&RequestContext>) -> Result<Caller, Refusal> {
    let tenant = context
        .and_then(|it| it.tenant.as_ref())
        .map(|it| it.tenant_id.as_str())
        .unwrap_or_default();
    if tenant.is_empty() {
        return Err(Refusal::invalid(
            "context.tenant",
            "the request names no tenant",
        ));
    }
    let actor = context.and_then(|it| it.actor.as_ref());
    let actor = match actor.map(|it| (it.kind(), it)) {
        Some((ActorKind::User | ActorKind::Api, it)) => {
            check_id("context.actor.user_id", &it.user_id)?;
            Actor::User {
                id: it.user_id.as_str().into(),
                device: it.device_id.as_str().into(),
            }
        }
        Some((ActorKind::System | ActorKind::Service, _)) => Actor::System,
        Some((ActorKind::Unspecified, _)) | None => {
            return Err(Refusal::new(
                ErrorCode::Unauthenticated,
                "the request names no actor",
            ));
        }
    };
    Ok(Caller {
        tenant: tenant.into(),
        actor,
        trace_id: context.and_then(|it| it.trace_id.parse().ok()),
    })
}

pub(super) fn key(caller: &Caller, conversation: &str) -> Result<ConversationKey, Refusal> {
    check_id("conversation_id", conversation)?;
    Ok(ConversationKey::new(
        Arc::clone(&caller.tenant),
        conversation,
    ))
}

pub(super) fn user(field: &'static str, user: &str) -> Result<Arc<str>, Refusal> {
    check_id(field, user)?;
    Ok(user.into())
}

pub(super) fn users(field: &'static str, users: &[String]) -> Result<Vec<Arc<str>>, Refusal> {
    users.iter().map(|it| user(field, it)).collect()
}

pub(super) fn page_size(asked: Option<u32>) -> Result<usize, Refusal> {
    let size = asked.unwrap_or(DEFAULT_PAGE);
    if (1..=MAX_PAGE).contains(&size) {
        // Below 201.
        return Ok(size as usize);
    }
    Err(Refusal::invalid(
        "page_size",
        format!("page_size {size} is not 1 to {MAX_PAGE}"),
    ))
}

pub(super) fn history_in(history: i32) -> Result<History, Refusal> {
    match HistoryVisibility::try_from(history) {
        Ok(HistoryVisibility::SinceJoin) => Ok(History::SinceJoin),
        Ok(HistoryVisibility::All | HistoryVisibility::Unspecified) => Ok(History::All),
        Err(_) => Err(Refusal::invalid(
            "history_visibility",
            format!("{history} is no history visibility"),
        )),
    }
}

pub(super) fn class_in(class: i32) -> Result<Class, Refusal> {
    match ConversationClass::try_from(class) {
        Ok(ConversationClass::Group | ConversationClass::Unspecified) => Ok(Class::Group),
        Ok(ConversationClass::Large) => Ok(Class::Large),
        Ok(ConversationClass::Direct) => Err(Refusal::invalid(
            "class",
            "a direct conversation is made by its first message: GROUP or LARGE",
        )),
        Err(_) => Err(Refusal::invalid(
            "class",
            format!("{class} is no class of conversations"),
        )),
    }
}

pub(super) fn role_in(role: message::Role) -> Result<Role, Refusal> {
    match role {
        message::Role::Admin => Ok(Role::Admin),
        message::Role::Member => Ok(Role::Member),
        // The aggregate says why not.
        message::Role::Owner => Ok(Role::Owner),
        message::Role::Unspecified => Err(Refusal::invalid(
            "role",
            "no role, or one that is not known: ADMIN or MEMBER",
        )),
    }
}

pub(super) const fn role_out(role: Role) -> message::Role {
    match role {
        Role::Owner => message::Role::Owner,
        Role::Admin => message::Role::Admin,
        Role::Member => message::Role::Member,
    }
}

const fn class_out(class: Class) -> ConversationClass {
    match class {
        Class::Direct => ConversationClass::Direct,
        Class::Group => ConversationClass::Group,
        Class::Large => ConversationClass::Large,
    }
}

const fn state_out(standing: Standing) -> MembershipState {
    match standing {
        Standing::Unknown => MembershipState::ConversationUnknown,
        Standing::Stranger => MembershipState::Stranger,
        Standing::Active(_) => MembershipState::Active,
        Standing::Former => MembershipState::Former,
    }
}

pub(super) fn membership_out(membership: &Membership) -> session::Membership {
    session::Membership {
        state: state_out(membership.standing).into(),
        role: membership.role().map(role_out).unwrap_or_default().into(),
        class: membership.class.map(class_out).unwrap_or_default().into(),
        disbanded: membership.disbanded,
        as_of: membership.as_of,
        visible_from_seq: membership.visible_from,
        visible_to_seq: membership.visible_to,
    }
}

pub(super) fn large_memberships_out(found: LargeMemberships) -> LargeConversationsResponse {
    // Of a bounded number of users.
    let index = |user: usize| u32::try_from(user).unwrap_or(u32::MAX);
    let named = found.memberships.into_iter().map(|it| LargeMembership {
        user_index: index(it.user),
        conversation_id: it.conversation.to_string(),
        joined_seq: it.joined_seq,
        as_of: it.as_of,
    });
    LargeConversationsResponse {
        memberships: named.collect(),
        incomplete: found.incomplete.into_iter().map(index).collect(),
    }
}

pub(super) fn members_out(members: &[(Arc<str>, RosterMember)]) -> Vec<EventMember> {
    let named = |(user, member): &(Arc<str>, RosterMember)| EventMember {
        user_id: user.to_string(),
        role: role_out(member.role).into(),
    };
    members.iter().map(named).collect()
}

pub(super) fn roster_out(id: &str, roster: &Roster) -> Conversation {
    conversation_out(id, &roster.summary, roster.history, roster.disbanded)
}

fn conversation_out(
    id: &str,
    summary: &Summary,
    history: History,
    disbanded: bool,
) -> Conversation {
    Conversation {
        conversation_id: id.to_owned(),
        class: class_out(summary.class).into(),
        title: summary.title.clone(),
        owner_id: summary.owner.to_string(),
        member_count: summary.member_count,
        history_visibility: match history {
            History::All => HistoryVisibility::All,
            History::SinceJoin => HistoryVisibility::SinceJoin,
        }
        .into(),
        disbanded,
        created_ms: summary.created_ms,
        participants: summary
            .participants
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}

pub(super) fn entry_out(entry: Entry) -> Result<InboxEntry, Refusal> {
    let row = &entry.row;
    let standing = match row.farewell {
        Some(_) => Standing::Former,
        None => Standing::Active(row.role),
    };
    Ok(InboxEntry {
        conversation: Some(conversation_out(
            &row.conversation,
            &row.summary,
            row.history,
            row.disbanded,
        )),
        head_seq: entry.head_seq,
        head_time_ms: entry.head_time_ms,
        read_seq: entry.read_seq,
        unread_count: entry.unread,
        mention_count: entry.mention_count,
        settings: Some(ConversationSettings {
            mute_until_ms: row.settings.mute_until_ms,
            pinned: row.settings.pinned,
            hidden: entry.hidden,
        }),
        state: state_out(standing).into(),
        role: match standing {
            Standing::Active(role) => role_out(role).into(),
            _ => message::Role::Unspecified.into(),
        },
        last_message: match entry.last_message_recalled {
            true => without_body(&entry.last_message)?,
            false => entry.last_message,
        },
    })
}

/// Of a message that was taken back only the header is shown.
fn without_body(event: &Bytes) -> Result<Bytes, Refusal> {
    let mut event = Event::decode(event.clone())
        .map_err(|error| Refusal::internal(format!("a last message does not decode: {error}")))?;
    event.body = Bytes::new();
    Ok(event.encode_to_vec().into())
}
