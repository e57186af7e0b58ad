//! How the values of rows stand in a database, whichever it is.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    application::ports::{Answered, LargeMembership, LargeMemberships, StoreError},
    domain::{
        membership::{Belonging, FormerMember, RosterMember, Summary},
        role::{Class, History, Role},
    },
};

/// Seqs, ordinals, versions and positions are below 2^63.
pub(super) fn to_db(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn from_db(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

pub(super) const fn role_to_db(role: Role) -> i64 {
    match role {
        Role::Owner => 1,
        Role::Admin => 2,
        Role::Member => 3,
    }
}

pub(super) fn role_from_db(role: i64) -> Result<Role, StoreError> {
    match role {
        1 => Ok(Role::Owner),
        2 => Ok(Role::Admin),
        3 => Ok(Role::Member),
        _ => Err(StoreError::Failed(format!("role {role} in a row is none"))),
    }
}

pub(super) const fn class_to_db(class: Class) -> i64 {
    match class {
        Class::Direct => 1,
        Class::Group => 2,
        Class::Large => 3,
    }
}

pub(super) fn class_from_db(class: i64) -> Result<Class, StoreError> {
    match class {
        1 => Ok(Class::Direct),
        2 => Ok(Class::Group),
        3 => Ok(Class::Large),
        _ => Err(StoreError::Failed(format!(
            "class {class} in a row is none"
        ))),
    }
}

pub(super) const fn history_to_db(history: History) -> i64 {
    match history {
        History::All => 1,
        History::SinceJoin => 2,
    }
}

pub(super) fn history_from_db(history: i64) -> Result<History, StoreError> {
    match history {
        1 => Ok(History::All),
        2 => Ok(History::SinceJoin),
        _ => Err(StoreError::Failed(format!(
            "history {history} in a row is none"
        ))),
    }
}

pub(super) fn summary(
    class: i64,
    title: String,
    owner: String,
    member_count: i64,
    created_ms: i64,
    low: String,
    high: String,
) -> Result<Summary, StoreError> {
    Ok(Summary {
        class: class_from_db(class)?,
        title,
        owner: owner.into(),
        member_count: u32::try_from(member_count).unwrap_or_default(),
        created_ms,
        participants: match low.is_empty() {
            true => Vec::new(),
            false => vec![low.into(), high.into()],
        },
    })
}

/// Fingerprint, seq.
pub(super) type AnsweredRow = (Vec<u8>, Option<i64>);

pub(super) fn answered(
    (fingerprint, seq): AnsweredRow,
    client_id: &str,
) -> Result<Answered, StoreError> {
    let fingerprint = fingerprint.try_into().map_err(|_| {
        StoreError::Failed(format!("the fingerprint of {client_id} has not 16 bytes"))
    })?;
    Ok(Answered {
        fingerprint,
        seq: seq.map(from_db),
    })
}

/// User, role, joined.
pub(super) type MemberRow = (String, i64, i64);

pub(super) fn member(
    (user, role, joined_seq): MemberRow,
) -> Result<(Arc<str>, RosterMember), StoreError> {
    let member = RosterMember {
        role: role_from_db(role)?,
        joined_seq: from_db(joined_seq),
    };
    Ok((user.into(), member))
}

pub(super) fn belonging(
    role: i64,
    joined_seq: i64,
    left_seq: i64,
) -> Result<Belonging, StoreError> {
    let joined_seq = from_db(joined_seq);
    Ok(match from_db(left_seq) {
        0 => Belonging::Active(RosterMember {
            role: role_from_db(role)?,
            joined_seq,
        }),
        left_seq => Belonging::Former(FormerMember {
            joined_seq,
            left_seq,
        }),
    })
}

/// Index of the user, conversation, joined, as of.
pub(super) type LargeRow = (i64, String, i64, i64);

/// What rows in the order of the users say. One above `max`, which no user alone has, shows that some are missing: of the user at the cut, and of
/// those after him.
pub(super) fn large_memberships(
    mut rows: Vec<LargeRow>,
    max: usize,
    users: usize,
    unsettled: impl IntoIterator<Item = i64>,
) -> LargeMemberships {
    let index = |user: i64| usize::try_from(user).unwrap_or_default();
    let mut incomplete: BTreeSet<usize> = unsettled.into_iter().map(index).collect();
    if rows.len() > max
        && let Some((cut, ..)) = rows.last()
    {
        let cut = *cut;
        rows.retain(|it| it.0 != cut);
        incomplete.extend(index(cut)..users);
    }
    let memberships = rows
        .into_iter()
        .map(|(user, conversation, joined_seq, as_of)| LargeMembership {
            user: index(user),
            conversation: conversation.into(),
            joined_seq: from_db(joined_seq),
            as_of: from_db(as_of),
        });
    LargeMemberships {
        memberships: memberships.collect(),
        incomplete: incomplete.into_iter().collect(),
    }
}
