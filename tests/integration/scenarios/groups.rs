//! Groups, from their making to their end.

use anyhow::{Context, ensure};
use flare_checker::Counts;
use flare_core_sdk::{SendError, Target};
use flare_proto::message::{EventKind, HistoryVisibility, Role, event_body::Body};
use tokio::task::JoinSet;

use crate::{arguments::Arguments, judge::Minimums, person::Person, scene::Scene};

/// The code with which a send was refused.
pub(super) fn refusal(
    outcome: Result<flare_core_sdk::Sent, SendError>,
) -> anyhow::Result<&'static str> {
    match outcome {
        Err(SendError::Refused { refusal, .. }) => Ok(refusal.code.as_str_name()),
        other => anyhow::bail!("not refused, but {other:?}"),
    }
}

/// Waits until all of them have seen the event of this kind at this seq.
async fn all_see(people: &[&Person], group: &str, seq: u64, kind: EventKind) -> anyhow::Result<()> {
    for person in people {
        let seen = person
            .sees(&format!("seq {seq} of {group}"), |view| {
                view.events.get(group)?.get(&seq).map(|it| it.kind)
            })
            .await?;
        ensure!(
            seen == kind,
            "{} sees {seen:?} at {seq}, not {kind:?}",
            person.user()
        );
    }
    Ok(())
}

/// Create, say, add, rename, roles, remove, leave, transfer, disband: each takes effect for everybody at its event.
pub(crate) async fn group_life(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let ben = scene.arrives("ben", "phone").await?;
    let cat = scene.arrives("cat", "laptop").await?;
    let dan = scene.arrives("dan", "phone").await?;

    let group = ann
        .create_group("Boats", &["ben", "cat"], HistoryVisibility::All)
        .await?;
    all_see(
        &[&ann, &ben, &cat],
        &group,
        1,
        EventKind::ConversationCreated,
    )
    .await?;
    let hello = ben.post(&group, "hello all").await?.seq;
    ensure!(hello == 2, "the first message stands at {hello}");
    ensure!(
        refusal(dan.saying(Target::conversation(&group), "let me in").await)?
            == "CONVERSATION_NOT_FOUND"
    );

    // A member may not, the owner may.
    ensure!(
        ben.client()
            .rename_conversation(&group, "Ships")
            .await
            .is_err(),
        "a member renamed the group"
    );
    let renamed = ann.client().rename_conversation(&group, "Ships").await?;
    all_see(
        &[&ann, &ben, &cat],
        &group,
        renamed,
        EventKind::ConversationRenamed,
    )
    .await?;
    let added = ann
        .client()
        .add_members(&group, vec!["dan".to_owned()])
        .await?;
    all_see(
        &[&ann, &ben, &cat, &dan],
        &group,
        added,
        EventKind::MembersAdded,
    )
    .await?;
    let said = dan.post(&group, "thank you").await?.seq;
    ensure!(said == added + 1, "what dan says stands at {said}");
    ben.hears(&group, "thank you").await?;
    // What was said before he came is his to read, in this group.
    dan.hears(&group, "hello all").await?;

    let raised = ann.client().set_role(&group, "ben", Role::Admin).await?;
    all_see(
        &[&ann, &ben, &cat, &dan],
        &group,
        raised,
        EventKind::RoleChanged,
    )
    .await?;
    let renamed = ben
        .client()
        .rename_conversation(&group, "Ships and boats")
        .await?;
    all_see(
        &[&ann, &cat],
        &group,
        renamed,
        EventKind::ConversationRenamed,
    )
    .await?;
    let removed = ben.client().remove_member(&group, "dan").await?;
    all_see(
        &[&ann, &ben, &cat, &dan],
        &group,
        removed,
        EventKind::MemberRemoved,
    )
    .await?;
    ensure!(refusal(dan.saying(Target::conversation(&group), "but why").await)? == "NOT_A_MEMBER");

    // The owner stays until he has handed the group on.
    ensure!(
        ann.client().leave_conversation(&group).await.is_err(),
        "the owner left his group"
    );
    let handed = ann.client().transfer_ownership(&group, "ben").await?;
    all_see(
        &[&ann, &ben, &cat],
        &group,
        handed,
        EventKind::OwnershipTransferred,
    )
    .await?;
    let left = ann.client().leave_conversation(&group).await?;
    all_see(&[&ann, &ben, &cat], &group, left, EventKind::MemberLeft).await?;
    cat.post(&group, "only us two").await?;
    ensure!(
        ann.client().disband_conversation(&group).await.is_err(),
        "who had left disbanded the group"
    );
    let disbanded = ben.client().disband_conversation(&group).await?;
    all_see(
        &[&ben, &cat],
        &group,
        disbanded,
        EventKind::ConversationDisbanded,
    )
    .await?;
    ensure!(
        refusal(cat.saying(Target::conversation(&group), "too late").await)?
            == "CONVERSATION_DISBANDED"
    );

    let title = cat
        .client()
        .conversation(&group)
        .await?
        .conversation
        .context("no conversation")?;
    ensure!(
        title.title == "Ships and boats" && title.disbanded && title.owner_id == "ben",
        "it ended as {title:?}"
    );
    ensure!(
        ann.look(|view| view.read_to(&group)) == left,
        "who left got what came after"
    );
    ensure!(
        dan.look(|view| view.read_to(&group)) == removed,
        "who was removed got what came after"
    );

    let minimums = Minimums {
        acks: 3,
        refusals: 3,
        retries: 0,
        duplicates: 0,
        deliveries: 36,
        syncs: 1,
        restarts: 0,
        beside: Counts {
            clients: 4,
            joins: 4,
            removals: 2,
            server_events: 12,
            ends: 2,
            ..Counts::default()
        },
    };
    scene.ends(vec![ann, ben, cat, dan], minimums).await
}

/// He sends as fast as he can when he is removed: nothing of his stands after his removal, he gets that and nothing more.
pub(crate) async fn removed_while_sending(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    const ROUNDS: u32 = 3;
    let ann = scene.arrives("ann", "phone").await?;
    let ben = scene.arrives("ben", "phone").await?;
    let second = scene.arrives("ben", "laptop").await?;
    let cat = scene.arrives("cat", "phone").await?;
    let group = ann
        .create_group("Rooms", &["ben", "cat"], HistoryVisibility::All)
        .await?;
    all_see(
        &[&ben, &second, &cat],
        &group,
        1,
        EventKind::ConversationCreated,
    )
    .await?;
    let mut refused = 0;
    for round in 0..ROUNDS {
        // Both of his devices send until they are refused; so does cat, who stays.
        let mut flood = JoinSet::new();
        for (device, client) in [
            ("phone", ben.client().clone()),
            ("laptop", second.client().clone()),
        ] {
            let group = group.clone();
            flood.spawn(async move {
                let mut acked = Vec::new();
                for number in 0.. {
                    let text = format!("{round} {device} {number}");
                    match client.send_text(Target::conversation(&group), text).await {
                        Ok(sent) => acked.push(sent.seq),
                        refused => return refusal(refused).map(|code| (acked, code)),
                    }
                }
                anyhow::bail!("there are only so many numbers")
            });
        }
        let underway = format!("{round} phone 5");
        cat.hears(&group, &underway).await?;
        let removed = ann.client().remove_member(&group, "ben").await?;
        while let Some(ended) = flood.join_next().await {
            let (acked, code) = ended??;
            ensure!(code == "NOT_A_MEMBER", "refused with {code}");
            ensure!(
                acked.iter().all(|it| *it < removed),
                "removed at {removed}, acked {:?}",
                acked.last()
            );
            refused += 1;
        }
        let after = cat.post(&group, &format!("{round} is he gone?")).await?.seq;
        ensure!(after > removed);
        all_see(
            &[&ben, &second, &ann],
            &group,
            removed,
            EventKind::MemberRemoved,
        )
        .await?;
        ann.reads_to(&group, after).await?;
        for device in [&ben, &second] {
            let last = device.look(|view| view.events_of(&group).last().map(|(seq, _)| seq));
            ensure!(
                last == Some(removed),
                "he was removed at {removed}, and has {last:?}"
            );
        }
        if round + 1 < ROUNDS {
            let back = ann
                .client()
                .add_members(&group, vec!["ben".to_owned()])
                .await?;
            all_see(&[&ben, &second], &group, back, EventKind::MembersAdded).await?;
        }
    }
    let joined = ben.look(|view| {
        let added = |it: &crate::view::Seen| matches!(it.change, Some(Body::MembersAdded(_)));
        view.events_of(&group).filter(|(_, it)| added(it)).count()
    });
    ensure!(
        joined == 2 && refused == 2 * ROUNDS,
        "{joined} joinings, {refused} refusals"
    );
    let minimums = Minimums {
        acks: 30,
        refusals: 6,
        retries: 0,
        duplicates: 0,
        deliveries: 90,
        syncs: 4,
        restarts: 0,
        beside: Counts {
            joins: 5,
            removals: 3,
            ends: 2,
            ..Counts::default()
        },
    };
    scene.ends(vec![ann, ben, second, cat], minimums).await
}
