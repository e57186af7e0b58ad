//! What a placed change does to the rows.

use sqlx::PgConnection;

use super::{
    postgres::{Users, lock_users},
    row_codec::{role_to_db, to_db},
};
use crate::{
    application::ports::{OutboxLine, Placed, StoreError},
    domain::{
        change::{Change, NamedMember},
        role::Role,
    },
};

/// Makes the rows say what the placed event says. The conversation is locked.
pub(super) async fn apply(
    tx: &mut PgConnection,
    line: &OutboxLine,
    placed: &Placed,
) -> Result<(), StoreError> {
    let (tenant, conversation) = (&*line.key.tenant, &*line.key.conversation);
    match &line.change {
        Change::Created { members, .. } => {
            sqlx::query(
                "UPDATE conversation SET created_seq = $3, created_ms = $4, member_count = $5
                 WHERE tenant = $1 AND conversation = $2",
            )
            .bind(tenant)
            .bind(conversation)
            .bind(to_db(placed.seq))
            .bind(placed.time_ms)
            .bind(to_db(members.len() as u64))
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
                "UPDATE conversation SET member_count = member_count + $3 WHERE tenant = $1 AND conversation = $2",
            )
            .bind(tenant)
            .bind(conversation)
            .bind(to_db(members.len() as u64))
            .execute(&mut *tx)
            .await?;
            join(tx, line, members, placed).await
        }
        Change::Renamed { title } => {
            sqlx::query(
                "UPDATE conversation SET title = $3 WHERE tenant = $1 AND conversation = $2",
            )
            .bind(tenant)
            .bind(conversation)
            .bind(title)
            .execute(tx)
            .await?;
            Ok(())
        }
        Change::MemberRemoved { user } | Change::MemberLeft { user } => {
            leave(tx, line, user, placed).await
        }
        Change::RoleChanged { user, role } => set_roles(tx, line, &[(&**user, *role)]).await,
        Change::OwnershipTransferred { from, to } => {
            set_roles(tx, line, &[(&**from, Role::Admin), (&**to, Role::Owner)]).await?;
            sqlx::query(
                "UPDATE conversation SET owner = $3 WHERE tenant = $1 AND conversation = $2",
            )
            .bind(tenant)
            .bind(conversation)
            .bind(&**to)
            .execute(tx)
            .await?;
            Ok(())
        }
        Change::Disbanded => disband(tx, line, placed).await,
    }
}

/// Who joins has read everything before: only what comes then is unread.
async fn join(
    tx: &mut PgConnection,
    line: &OutboxLine,
    members: &[NamedMember],
    placed: &Placed,
) -> Result<(), StoreError> {
    let tenant = &*line.key.tenant;
    let users: Users<'_> = members.iter().map(|it| (tenant, &*it.user)).collect();
    lock_users(tx, &users).await?;
    let ids: Vec<_> = members.iter().map(|it| &*it.user).collect();
    let roles: Vec<_> = members.iter().map(|it| role_to_db(it.role)).collect();
    sqlx::query(
        "WITH bumped AS (
             UPDATE user_state SET version = version + 1, memberships = version + 1
             WHERE tenant = $1 AND user_id = ANY ($3) RETURNING user_id, version)
         UPDATE member AS m SET role = j.role, joined_seq = $5, left_seq = 0, pending_line = NULL,
             read_ordinal = CASE WHEN m.read_seq < $5 THEN $6 ELSE m.read_ordinal END, read_seq = GREATEST(m.read_seq, $5),
             hidden_at_seq = 0, version = b.version, left_message = NULL,
             large = (SELECT class = 3 FROM conversation WHERE tenant = $1 AND conversation = $2)
         FROM bumped AS b JOIN unnest($3::text[], $4::bigint[]) AS j (user_id, role) ON j.user_id = b.user_id
         WHERE m.tenant = $1 AND m.conversation = $2 AND m.user_id = b.user_id",
    )
    .bind(tenant)
    .bind(&*line.key.conversation)
    .bind(&ids)
    .bind(&roles)
    .bind(to_db(placed.seq))
    .bind(to_db(placed.ordinal))
    .execute(tx)
    .await?;
    Ok(())
}

/// The group becomes a large conversation; its members' rows say so, those of former ones too. The conversation is locked. Who joins has his row
/// already, so all are locked in one order.
async fn grow_large(tx: &mut PgConnection, line: &OutboxLine) -> Result<(), StoreError> {
    let (tenant, conversation) = (&*line.key.tenant, &*line.key.conversation);
    let members: Vec<String> =
        sqlx::query_scalar("SELECT user_id FROM member WHERE tenant = $1 AND conversation = $2")
            .bind(tenant)
            .bind(conversation)
            .fetch_all(&mut *tx)
            .await?;
    let users: Users<'_> = members.iter().map(|it| (tenant, it.as_str())).collect();
    lock_users(tx, &users).await?;
    for statement in [
        "UPDATE conversation SET class = 3 WHERE tenant = $1 AND conversation = $2",
        "UPDATE member SET large = true WHERE tenant = $1 AND conversation = $2",
    ] {
        sqlx::query(statement)
            .bind(tenant)
            .bind(conversation)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Who goes keeps the conversation as it was for him.
async fn leave(
    tx: &mut PgConnection,
    line: &OutboxLine,
    user: &str,
    placed: &Placed,
) -> Result<(), StoreError> {
    let (tenant, conversation) = (&*line.key.tenant, &*line.key.conversation);
    lock_users(tx, &Users::from([(tenant, user)])).await?;
    sqlx::query(
        "WITH bumped AS (
             UPDATE user_state SET version = version + 1, memberships = version + 1, conversations = conversations - 1
             WHERE tenant = $1 AND user_id = $3 RETURNING version)
         UPDATE member AS m SET left_seq = $4, left_ordinal = $5, left_ms = $6, left_message = NULL, version = b.version,
             left_title = c.title, left_owner = c.owner, left_member_count = c.member_count - 1
         FROM bumped AS b, conversation AS c
         WHERE m.tenant = $1 AND m.conversation = $2 AND m.user_id = $3 AND c.tenant = $1 AND c.conversation = $2",
    )
    .bind(tenant)
    .bind(conversation)
    .bind(user)
    .bind(to_db(placed.seq))
    .bind(to_db(placed.ordinal))
    .bind(placed.time_ms)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE conversation SET member_count = member_count - 1 WHERE tenant = $1 AND conversation = $2",
    )
    .bind(tenant)
    .bind(conversation)
    .execute(tx)
    .await?;
    Ok(())
}

async fn set_roles(
    tx: &mut PgConnection,
    line: &OutboxLine,
    members: &[(&str, Role)],
) -> Result<(), StoreError> {
    let tenant = &*line.key.tenant;
    let users: Users<'_> = members.iter().map(|(user, _)| (tenant, *user)).collect();
    lock_users(tx, &users).await?;
    let (ids, roles): (Vec<_>, Vec<_>) = members
        .iter()
        .map(|(user, role)| (*user, role_to_db(*role)))
        .unzip();
    sqlx::query(
        "UPDATE member AS m SET role = j.role FROM unnest($3::text[], $4::bigint[]) AS j (user_id, role)
         WHERE m.tenant = $1 AND m.conversation = $2 AND m.user_id = j.user_id",
    )
    .bind(tenant)
    .bind(&*line.key.conversation)
    .bind(&ids)
    .bind(&roles)
    .execute(tx)
    .await?;
    Ok(())
}

async fn disband(
    tx: &mut PgConnection,
    line: &OutboxLine,
    placed: &Placed,
) -> Result<(), StoreError> {
    let (tenant, conversation) = (&*line.key.tenant, &*line.key.conversation);
    sqlx::query(
        "UPDATE conversation SET disbanded_seq = $3 WHERE tenant = $1 AND conversation = $2",
    )
    .bind(tenant)
    .bind(conversation)
    .bind(to_db(placed.seq))
    .execute(&mut *tx)
    .await?;
    // Nobody joins or leaves meanwhile: the conversation is locked.
    let members: Vec<String> = sqlx::query_scalar(
        "SELECT user_id FROM member WHERE tenant = $1 AND conversation = $2 AND joined_seq > 0 AND left_seq = 0",
    )
    .bind(tenant)
    .bind(conversation)
    .fetch_all(&mut *tx)
    .await?;
    let users: Users<'_> = members.iter().map(|it| (tenant, it.as_str())).collect();
    lock_users(tx, &users).await?;
    sqlx::query(
        "UPDATE user_state SET conversations = conversations - 1 WHERE tenant = $1 AND user_id = ANY ($2)",
    )
    .bind(tenant)
    .bind(&members)
    .execute(tx)
    .await?;
    Ok(())
}
