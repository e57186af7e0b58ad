//! People who write in every partition of the log, and stand for all who do.

use std::time::Duration;

use anyhow::Context;
use flare_checker::Counts;
use flare_core_sdk::Target;
use flare_proto::message::HistoryVisibility;
use flare_storage_model::direct_conversation_id;

use super::{super::load::Load, outage::Outage};
use crate::{
    deployment::Deployment, judge::Minimums, person::Person, recorder::Repeats, scene::Scene,
};

const TENANT: &str = "default";
/// From one message of a writer to his next.
const EVERY: Duration = Duration::from_millis(100);
/// Receipts of each writer that tell that all goes on: more than were under way.
const ENOUGH: u64 = 16;

/// A chain of people: each writes to the next, and each of these conversations is in another partition. The first and the last write to a group of all.
pub(super) struct Town {
    people: Vec<Person>,
    load: Load,
    newcomers: u64,
    marked: Marked,
}

#[derive(Clone, Copy, Debug)]
struct Marked {
    acked: u64,
    repeats: Repeats,
}

impl Town {
    /// All come online, behind an entrance that leads to every gateway, and begin to write.
    pub(super) async fn settles(scene: &mut Scene) -> anyhow::Result<Self> {
        scene.opens_entrance().await?;
        let names = chain();
        let mut people = Vec::new();
        for name in &names {
            people.push(scene.arrives(name, "phone").await?);
        }
        let [first, others @ ..] = people.as_slice() else {
            anyhow::bail!("nobody lives here");
        };
        let last = others.last().context("one alone")?;
        let members: Vec<&str> = others.iter().map(Person::user).collect();
        let all = HistoryVisibility::All;
        let group = first.create_group("Town", &members, all).await?;
        let mut load = Load::new();
        for (writer, reader) in people.iter().zip(others) {
            let target = Target::user(reader.user());
            load.add_paced(writer.client(), target, writer.user(), EVERY);
        }
        for writer in [first, last] {
            let (target, name) = (
                Target::conversation(&group),
                format!("{} to all", writer.user()),
            );
            load.add_paced(writer.client(), target, &name, EVERY);
        }
        let mut town = Self {
            people,
            load,
            newcomers: 0,
            marked: Marked {
                acked: 0,
                repeats: Repeats::default(),
            },
        };
        town.goes_on().await?;
        Ok(town)
    }

    /// Waits until each writer has so many more receipts that all is well.
    pub(super) async fn goes_on(&mut self) -> anyhow::Result<()> {
        self.load.goes_on(ENOUGH).await
    }

    /// What comes now is counted.
    pub(super) fn mark(&mut self) {
        self.marked = self.sum();
        self.load.mark();
    }

    /// What there was since the mark.
    pub(super) fn outage(&self) -> Outage {
        let (before, now) = (self.marked, self.sum());
        Outage {
            acked: now.acked - before.acked,
            silence: self.load.longest_silence(),
            resent: now.repeats.resent - before.repeats.resent,
            refused: now.repeats.refused - before.repeats.refused,
        }
    }

    fn sum(&self) -> Marked {
        let mut repeats = Repeats::default();
        for own in self.people.iter().map(Person::repeats) {
            repeats.resent += own.resent;
            repeats.refused += own.refused;
        }
        Marked {
            acked: self.load.receipts().iter().sum(),
            repeats,
        }
    }

    /// Somebody comes who was never there, and says something; he is heard, and a backend reads what he said.
    pub(super) async fn takes_in(&mut self, scene: &Scene) -> anyhow::Result<()> {
        self.newcomers += 1;
        let newcomer = scene
            .arrives(&format!("newcomer-{}", self.newcomers), "phone")
            .await?;
        let first = self.people.first().context("nobody lives here")?;
        let said = newcomer.tell(first.user(), "good day").await?;
        first.hears(&said.conversation_id, "good day").await?;
        scene
            .backend()
            .read(&said.conversation_id, said.seq)
            .await?;
        self.people.push(newcomer);
        Ok(())
    }

    /// Somebody who came by himself stays to the end.
    pub(super) fn joins(&mut self, person: Person) {
        self.people.push(person);
    }

    /// The judge's word on all that was, with so many starts of processes.
    pub(super) async fn ends(self, scene: Scene, restarts: u64) -> anyhow::Result<()> {
        let acked = self.load.ends().await?;
        let partitions = u64::from(Deployment::PARTITIONS);
        let minimums = Minimums {
            acks: acked + self.newcomers,
            refusals: 0,
            retries: 0,
            duplicates: 0,
            deliveries: acked + self.newcomers,
            syncs: 0,
            restarts,
            beside: Counts {
                clients: partitions + 1 + self.newcomers,
                conversations: partitions + 1 + self.newcomers,
                ends: 3 * partitions + 1 + 2 * self.newcomers,
                server_events: acked + self.newcomers,
                ..Counts::default()
            },
        };
        scene.ends(self.people, minimums).await
    }
}

/// Names of which each two neighbours' conversation is in the next partition.
fn chain() -> Vec<String> {
    let mut names = vec!["p".to_owned()];
    for partition in 0..Deployment::PARTITIONS {
        let before = names.last().cloned().unwrap_or_default();
        let named = (0..).map(|it| format!("p{partition}-{it}"));
        let next = named.into_iter().find(|it| {
            let conversation = direct_conversation_id(TENANT, &before, it);
            Deployment::partition_of(&conversation) == partition
        });
        names.extend(next);
    }
    names
}
