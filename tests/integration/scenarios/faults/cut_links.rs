//! The way to a server is cut.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep_until};

use super::{registry::Registry, stand::Stand};
use crate::{arguments::Arguments, network::PROXIED, scene::Scene};

const FOR: Duration = Duration::from_secs(6);

/// All connections to PostgreSQL, Redis and etcd in turn end under load, and none is let in for a while: all goes on, at once or afterwards.
pub(crate) async fn cut_links(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut stand = Stand::takes("cut_links", &mut scene).await?;
    for server in PROXIED {
        let network = scene.network()?;
        let cut = async {
            let registry = Registry::look(&scene).await?;
            let way = network.to(server)?;
            way.is_cut().await?;
            let refused = network.asks(server).await;
            ensure!(refused.is_err(), "{server} answers by a way that is cut");
            sleep_until(Instant::now() + FOR).await;
            way.heals().await?;
            let after = network.asks(server).await?;
            let bit = format!("it was not reached, and then answered after {after:.1?}");
            registry.sees(&scene, server, FOR, bit).await
        };
        let fault = format!("the way to {server} cut for {} s", FOR.as_secs());
        stand.bears(&fault, arguments, cut).await?;
    }
    stand.ends(scene, 0).await
}
