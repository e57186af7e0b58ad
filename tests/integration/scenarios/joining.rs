//! Who comes later.

use anyhow::ensure;
use flare_checker::Counts;
use flare_core_sdk::Target;
use flare_proto::{
    message::HistoryVisibility,
    storage::{HistoryRequest, history_request::Position},
};

use crate::{arguments::Arguments, judge::Minimums, scene::Scene};

const BEFORE: u64 = 120;

/// In a group whose history is open he reads it from the beginning; in one whose history begins with his joining, from there.
pub(crate) async fn late_joiner(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let ben = scene.arrives("ben", "phone").await?;
    // Online when he is added; another device of his comes when all is over.
    let dan = scene.arrives("dan", "phone").await?;
    let mut people = Vec::new();
    for visibility in [HistoryVisibility::All, HistoryVisibility::SinceJoin] {
        let group = ann.create_group("Late", &["ben"], visibility).await?;
        let sending: Vec<_> = (0..BEFORE)
            .map(|number| ann.saying(Target::conversation(&group), &format!("early {number}")))
            .collect();
        for sent in sending {
            sent.await?;
        }
        let joined = ann
            .client()
            .add_members(&group, vec!["dan".to_owned()])
            .await?;
        let late = ben.post(&group, "welcome, dan").await?.seq;
        let begins = if visibility == HistoryVisibility::All {
            1
        } else {
            joined
        };
        dan.reads_to(&group, late).await?;
        let tablet = scene.arrives("dan", &format!("tablet-{begins}")).await?;
        tablet.reads_to(&group, late).await?;
        for device in [&dan, &tablet] {
            let seqs: Vec<u64> =
                device.look(|view| view.events_of(&group).map(|(seq, _)| seq).collect());
            ensure!(
                seqs == (begins..=late).collect::<Vec<_>>(),
                "{visibility:?}: he reads {seqs:?}, joined at {joined}"
            );
        }
        let page = HistoryRequest {
            conversation_id: group.clone(),
            position: Some(Position::BeforeSeq(joined)),
            ..HistoryRequest::default()
        };
        let answer = dan.client().history(page).await?;
        ensure!(
            answer.floor_seq == begins,
            "{visibility:?}: the floor of his history is {}",
            answer.floor_seq
        );
        ensure!(
            answer.messages.is_empty() == (begins == joined),
            "{visibility:?}: {} messages",
            answer.messages.len()
        );
        people.push(tablet);
    }
    let minimums = Minimums {
        acks: 2 * BEFORE + 2,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: 5 * BEFORE,
        syncs: 4,
        restarts: 0,
        beside: Counts {
            clients: 5,
            joins: 6,
            floors: 1,
            ends: 10,
            ..Counts::default()
        },
    };
    people.extend([ann, ben, dan]);
    scene.ends(people, minimums).await
}
