//! Redis loses what it held.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, interval, sleep_until};

use super::stand::{Seen, Stand};
use crate::{
    arguments::Arguments,
    infra::{Infra, Server},
    person::SOON,
    redis,
    scene::Scene,
};

/// How often processes have seen that Redis is another than before, or empty.
const LOSSES: &str = "flare_redis_losses_total";
const AWAY: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// Redis is flushed, and then killed and started again empty: sends go on, gateways write presence anew, and everybody is reached again.
pub(crate) async fn redis_lost(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let infra = Infra::find()?;
    let mut stand = Stand::takes("redis_lost", &mut scene).await?;
    let flushed = async {
        let present = Presence::look(&scene).await?;
        ensure!(present.users > 0, "nobody is present before the fault");
        redis::flush(&scene.server.servers()?.redis).await?;
        present.is_written_again(&scene, Duration::ZERO).await
    };
    stand.bears("Redis flushed", arguments, flushed).await?;
    let killed = async {
        let present = Presence::look(&scene).await?;
        infra.kill(Server::Redis).await?;
        sleep_until(Instant::now() + AWAY).await;
        infra.comes_back(Server::Redis).await?;
        present.is_written_again(&scene, AWAY).await
    };
    let fault = format!("Redis killed, away for {} s", AWAY.as_secs());
    stand.bears(&fault, arguments, killed).await?;
    stand.ends(scene, 0).await
}

/// What Redis holds of who is online, and how often the deployment's processes have seen it lost.
struct Presence {
    users: u64,
    losses: f64,
}

impl Presence {
    async fn look(scene: &Scene) -> anyhow::Result<Self> {
        let servers = scene.server.servers()?;
        let pattern = format!("{{{}}}:presence:user:*", servers.name);
        let mut losses = 0.0;
        for part in scene.server.parts() {
            losses += scene.server.metric_of(*part, &[LOSSES]).await?;
        }
        Ok(Self {
            users: redis::count(&servers.redis, &pattern).await?,
            losses,
        })
    }

    /// Waits until the loss was seen and as many are there as before.
    async fn is_written_again(&self, scene: &Scene, unheard: Duration) -> anyhow::Result<Seen> {
        let begun = Instant::now();
        let mut turns = interval(POLL);
        loop {
            turns.tick().await;
            let now = Self::look(scene).await?;
            let losses = now.losses - self.losses;
            if losses > 0.0 && now.users >= self.users {
                let bit = format!(
                    "{losses} processes saw the loss, {} users were present again after {:.1} s",
                    now.users,
                    begun.elapsed().as_secs_f64()
                );
                return Ok(Seen { unheard, bit });
            }
            ensure!(
                begun.elapsed() < SOON,
                "{} of {} users are present, {losses} losses were seen",
                now.users,
                self.users,
            );
        }
    }
}
