//! The partitions that a process owns, and who has them after it.

use anyhow::ensure;

use crate::{deployment::Owned, scene::Scene};

/// What a process owned at a moment.
pub(super) struct Holdings {
    owner: String,
    owned: Vec<Owned>,
}

impl Holdings {
    /// Of a process, once it owns something.
    pub(super) async fn of(scene: &Scene, owner: &str) -> anyhow::Result<Self> {
        let what = format!("{owner} as an owner");
        let all = scene
            .server
            .owners_when(&what, |it| it.values().any(|it| it.process == owner))
            .await?;
        Ok(Self {
            owner: owner.to_owned(),
            owned: all.into_values().filter(|it| it.process == owner).collect(),
        })
    }

    /// Waits until somebody else owns all of it, each partition by a later epoch; in words.
    pub(super) async fn taken_by_others(&self, scene: &Scene) -> anyhow::Result<String> {
        let Self { owner, owned } = self;
        let what = format!("another owner of what {owner} had");
        let now = scene
            .server
            .owners_when(&what, |it| it.values().all(|it| it.process != *owner))
            .await?;
        for before in owned {
            let after = now.get(&before.partition);
            ensure!(
                after.is_some_and(|it| it.epoch > before.epoch),
                "{before:?} was taken without a later epoch: {after:?}"
            );
        }
        Ok(format!("{} partitions owned by later epochs", owned.len()))
    }
}
