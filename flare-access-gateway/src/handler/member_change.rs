//! Who comes and goes, out of an event's bytes.

use flare_proto::{
    event_view::EventView,
    message::{EventBody, EventKind, EventMember, event_body::Body},
};
use prost::Message;

use crate::domain::large::Change;

/// Who comes and goes by an event of a large conversation; None: it cannot be read.
pub(super) fn member_change(event: &EventView<'_>) -> Option<Change> {
    let kind = event.kind();
    if kind == EventKind::ConversationDisbanded {
        return Some(Change::Ended);
    }
    if !matches!(
        kind,
        EventKind::ConversationCreated
            | EventKind::MembersAdded
            | EventKind::MemberRemoved
            | EventKind::MemberLeft
    ) {
        return Some(Change::None);
    }
    let body = EventBody::decode(event.body).ok()?.body?;
    let joined = |members: Vec<EventMember>| {
        Change::Joined(members.into_iter().map(|it| it.user_id.into()).collect())
    };
    Some(match body {
        Body::ConversationCreated(created) => joined(created.members),
        Body::MembersAdded(added) => joined(added.members),
        Body::MemberRemoved(removed) => Change::Gone(removed.user_id.into()),
        Body::MemberLeft(left) => Change::Gone(left.user_id.into()),
        _ => return None,
    })
}
