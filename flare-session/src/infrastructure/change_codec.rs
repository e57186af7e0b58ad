//! Changes as events bear them: the same bytes whenever the same change is encoded, so that a line submitted again says the same.

use std::sync::Arc;

use flare_proto::message::{
    self, ConversationClass, ConversationCreated, ConversationDisbanded, ConversationRenamed,
    EventBody, EventKind, EventMember, HistoryVisibility, MemberLeft, MemberRemoved, MembersAdded,
    OwnershipTransferred, RoleChanged, event_body::Body,
};
use prost::Message;

use crate::domain::{
    change::{Change, NamedMember},
    role::{Class, History, Role},
};

/// The format of stored changes.
const VERSION: u8 = 1;

/// The event kind that a change becomes.
pub(super) const fn kind(change: &Change) -> EventKind {
    match change {
        Change::Created { .. } => EventKind::ConversationCreated,
        Change::Renamed { .. } => EventKind::ConversationRenamed,
        Change::MembersAdded { .. } => EventKind::MembersAdded,
        Change::MemberRemoved { .. } => EventKind::MemberRemoved,
        Change::MemberLeft { .. } => EventKind::MemberLeft,
        Change::RoleChanged { .. } => EventKind::RoleChanged,
        Change::OwnershipTransferred { .. } => EventKind::OwnershipTransferred,
        Change::Disbanded => EventKind::ConversationDisbanded,
    }
}

/// The encoded `flare.message.v1.EventBody`.
pub(super) fn encode_body(change: &Change) -> Vec<u8> {
    let body = match change {
        Change::Created {
            title,
            members,
            history,
            class,
        } => Body::ConversationCreated(ConversationCreated {
            title: title.clone(),
            members: members.iter().map(named).collect(),
            history_visibility: match history {
                History::All => HistoryVisibility::All,
                History::SinceJoin => HistoryVisibility::SinceJoin,
            }
            .into(),
            class: large_out(*class == Class::Large),
        }),
        Change::Renamed { title } => Body::ConversationRenamed(ConversationRenamed {
            title: title.clone(),
        }),
        Change::MembersAdded {
            members,
            becomes_large,
        } => Body::MembersAdded(MembersAdded {
            members: members.iter().map(named).collect(),
            class: large_out(*becomes_large),
        }),
        Change::MemberRemoved { user } => Body::MemberRemoved(MemberRemoved {
            user_id: user.to_string(),
        }),
        Change::MemberLeft { user } => Body::MemberLeft(MemberLeft {
            user_id: user.to_string(),
        }),
        Change::RoleChanged { user, role } => Body::RoleChanged(RoleChanged {
            user_id: user.to_string(),
            role: role_out(*role).into(),
        }),
        Change::OwnershipTransferred { from, to } => {
            Body::OwnershipTransferred(OwnershipTransferred {
                from_user_id: from.to_string(),
                to_user_id: to.to_string(),
            })
        }
        Change::Disbanded => Body::ConversationDisbanded(ConversationDisbanded {}),
    };
    EventBody { body: Some(body) }.encode_to_vec()
}

/// A change as the outbox keeps it: a version byte, then the body.
pub(super) fn encode_row(change: &Change) -> Vec<u8> {
    let mut row = vec![VERSION];
    row.extend(encode_body(change));
    row
}

/// Reads what [`encode_row`] wrote.
pub(super) fn decode_row(row: &[u8]) -> Result<Change, String> {
    let body = match row.split_first() {
        Some((&VERSION, body)) => body,
        Some((version, _)) => return Err(format!("format {version} of a change is not known")),
        None => return Err("a change is empty".to_owned()),
    };
    let body = EventBody::decode(body)
        .map_err(|error| error.to_string())?
        .body;
    Ok(match body.ok_or("a change has no body")? {
        Body::ConversationCreated(it) => Change::Created {
            history: match it.history_visibility() {
                HistoryVisibility::SinceJoin => History::SinceJoin,
                HistoryVisibility::All | HistoryVisibility::Unspecified => History::All,
            },
            class: match it.class() {
                ConversationClass::Large => Class::Large,
                _ => Class::Group,
            },
            members: members(&it.members)?,
            title: it.title,
        },
        Body::ConversationRenamed(it) => Change::Renamed { title: it.title },
        Body::MembersAdded(it) => Change::MembersAdded {
            becomes_large: it.class() == ConversationClass::Large,
            members: members(&it.members)?,
        },
        Body::MemberRemoved(it) => Change::MemberRemoved {
            user: it.user_id.into(),
        },
        Body::MemberLeft(it) => Change::MemberLeft {
            user: it.user_id.into(),
        },
        Body::RoleChanged(it) => Change::RoleChanged {
            role: role_in(it.role())?,
            user: it.user_id.into(),
        },
        Body::OwnershipTransferred(it) => Change::OwnershipTransferred {
            from: it.from_user_id.into(),
            to: it.to_user_id.into(),
        },
        Body::ConversationDisbanded(_) => Change::Disbanded,
        Body::MessageCreated(_) | Body::MessageRecalled(_) => {
            return Err("a change is a message".to_owned());
        }
    })
}

/// Reads any bytes as a row, and panics if one that is taken is not kept as it is. For the tests of decoders.
#[doc(hidden)]
pub fn judge_row(row: &[u8]) {
    if let Ok(change) = decode_row(row) {
        assert_eq!(decode_row(&encode_row(&change)), Ok(change));
    }
}

/// A group's changes are as they were before there were large ones: a line that waits from then is submitted again as it was.
fn large_out(is_large: bool) -> i32 {
    match is_large {
        true => ConversationClass::Large.into(),
        false => ConversationClass::Unspecified.into(),
    }
}

/// As the contract has it.
pub(super) const fn class_out(class: Class) -> ConversationClass {
    match class {
        Class::Direct => ConversationClass::Direct,
        Class::Group => ConversationClass::Group,
        Class::Large => ConversationClass::Large,
    }
}

fn named(member: &NamedMember) -> EventMember {
    EventMember {
        user_id: member.user.to_string(),
        role: role_out(member.role).into(),
    }
}

fn members(members: &[EventMember]) -> Result<Vec<NamedMember>, String> {
    members
        .iter()
        .map(|it| {
            Ok(NamedMember {
                user: Arc::from(it.user_id.as_str()),
                role: role_in(it.role())?,
            })
        })
        .collect()
}

const fn role_out(role: Role) -> message::Role {
    match role {
        Role::Owner => message::Role::Owner,
        Role::Admin => message::Role::Admin,
        Role::Member => message::Role::Member,
    }
}

fn role_in(role: message::Role) -> Result<Role, String> {
    match role {
        message::Role::Owner => Ok(Role::Owner),
        message::Role::Admin => Ok(Role::Admin),
        message::Role::Member => Ok(Role::Member),
        message::Role::Unspecified => Err("a member has no role".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_change_comes_back_as_it_was_kept() {
        let member = |user: &str, role| NamedMember {
            user: user.into(),
            role,
        };
        let members = vec![
            member("olga", Role::Owner),
            member("ada", Role::Admin),
            member("mia", Role::Member),
        ];
        for change in [
            Change::Created {
                title: "组".into(),
                members: members.clone(),
                history: History::SinceJoin,
                class: Class::Group,
            },
            Change::Created {
                title: String::new(),
                members: members.clone(),
                history: History::All,
                class: Class::Large,
            },
            Change::Renamed { title: "t".into() },
            Change::MembersAdded {
                members: members.clone(),
                becomes_large: false,
            },
            Change::MembersAdded {
                members,
                becomes_large: true,
            },
            Change::MemberRemoved { user: "mia".into() },
            Change::MemberLeft { user: "mia".into() },
            Change::RoleChanged {
                user: "mia".into(),
                role: Role::Admin,
            },
            Change::OwnershipTransferred {
                from: "olga".into(),
                to: "mia".into(),
            },
            Change::Disbanded,
        ] {
            let row = encode_row(&change);
            assert_eq!(decode_row(&row), Ok(change));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_change_that_is_kept_as_it_is_or_none(body in prop::collection::vec(any::<u8>(), 0..60), field in 0_u8..16) {
            // The field picks the kind of a change; what is in it follows.
            let length = u8::try_from(body.len()).unwrap_or_default();
            let row = [&[VERSION, field << 3 | 2, length], &body[..]].concat();
            for row in [&row[..], &body] {
                judge_row(row);
            }
        }
    }

    #[test]
    fn a_row_of_another_format_is_not_guessed_at() {
        assert!(decode_row(&[]).is_err());
        assert!(decode_row(&[2, 0]).is_err());
        assert!(decode_row(&[VERSION]).is_err());
    }
}
