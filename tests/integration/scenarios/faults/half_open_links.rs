//! The way to a server is dead, and nobody was told.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep_until};

use super::{registry::Registry, stand::Stand};
use crate::{arguments::Arguments, network::PROXIED, scene::Scene};

/// Longer than a statement may take of PostgreSQL, and than a silent stream of etcd is believed in.
const FOR: Duration = Duration::from_secs(12);

/// Connections to PostgreSQL, Redis and etcd in turn stay open under load, and carry nothing for a while: all goes on, at once or afterwards.
pub(crate) async fn half_open_links(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut stand = Stand::takes("half_open_links", &mut scene).await?;
    for server in PROXIED {
        let network = scene.network()?;
        let dead = async {
            let registry = Registry::look(&scene).await?;
            let way = network.to(server)?;
            way.falls_silent().await?;
            let begun = Instant::now();
            let silence = network.asks(server).await;
            ensure!(silence.is_err(), "{server} answers by a dead way");
            sleep_until(begun + FOR).await;
            way.heals().await?;
            let after = network.asks(server).await?;
            let bit = format!("it let nobody hear, and then answered after {after:.1?}");
            registry.sees(&scene, server, FOR, bit).await
        };
        let fault = format!("the way to {server} dead for {} s", FOR.as_secs());
        stand.bears(&fault, arguments, dead).await?;
    }
    stand.ends(scene, 0).await
}
