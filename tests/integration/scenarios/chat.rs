//! Two people write to each other.

use anyhow::ensure;
use flare_checker::Counts;
use flare_core_sdk::Codec;
use flare_proto::message::EventKind;

use crate::{arguments::Arguments, judge::Minimums, scene::Scene};

/// Two users with two devices each, over both codecs: everybody sees everything, his own words from another device included.
pub(crate) async fn two_devices_chat(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let phone = scene.arrives("ann", "phone").await?;
    let laptop = scene
        .arrives_with("ann", "laptop", |it| it.codec = Codec::Json)
        .await?;
    let console = scene
        .arrives_with("ben", "console", |it| it.codec = Codec::Json)
        .await?;
    let tablet = scene.arrives("ben", "tablet").await?;

    let first = phone.tell("ben", "hello").await?;
    let chat = first.conversation_id.clone();
    ensure!(
        first.seq == 1 && !first.duplicate,
        "the first message is {first:?}"
    );
    console.hears(&chat, "hello").await?;
    let mut last = first.seq;
    for round in 0..20 {
        let (ann, ben) = if round % 2 == 0 {
            (&phone, &console)
        } else {
            (&laptop, &tablet)
        };
        let asked = format!("{round}: 你好 👩‍👩‍👧‍👦 مرحبا");
        let sent = ann.tell("ben", &asked).await?;
        ensure!(sent.seq == last + 1, "seq {} follows {last}", sent.seq);
        ben.hears(&chat, &asked).await?;
        let answer = format!("{round}: yes");
        last = ben.post(&chat, &answer).await?.seq;
        ensure!(last == sent.seq + 1, "seq {last} follows {}", sent.seq);
        ann.hears(&chat, &answer).await?;
    }
    let recalled = laptop.recall(&chat, first.seq).await?.seq;
    let people = vec![phone, laptop, console, tablet];
    for person in &people {
        person.reads_to(&chat, recalled).await?;
        let target = person.look(|view| {
            view.events[&chat]
                .get(&recalled)
                .map(|it| (it.kind, it.target_seq))
        });
        ensure!(
            target == Some((EventKind::MessageRecalled, first.seq)),
            "{} saw {target:?} as the recall",
            person.user()
        );
    }
    let orders: Vec<Vec<(u64, String)>> = people
        .iter()
        .map(|it| {
            it.look(|view| {
                view.events_of(&chat)
                    .map(|(seq, seen)| (seq, seen.message_id.clone()))
                    .collect()
            })
        })
        .collect();
    ensure!(
        orders.iter().all(|it| *it == orders[0]),
        "not everybody saw the same order"
    );
    let minimums = Minimums {
        acks: 42,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: 126,
        syncs: 0,
        restarts: 0,
        beside: Counts {
            clients: 4,
            conversations: 1,
            recalls: 1,
            ends: 4,
            server_events: 42,
            ..Counts::default()
        },
    };
    scene.ends(people, minimums).await
}

/// What was said while a device was away is there when it comes back, and what it wrote itself leaves then.
pub(crate) async fn offline_then_sync(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    const WHILE_AWAY: u32 = 250;
    let ann = scene.arrives("ann", "phone").await?;
    let laptop = scene.arrives("ann", "laptop").await?;
    let ben = scene.arrives("ben", "phone").await?;
    let chat = ann.tell("ben", "are you there?").await?.conversation_id;
    ben.hears(&chat, "are you there?").await?;
    let ben = ben.leave().await?;

    let sending: Vec<_> = (0..WHILE_AWAY)
        .map(|number| {
            ann.saying(
                flare_core_sdk::Target::user("ben"),
                &format!("message {number}"),
            )
        })
        .collect();
    let mut last = 0;
    for sent in sending {
        last = sent.await?.seq;
    }
    ensure!(last == u64::from(WHILE_AWAY) + 1, "the last seq is {last}");
    // Whoever is back before a message is delivered is not away from it.
    laptop
        .hears(&chat, &format!("message {}", WHILE_AWAY - 1))
        .await?;
    let ben = ben.back();
    let reply = ben.saying(flare_core_sdk::Target::conversation(&chat), "I am back");
    ben.reads_to(&chat, last).await?;
    let synced = ben.look(|view| {
        view.events_of(&chat)
            .filter(|(seq, it)| *seq > 1 && it.via == flare_core_sdk::Via::Sync)
            .count()
    });
    ensure!(
        synced >= WHILE_AWAY as usize,
        "{synced} messages came by sync"
    );
    ensure!(
        reply.await?.seq == last + 1,
        "the reply has its place after what was missed"
    );
    ann.hears(&chat, "I am back").await?;
    // A device that is new to all of it.
    let tablet = scene.arrives("ben", "tablet").await?;
    tablet.reads_to(&chat, last + 1).await?;

    let minimums = Minimums {
        acks: u64::from(WHILE_AWAY) + 2,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: 3 * u64::from(WHILE_AWAY) + 3,
        syncs: 4,
        restarts: 0,
        beside: Counts {
            clients: 4,
            connections: 5,
            disconnections: 1,
            ends: 4,
            ..Counts::default()
        },
    };
    scene.ends(vec![ann, laptop, ben, tablet], minimums).await
}
