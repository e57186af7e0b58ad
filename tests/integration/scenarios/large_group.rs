//! A large conversation: many members, some of them online, few of them looking at it.

use anyhow::{Context, ensure};
use flare_checker::Counts;
use flare_core_sdk::{Target, Via};
use flare_proto::message::{ConversationClass, EventKind, HistoryVisibility};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::reading::inbox_shows;
use crate::{
    arguments::Arguments, deployment::Part, judge::Minimums, person::Person, scene::Needs,
    scene::Scene,
};

/// Hints follow each other more closely than in the field, so that nobody waits for them.
pub(crate) const CLOSE_HINTS: &Needs = &Needs {
    settings: &["access_gateway.head_hint_ms=1000"],
    ..Needs::NONE
};
const HINT_MS: u128 = 1_000;
/// Who may join by one change.
const AT_ONCE: usize = 1_000;
/// Of the group while it is none but a group.
const EARLY: usize = 400;
/// Online from before it becomes large; the others come with the last who join.
const EARLY_ONLINE: usize = 20;
/// One in so many looks at it.
const VIEWER_IN: usize = 10;
/// Clients that arrive at a time.
const ARRIVALS: usize = 16;
/// Messages that are counted.
const COUNTED: usize = 100;
const REMOVED: usize = 4;

/// Who is online in the group, by turns one who looks at it and many who do not.
struct Hall {
    id: String,
    olga: Person,
    viewers: Vec<Person>,
    others: Vec<Person>,
    /// Who was removed.
    gone: Vec<Person>,
    /// Messages so far.
    said: usize,
}

impl Hall {
    async fn says(&mut self, text: &str) -> anyhow::Result<u64> {
        self.said += 1;
        Ok(self.olga.post(&self.id, text).await?.seq)
    }

    /// Waits until every member has read up to there, however it came to him.
    async fn all_read(&self, seq: u64) -> anyhow::Result<()> {
        let all = self.viewers.iter().chain(&self.others);
        for person in all {
            person.reads_to(&self.id, seq).await?;
        }
        Ok(())
    }
}

/// A group grows large; whoever looks at it gets its events, the others are hinted at them, each gateway gets each event once, and nobody who was removed gets more.
pub(crate) async fn large_group(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let (members, online) = (arguments.members, arguments.clients);
    ensure!(
        online > EARLY_ONLINE && members >= EARLY + AT_ONCE + online,
        "{members} members with {online} online are no large group"
    );
    let begun = Instant::now();
    let mut hall = grows(&scene, members, online).await?;
    eprintln!(
        "{members} members, {online} online, after {:?}",
        begun.elapsed()
    );
    counts(&scene, &mut hall).await?;
    removes(&mut hall).await?;
    is_exact(&scene, &mut hall).await?;

    // What route and push-server knew is lost; embedded, all is.
    scene.crash(Part::Core).await?;
    let after = hall.says("after the crash").await?;
    hall.all_read(after).await?;
    hall.olga.reads_to(&hall.id, after).await?;
    eprintln!("judged after {:?}", begun.elapsed());

    let said = hall.said as u64;
    let mut people = hall.viewers;
    people.extend(hall.others);
    people.extend(hall.gone);
    let readers = people.len() as u64;
    people.push(hall.olga);
    let minimums = Minimums {
        acks: said,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: said * (readers / VIEWER_IN as u64),
        syncs: readers,
        restarts: 1,
        beside: Counts {
            clients: readers + 2,
            joins: members as u64,
            removals: REMOVED as u64,
            ends: readers - REMOVED as u64,
            ..Counts::default()
        },
    };
    scene.ends(people, minimums).await
}

/// The group is made, and grows by a thousand at a time while its owner goes on writing.
async fn grows(scene: &Scene, members: usize, online: usize) -> anyhow::Result<Hall> {
    let names: Vec<String> = (0..online - 1)
        .map(|it| format!("online-{it:03}"))
        .collect();
    scene.server.make_tokens(&names).await?;
    let olga = scene.arrives("olga", "phone").await?;
    let arriving =
        stream::iter(names.clone()).map(async |name: String| scene.arrives(&name, "phone").await);
    let mut people: Vec<Person> = arriving.buffered(ARRIVALS).try_collect().await?;

    let (early, late) = names.split_at(EARLY_ONLINE);
    let offline: Vec<String> = (0..members - online)
        .map(|it| format!("member-{it:05}"))
        .collect();
    let (first, rest) = offline.split_at(EARLY - EARLY_ONLINE - 1);
    let of_the_first: Vec<&str> = early.iter().chain(first).map(String::as_str).collect();
    let id = olga
        .create_group("Hall", &of_the_first, HistoryVisibility::SinceJoin)
        .await?;
    let mut hall = Hall {
        id,
        olga,
        viewers: Vec::new(),
        others: Vec::new(),
        gone: Vec::new(),
        said: 0,
    };
    let small = hall.says("still a group").await?;
    for (number, person) in people.iter().take(EARLY_ONLINE).enumerate() {
        person.reads_to(&hall.id, small).await?;
        if number % VIEWER_IN == 0 {
            person.client().view(hall.id.clone(), true).await;
        }
    }
    // Whoever is online comes with the last of them.
    let (middle, last) = rest.split_at(rest.len().saturating_sub(AT_ONCE - late.len()));
    let mut batches: Vec<Vec<String>> = middle.chunks(AT_ONCE).map(<[_]>::to_vec).collect();
    batches.push(last.iter().chain(late).cloned().collect());
    for batch in batches {
        hall.olga.client().add_members(&hall.id, batch).await?;
        hall.says("welcome").await?;
    }
    let made = hall.olga.client().conversation(&hall.id).await?;
    let made = made
        .conversation
        .context("a group without a conversation")?;
    ensure!(
        made.class() == ConversationClass::Large && made.member_count as usize == members,
        "{:?} with {} members",
        made.class(),
        made.member_count
    );
    for (number, person) in people.drain(..).enumerate() {
        if number % VIEWER_IN == 0 {
            person.client().view(hall.id.clone(), true).await;
            hall.viewers.push(person);
        } else {
            hall.others.push(person);
        }
    }
    let large = hall.says("large by now").await?;
    hall.all_read(large).await?;
    Ok(hall)
}

/// One message a gateway and event; who looks gets the event, nobody else does, and the others are told now and then.
async fn counts(scene: &Scene, hall: &mut Hall) -> anyhow::Result<()> {
    let counted = async |part, name: &str| -> anyhow::Result<f64> {
        scene.server.metric_of(part, &[name]).await
    };
    let sampled = async || -> anyhow::Result<[f64; 4]> {
        Ok([
            counted(Part::Core, "flare_push_large_events_total").await?,
            counted(Part::Core, "flare_push_large_messages_total").await?,
            counted(Part::Edge, "flare_access_gateway_large_events_total").await?,
            counted(Part::Edge, "flare_access_gateway_head_hints_total").await?,
        ])
    };
    let before = sampled().await?;
    let begun = Instant::now();
    let mut first = 0;
    let sending: Vec<_> = (0..COUNTED)
        .map(|it| {
            let target = Target::conversation(&hall.id);
            hall.olga.saying(target, &format!("counted {it}"))
        })
        .collect();
    let mut last = 0;
    for sent in sending {
        last = sent.await?.seq;
        first = if first == 0 { last } else { first };
    }
    hall.said += COUNTED;
    hall.all_read(last).await?;
    let took = begun.elapsed();
    let after = sampled().await?;
    let [events, messages, at_gateway, hints] =
        std::array::from_fn(|it| (after[it] - before[it]).round() as usize);
    // Members are at all of them.
    let gateways = scene.server.urls().len();
    let told = COUNTED * gateways;
    ensure!(
        (events, messages, at_gateway) == (COUNTED, told, told),
        "{COUNTED} events went to {gateways} gateways as {events} in {messages} messages, and came as {at_gateway}"
    );
    let pauses = usize::try_from(took.as_millis() / HINT_MS)?;
    let most = (hall.others.len() + 1) * (pauses + 2);
    ensure!(
        (hall.others.len()..=most).contains(&hints),
        "{hints} hints in {took:?} for {} who do not look",
        hall.others.len()
    );
    let pushed = |person: &Person| {
        person.look(|view| {
            let range = view.events_of(&hall.id);
            range
                .filter(|(seq, it)| (first..=last).contains(seq) && it.via == Via::Deliver)
                .count()
        })
    };
    for person in &hall.viewers {
        let got = pushed(person);
        ensure!(got == COUNTED, "{} looks, and got {got}", person.user());
    }
    for person in &hall.others {
        let got = pushed(person);
        ensure!(got == 0, "{} does not look, and got {got}", person.user());
    }
    Ok(())
}

/// Some are removed while messages come, by turns one who looks and one who does not: that is the last that they get.
async fn removes(hall: &mut Hall) -> anyhow::Result<()> {
    for round in 0..REMOVED {
        let from = match round % 2 {
            0 => &mut hall.viewers,
            _ => &mut hall.others,
        };
        let person = from.pop().context("nobody is there")?;
        let user = person.user().to_owned();
        let flood: Vec<_> = (0..20)
            .map(|it| {
                let target = Target::conversation(&hall.id);
                hall.olga.saying(target, &format!("flood {round}.{it}"))
            })
            .collect();
        hall.said += flood.len();
        let removed = hall.olga.client().remove_member(&hall.id, &user).await?;
        for sent in flood {
            sent.await?;
        }
        let after = hall.says(&format!("{user} is gone")).await?;
        person
            .sees("his removal", |view| {
                let event = view.events.get(&hall.id)?.get(&removed)?;
                (event.kind == EventKind::MemberRemoved).then_some(())
            })
            .await?;
        // By then it has come to everybody to whom it comes.
        hall.all_read(after).await?;
        let last = person.look(|view| view.events_of(&hall.id).last().map(|(seq, _)| seq));
        ensure!(
            last == Some(removed),
            "{user} was removed at {removed}, and has {last:?}"
        );
        hall.gone.push(person);
    }
    Ok(())
}

/// What is unread is counted by the head alone: for who is online, and for who comes for the first time.
async fn is_exact(scene: &Scene, hall: &mut Hall) -> anyhow::Result<()> {
    let last = hall.says("how much is unread?").await?;
    let ordinal = hall.said as u64;
    // Joined from the beginning on, and read nothing since.
    let member = scene.arrives("member-00000", "phone").await?;
    let entry = inbox_shows(&member, &hall.id, "all unread", |it| it.head_seq >= last).await?;
    ensure!(
        entry.unread_count == ordinal,
        "{} unread of {ordinal}",
        entry.unread_count
    );
    member.reads_to(&hall.id, last).await?;
    let marked = member.client().mark_read(&hall.id, last).await?;
    ensure!(marked.unread_count == 0, "{marked:?}");
    let after = hall.says("one more").await?;
    inbox_shows(&member, &hall.id, "one unread", |it| {
        it.head_seq >= after && it.unread_count == 1
    })
    .await?;
    let other = hall.others.first().context("nobody is there")?;
    let marked = other.client().mark_read(&hall.id, last).await?;
    ensure!(marked.unread_count == 1, "{marked:?}");
    hall.others.push(member);
    Ok(())
}
