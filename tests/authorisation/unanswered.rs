//! Frames to which no answer comes: what becomes of them shows elsewhere.

use std::time::Duration;

use anyhow::ensure;
use flare_core::codec::{Codec, ServerFrame};
use flare_proto::session::{AddMembersRequest, ListPositionsRequest, MemberPosition};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    caller::Caller,
    expect::Expectations,
    ground::Ground,
    stage::Stage,
    surfaces::{
        link::{Link, connect},
        message::frame,
    },
};

const SHOWN_WITHIN: Duration = Duration::from_secs(20);
const CODEC: Codec = Codec::Proto;
/// Those whose positions the tenant's backend can look at.
const IN_TENANT: [Caller; 6] = [
    Caller::Owner,
    Caller::Admin,
    Caller::Member,
    Caller::Left,
    Caller::Removed,
    Caller::Stranger,
];

/// What is wrong with the effects of a row's frame, after its cells: those that are to be dropped on the one stage, the others on the other.
pub(crate) async fn effects(
    ground: &Ground,
    (frame, about): (&str, &str),
    expects: &Expectations,
    quiet: &Stage,
    busy: &Stage,
) -> anyhow::Result<Vec<String>> {
    match (frame, about) {
        ("ack", _) => acks(ground, expects, quiet, busy).await,
        ("signal", "typing") => signals(ground, expects, busy).await,
        _ => Ok(Vec::new()),
    }
}

/// What members have acknowledged is their position; what others have, is nobody's, even when they come in later.
async fn acks(
    ground: &Ground,
    expects: &Expectations,
    quiet: &Stage,
    busy: &Stage,
) -> anyhow::Result<Vec<String>> {
    let (counts, dropped): (Vec<Caller>, Vec<Caller>) = IN_TENANT
        .into_iter()
        .partition(|it| expects.of(*it, true).is_done());
    let acknowledged: Vec<_> = counts.iter().map(|it| user(busy, *it)).collect();
    delivered(ground, busy, &acknowledged).await?;
    // The last of the quiet stage's acknowledgements: those before it have gone the same way.
    let mut link = connected(ground, quiet, Caller::Owner).await?;
    let json = json!({"ack": {"positions": [{"conversationId": quiet.room, "seq": quiet.early_seq.to_string()}]}});
    link.send(frame(CODEC, &json)).await?;
    link.goes_on().await?;
    delivered(ground, quiet, &[&quiet.owner]).await?;
    let outsiders: Vec<_> = dropped.iter().map(|it| user(quiet, *it)).collect();
    let request = AddMembersRequest {
        client_id: "brings-in".to_owned(),
        conversation_id: quiet.room.clone(),
        user_ids: outsiders.iter().map(|it| (*it).clone()).collect(),
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
async fn signals(
    ground: &Ground,
    expects: &Expectations,
    stage: &Stage,
) -> anyhow::Result<Vec<String>> {
    let token = ground
        .server
        .token("default", &stage.deputy, None, Duration::ZERO)?;
    let mut deputy = Link::dial(&ground.server, CODEC).await?;
    deputy.send(frame(CODEC, &connect(&token, "ear"))).await?;
    deputy.answer().await?;
    let mut wrong = Vec::new();
    for caller in Caller::KNOWN {
        let last = match caller {
            Caller::Admin => Caller::Member,
            _ => Caller::Admin,
        };
        types(ground, stage, caller).await?;
        // Signals of a gateway go out one after the other.
        types(ground, stage, last).await?;
        let mut was_heard = false;
        loop {
            if let ServerFrame::Signal(signal) = deputy.next().await? {
                if signal.user_id == *user(stage, last) {
                    break;
                }
                was_heard |= signal.user_id == *user(stage, caller);
            }
        }
        if was_heard != expects.of(caller, true).is_done() {
            let title = caller.title();
            wrong.push(format!("signal: {title} was heard: {was_heard}"));
        }
    }
    deputy.goes_on().await?;
    Ok(wrong)
}

/// Whose name the caller bears.
fn user(stage: &Stage, caller: Caller) -> &String {
    match caller {
        Caller::Admin => &stage.admin,
        Caller::Member => &stage.member,
        Caller::Left => &stage.left,
        Caller::Removed => &stage.removed,
        Caller::Stranger => &stage.stranger,
        // Of another tenant, too.
        _ => &stage.owner,
    }
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
