//! What processes of a cluster do about a registry that they do not reach.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, interval};

use super::stand::Seen;
use crate::{infra::Server, person::SOON, scene::Scene};

/// How often a process has begun to read the registry anew.
const RESYNCS: &str = "flare_registry_resyncs_total";
const POLL: Duration = Duration::from_millis(100);

/// How often all processes together had begun to read it anew, at a moment.
pub(super) struct Registry {
    resyncs: f64,
}

impl Registry {
    /// By now.
    pub(super) async fn look(scene: &Scene) -> anyhow::Result<Self> {
        let mut resyncs = 0.0;
        for part in scene.server.parts() {
            resyncs += scene.server.metric_of(*part, &[RESYNCS]).await?;
        }
        Ok(Self { resyncs })
    }

    /// What shows that a server was away for so long: nobody was heard meanwhile, but that whoever is known is found without etcd.
    pub(super) async fn sees(
        &self,
        scene: &Scene,
        server: Server,
        lasted: Duration,
        bit: String,
    ) -> anyhow::Result<Seen> {
        if server != Server::Etcd {
            let unheard = lasted;
            return Ok(Seen { unheard, bit });
        }
        let missed = self.is_missed(scene).await?;
        Ok(Seen {
            unheard: Duration::ZERO,
            bit: format!("{bit}; {missed}"),
        })
    }

    /// Waits until somebody has done so since then: it was missed. In words.
    pub(super) async fn is_missed(&self, scene: &Scene) -> anyhow::Result<String> {
        let begun = Instant::now();
        let mut turns = interval(POLL);
        loop {
            turns.tick().await;
            let more = Self::look(scene).await?.resyncs - self.resyncs;
            if more > 0.0 {
                return Ok(format!(
                    "processes began {more} times to read the registry again"
                ));
            }
            ensure!(begun.elapsed() < SOON, "nobody missed the registry");
        }
    }
}
