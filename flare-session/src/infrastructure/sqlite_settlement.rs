//! What a placed change does to the rows.

use sqlx::SqliteConnection;

use super::{
    row_codec::{role_to_db, to_db},
    sqlite::bump,
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
        Change::MembersAdded { members } => {
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
    for member in members {
        let version = bump(tx, &line.key.tenant, &member.user, true).await?;
        sqlx::query(
            "UPDATE member SET role = ?4, joined_seq = ?5, left_seq = 0, pending_line = NULL,
                 read_ordinal = iif(read_seq < ?5, ?6, read_ordinal), read_seq = max(read_seq, ?5),
                 hidden_at_seq = 0, version = ?7, left_message = NULL
             WHERE tenant = ?1 AND conversation = ?2 AND user = ?3",
        )
        .bind(&*line.key.tenant)
        .bind(&*line.key.conversation)
        .bind(&*member.user)
        .bind(role_to_db(member.role))
        .bind(to_db(placed.seq))
        .bind(to_db(placed.ordinal))
        .bind(version)
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
