//! Frames to which no answer comes: what becomes of them shows elsewhere.

use std::time::Duration;

use anyhow::ensure;
use flare_core::codec::{Codec, ServerFrame};
use flare_proto::session::{AddMembersRequest, ListPositionsRequest, MemberPosition};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    caller::Caller,
    ground::Ground,
    stage::Stage,
    surfaces::{
        link::{Link, connect},
        message::frame,
    },
};

const SHOWN_WITHIN: Duration = Duration::from_secs(20);
const CODEC: Codec = Codec::Proto;

/// What is wrong with the effects of a row's frame, after its cells: the refused ones on the one stage, the others on the other.
pub(crate) async fn effects(
    ground: &Ground,
    frame: &str,
    quiet: &Stage,
    busy: &Stage,
) -> anyhow::Result<Vec<String>> {
    match frame {
        "ack" => acks(ground, quiet, busy).await,
        "signal" => signals(ground, busy).await,
        _ => Ok(Vec::new()),
    }
}

/// What members have acknowledged is their position; what others have, is nobody's, even when they come in later.
async fn acks(ground: &Ground, quiet: &Stage, busy: &Stage) -> anyhow::Result<Vec<String>> {
    delivered(ground, busy, &[&busy.owner, &busy.admin, &busy.member]).await?;
    // The last of the quiet stage's acknowledgements: those before it have gone the same way.
    let mut link = connected(ground, quiet, Caller::Owner).await?;
    let json = json!({"ack": {"positions": [{"conversationId": quiet.room, "seq": quiet.early_seq.to_string()}]}});
    link.send(frame(CODEC, &json)).await?;
    link.goes_on().await?;
    delivered(ground, quiet, &[&quiet.owner]).await?;
    let outsiders = [&quiet.left, &quiet.removed, &quiet.stranger];
    let request = AddMembersRequest {
        client_id: "brings-in".to_owned(),
        conversation_id: quiet.room.clone(),
        user_ids: outsiders.into_iter().cloned().collect(),
        ..AddMembersRequest::default()
    };
    let request = ground.backend.as_user(&quiet.owner, request);
    ground.backend.client().add_members(request).await?;
    let positions = positions(ground, quiet).await?;
    let counted = positions
        .iter()
        .filter(|it| outsiders.contains(&&it.user_id) && !it.delivered.is_empty());
    Ok(counted
        .map(|it| format!("ack: it counted for one who was no member: {it:?}"))
        .collect())
}

async fn positions(ground: &Ground, stage: &Stage) -> anyhow::Result<Vec<MemberPosition>> {
    let request = ListPositionsRequest {
        conversation_id: stage.room.clone(),
        page_size: Some(200),
        ..ListPositionsRequest::default()
    };
    let request = ground.backend.as_system(request);
    let page = ground.backend.client().list_positions(request).await?;
    Ok(page.into_inner().positions)
}

/// Waits until what these have acknowledged is told.
async fn delivered(ground: &Ground, stage: &Stage, users: &[&String]) -> anyhow::Result<()> {
    let deadline = Instant::now() + SHOWN_WITHIN;
    loop {
        let positions = positions(ground, stage).await?;
        let has = |user: &String| {
            let mut of = positions.iter().filter(|it| it.user_id == *user);
            of.any(|it| it.delivered.iter().any(|it| it.seq == stage.early_seq))
        };
        if users.iter().all(|it| has(it)) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{users:?} have acknowledged, and it is not told: {positions:?}"
        );
    }
}

/// The deputy hears members type, and nobody else.
async fn signals(ground: &Ground, stage: &Stage) -> anyhow::Result<Vec<String>> {
    let token = ground
        .server
        .token("default", &stage.deputy, None, Duration::ZERO)?;
    let mut deputy = Link::dial(&ground.server, CODEC).await?;
    deputy.send(frame(CODEC, &connect(&token, "ear"))).await?;
    deputy.answer().await?;
    let mut wrong = Vec::new();
    for caller in Caller::KNOWN {
        let (user, is_member) = match caller {
            Caller::Owner => (&stage.owner, true),
            Caller::Admin => (&stage.admin, true),
            Caller::Member => (&stage.member, true),
            Caller::Left => (&stage.left, false),
            Caller::Removed => (&stage.removed, false),
            Caller::Stranger => (&stage.stranger, false),
            // He has the owner's name in another tenant.
            _ => (&stage.owner, false),
        };
        let (last, last_user) = match caller {
            Caller::Admin => (Caller::Member, &stage.member),
            _ => (Caller::Admin, &stage.admin),
        };
        types(ground, stage, caller).await?;
        // Signals of a gateway go out one after the other.
        types(ground, stage, last).await?;
        let mut was_heard = false;
        loop {
            if let ServerFrame::Signal(signal) = deputy.next().await? {
                if signal.user_id == *last_user {
                    break;
                }
                was_heard |= signal.user_id == *user;
            }
        }
        if was_heard != is_member {
            let title = caller.title();
            wrong.push(format!("signal: {title} was heard: {was_heard}"));
        }
    }
    deputy.goes_on().await?;
    Ok(wrong)
}

async fn types(ground: &Ground, stage: &Stage, caller: Caller) -> anyhow::Result<()> {
    let mut link = connected(ground, stage, caller).await?;
    let json = json!({"signal": {"conversationId": stage.room, "typing": {"active": true}}});
    link.send(frame(CODEC, &json)).await?;
    link.goes_on().await
}

async fn connected(ground: &Ground, stage: &Stage, caller: Caller) -> anyhow::Result<Link> {
    let (token, device) = ground.connects_with(stage, caller)?;
    let mut link = Link::dial(&ground.server, CODEC).await?;
    link.send(frame(CODEC, &connect(&token, device))).await?;
    link.answer().await?;
    Ok(link)
}
