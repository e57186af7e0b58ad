//! What a placed change does to the rows.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;

use super::{
    row_codec::{role_to_db, to_db},
    sqlite::{bump, json_list},
};
use crate::{
    application::ports::{OutboxLine, Placed, StoreError},
    domain::{
        change::{Change, NamedMember},
        role::Role,
    },
};

/// Makes the rows say what the placed event says.
pub(super) async fn apply(
    tx: &mut SqliteConnection,
    line: &OutboxLine,
    placed: &Placed,
) -> Result<(), StoreError> {
    let (tenant, conversation) = (&*line.key.tenant, &*line.key.conversation);
    match &line.change {
        Change::Created { members, .. } => {
            sqlx::query(
                "UPDATE conversation SET created_seq = ?, created_ms = ?, member_count = ?
                 WHERE tenant = ? AND conversation = ?",
            )
            .bind(to_db(placed.seq))
            .bind(placed.time_ms)
            .bind(to_db(members.len() as u64))
            .bind(tenant)
            .bind(conversation)
            .execute(&mut *tx)
            .await?;
            join(tx, line, members, placed).await
        }
        Change::MembersAdded {
            members,
            becomes_large,
        } => {
            if *becomes_large {
                grow_large(tx, line).await?;
            }
            sqlx::query(
                "UPDATE conversation SET member_count = member_count + ? WHERE tenant = ? AND conversation = ?",
            )
            .bind(to_db(members.len() as u64))
            .bind(tenant)
            .bind(conversation)
            .execute(&mut *tx)
            .await?;
            join(tx, line, members, placed).await
        }
        Change::Renamed { title } => {
            sqlx::query("UPDATE conversation SET title = ? WHERE tenant = ? AND conversation = ?")
                .bind(title)
                .bind(tenant)
                .bind(conversation)
                .execute(tx)
                .await?;
            Ok(())
        }
        Change::MemberRemoved { user } | Change::MemberLeft { user } => {
            leave(tx, line, user, placed).await
        }
        Change::RoleChanged { user, role } => set_role(tx, line, user, *role).await,
        Change::OwnershipTransferred { from, to } => {
            set_role(tx, line, from, Role::Admin).await?;
            set_role(tx, line, to, Role::Owner).await?;
            sqlx::query("UPDATE conversation SET owner = ? WHERE tenant = ? AND conversation = ?")
                .bind(&**to)
                .bind(tenant)
                .bind(conversation)
                .execute(tx)
                .await?;
            Ok(())
        }
        Change::Disbanded => {
            sqlx::query(
                "UPDATE conversation SET disbanded_seq = ? WHERE tenant = ? AND conversation = ?",
            )
            .bind(to_db(placed.seq))
            .bind(tenant)
            .bind(conversation)
            .execute(&mut *tx)
            .await?;
            sqlx::query(
                "UPDATE user_state SET conversations = conversations - 1 WHERE tenant = ?1 AND user IN
                     (SELECT user FROM member WHERE tenant = ?1 AND conversation = ?2 AND joined_seq > 0 AND left_seq = 0)",
            )
            .bind(tenant)
            .bind(conversation)
            .execute(tx)
            .await?;
            Ok(())
        }
    }
}

/// Who joins has read everything before: only what comes then is unread.
async fn join(
    tx: &mut SqliteConnection,
    line: &OutboxLine,
    members: &[NamedMember],
    placed: &Placed,
) -> Result<(), StoreError> {
    let mut by_role: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for member in members {
        let users = by_role.entry(role_to_db(member.role)).or_default();
        users.push(&member.user);
    }
    for (role, users) in by_role {
        let users = json_list(&users)?;
        sqlx::query(
            "INSERT INTO user_state (tenant, user, version, memberships, conversations)
             SELECT ?1, value, 1, 1, 0 FROM json_each(?2) WHERE true
             ON CONFLICT (tenant, user) DO UPDATE SET version = version + 1, memberships = version + 1",
        )
        .bind(&*line.key.tenant)
        .bind(&users)
        .execute(&mut *tx)
        .await?;
        // Not by UPDATE FROM: for each member that there is, that reads the whole list.
        sqlx::query(
            "UPDATE member SET role = ?4, joined_seq = ?5, left_seq = 0, pending_line = NULL,
                 read_ordinal = iif(read_seq < ?5, ?6, read_ordinal), read_seq = max(read_seq, ?5),
                 hidden_at_seq = 0, left_message = NULL,
                 version = (SELECT s.version FROM user_state AS s WHERE s.tenant = member.tenant AND s.user = member.user),
                 large = (SELECT class = 3 FROM conversation WHERE tenant = ?1 AND conversation = ?2)
             WHERE tenant = ?1 AND conversation = ?2 AND user IN (SELECT value FROM json_each(?3))",
        )
        .bind(&*line.key.tenant)
        .bind(&*line.key.conversation)
        .bind(&users)
        .bind(role)
        .bind(to_db(placed.seq))
        .bind(to_db(placed.ordinal))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// The group becomes a large conversation; its members' rows say so, those of former ones too.
async fn grow_large(tx: &mut SqliteConnection, line: &OutboxLine) -> Result<(), StoreError> {
    for statement in [
        "UPDATE conversation SET class = 3 WHERE tenant = ? AND conversation = ?",
        "UPDATE member SET large = 1 WHERE tenant = ? AND conversation = ?",
    ] {
        sqlx::query(statement)
            .bind(&*line.key.tenant)
            .bind(&*line.key.conversation)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Who goes keeps the conversation as it was for him.
async fn leave(
    tx: &mut SqliteConnection,
    line: &OutboxLine,
    user: &str,
    placed: &Placed,
) -> Result<(), StoreError> {
    let version = bump(tx, &line.key.tenant, user, true).await?;
    sqlx::query(
        "UPDATE member SET left_seq = ?4, left_ordinal = ?5, left_ms = ?6, left_message = NULL, version = ?7,
             left_title = c.title, left_owner = c.owner, left_member_count = c.member_count - 1
         FROM (SELECT title, owner, member_count FROM conversation WHERE tenant = ?1 AND conversation = ?2) AS c
         WHERE tenant = ?1 AND conversation = ?2 AND user = ?3",
    )
    .bind(&*line.key.tenant)
    .bind(&*line.key.conversation)
    .bind(user)
    .bind(to_db(placed.seq))
    .bind(to_db(placed.ordinal))
    .bind(placed.time_ms)
    .bind(version)
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE conversation SET member_count = member_count - 1 WHERE tenant = ? AND conversation = ?")
        .bind(&*line.key.tenant)
        .bind(&*line.key.conversation)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "UPDATE user_state SET conversations = conversations - 1 WHERE tenant = ? AND user = ?",
    )
    .bind(&*line.key.tenant)
    .bind(user)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn set_role(
    tx: &mut SqliteConnection,
    line: &OutboxLine,
    user: &str,
    role: Role,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE member SET role = ? WHERE tenant = ? AND conversation = ? AND user = ?")
        .bind(role_to_db(role))
        .bind(&*line.key.tenant)
        .bind(&*line.key.conversation)
        .bind(user)
        .execute(tx)
        .await?;
    Ok(())
}
