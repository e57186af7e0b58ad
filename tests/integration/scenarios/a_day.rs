//! A day of twenty people, in about a minute.

mod actor;
mod script;

use std::time::Duration;

use anyhow::{Context, ensure};
use flare_checker::Counts;
use flare_core_sdk::Target;
use flare_proto::message::HistoryVisibility;
use rand::{SeedableRng, rngs::StdRng, seq::index::sample};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use self::{actor::Actor, script::Place};
use super::{courier::Courier, groups::refusal};
use crate::{
    arguments::Arguments, deployment::Part, judge::Minimums, person::Person, scene::Scene,
};

const SEED: u64 = 20_260_714;
const USERS: usize = 20;
const DEVICES: [&str; 3] = ["phone", "laptop", "tablet"];
const DIRECT: usize = 30;
const GROUPS: usize = 6;
const GROUP_MEMBERS: usize = 7;
const MESSAGES: u32 = 10_000;
/// What is said in the day is said in this time, if the machine bears it.
const A_DAY: Duration = Duration::from_secs(60);
/// The server is killed when so many messages have their receipts.
const KILLS: [u64; 2] = [3_300, 6_600];
const PATIENCE: Duration = Duration::from_secs(150);

/// 20 users with 3 devices each, 30 direct and 6 group conversations, 10,000 messages; many scripts, large texts, mentions, recalls; devices go
/// offline, people move from one to another, a stranger is turned away, and the server is killed twice.
pub(crate) async fn a_day(mut scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let users: Vec<String> = (0..USERS).map(|it| format!("user-{it:02}")).collect();
    let mut devices = Vec::new();
    for user in &users {
        let mut own = Vec::new();
        for device in DEVICES {
            own.push(scene.arrives(user, device).await?);
        }
        devices.push(own);
    }
    let mut places: Vec<Vec<Place>> = vec![Vec::new(); USERS];
    let mut pairs = 0;
    // Everybody has a neighbour on each side; the rest are chosen by chance.
    let mut direct = std::collections::BTreeSet::new();
    while pairs < DIRECT {
        let (one, other) = if pairs < USERS {
            (pairs, (pairs + 1) % USERS)
        } else {
            let both = sample(&mut rng, USERS, 2);
            (both.index(0), both.index(1))
        };
        if direct.insert((one.min(other), one.max(other))) {
            places[one].push(Place::User(users[other].clone()));
            places[other].push(Place::User(users[one].clone()));
            pairs += 1;
        }
    }
    let mut groups = Vec::new();
    for number in 0..GROUPS {
        let members: Vec<usize> = sample(&mut rng, USERS, GROUP_MEMBERS).into_vec();
        let names: Vec<&str> = members.iter().map(|it| users[*it].as_str()).collect();
        let title = format!("Group {number}");
        let group = devices[members[0]][0]
            .create_group(&title, &names[1..], HistoryVisibility::All)
            .await?;
        groups.push(group.clone());
        for member in &members {
            let others = names
                .iter()
                .filter(|it| **it != users[*member])
                .map(|it| (*it).to_owned())
                .collect();
            places[*member].push(Place::Group {
                id: group.clone(),
                others,
            });
        }
    }

    let share = MESSAGES / USERS as u32;
    let (acked, mut progress) = watch::channel(0_u64);
    let mut actors = JoinSet::new();
    for ((number, own), places) in devices.into_iter().enumerate().zip(places) {
        let actor = Actor::new(own, places, SEED + number as u64, acked.clone());
        actors.spawn(actor.lives(share, A_DAY / share));
    }
    let stranger = scene.arrives("stranger", "phone").await?;
    let mut courier = Courier::new(&scene, &users[0]).await?;
    for kill in KILLS {
        let reached = timeout(PATIENCE, progress.wait_for(|it| *it >= kill)).await;
        reached.with_context(|| format!("{kill} receipts were waited for"))??;
        courier.sends().await?;
        scene.crash(Part::Core).await?;
        courier.sends_again().await?;
        for group in &groups {
            let refused = stranger.saying(Target::conversation(group), "let me in");
            ensure!(refusal(refused.await)? == "CONVERSATION_NOT_FOUND");
        }
    }
    let (mut people, mut recalls): (Vec<Person>, u64) = (vec![stranger], 0);
    while let Some(lived) = actors.join_next().await {
        let lived = lived??;
        people.extend(lived.devices);
        recalls += lived.recalls;
    }
    let sent = *progress.borrow();
    ensure!(
        sent == u64::from(MESSAGES) + recalls,
        "{sent} receipts for {MESSAGES} messages and {recalls} recalls"
    );
    let minimums = Minimums {
        acks: sent + 2 * KILLS.len() as u64,
        refusals: (KILLS.len() * GROUPS) as u64,
        retries: 2,
        duplicates: KILLS.len() as u64,
        deliveries: 5 * u64::from(MESSAGES),
        syncs: 200,
        restarts: KILLS.len() as u64,
        beside: Counts {
            clients: 63,
            conversations: (DIRECT + GROUPS + 1) as u64,
            intents: u64::from(MESSAGES),
            connections: 200,
            disconnections: 130,
            recalls: 100,
            joins: (GROUPS * GROUP_MEMBERS) as u64,
            ends: (2 * DIRECT * DEVICES.len() + GROUPS * GROUP_MEMBERS * DEVICES.len()) as u64,
            server_events: u64::from(MESSAGES),
            ..Counts::default()
        },
    };
    scene.ends(people, minimums).await
}
