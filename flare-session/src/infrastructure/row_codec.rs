//! How the values of rows stand in a database, whichever it is.

use crate::{
    application::ports::StoreError,
    domain::{
        membership::Summary,
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

fn class_from_db(class: i64) -> Result<Class, StoreError> {
    match class {
        1 => Ok(Class::Direct),
        2 => Ok(Class::Group),
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
