//! The way to a server is slow.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep_until};

use super::stand::{Seen, Stand};
use crate::{arguments::Arguments, infra::Server, network::PROXIED, scene::Scene};

/// Each way.
const LATENCY: Duration = Duration::from_millis(100);
const JITTER: Duration = Duration::from_millis(30);
const FOR: Duration = Duration::from_secs(6);

/// 100 ms each way, more or less, to PostgreSQL, Redis and etcd in turn, under load: all goes on, and slowly where it must.
pub(crate) async fn slow_links(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut stand = Stand::takes("slow_links", &mut scene).await?;
    for server in PROXIED {
        let network = scene.network()?;
        let slow = async {
            let way = network.to(server)?;
            let before = network.asks(server).await?;
            way.slows(LATENCY, JITTER).await?;
            let after = network.asks(server).await?;
            ensure!(
                after >= 2 * (LATENCY - JITTER),
                "{server} answers after {after:?} by a slow way"
            );
            sleep_until(Instant::now() + FOR).await;
            way.heals().await?;
            let unheard = match server {
                // Nothing that is said waits for it.
                Server::Etcd => Duration::ZERO,
                _ => LATENCY,
            };
            let bit = format!("it answers after {after:.1?} instead of {before:.1?}");
            anyhow::Ok(Seen { unheard, bit })
        };
        let fault = format!("a slow way to {server}");
        stand.bears(&fault, arguments, slow).await?;
    }
    stand.ends(scene, 0).await
}
