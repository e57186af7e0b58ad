//! The way to a server is cut.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep_until};

use super::{
    registry::Registry,
    stand::{Seen, Stand},
};
use crate::{arguments::Arguments, infra::Server, network::PROXIED, scene::Scene};

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
            if server == Server::Etcd {
                // Whoever is known is found without it.
                let bit = format!("{bit}; {}", registry.is_missed(&scene).await?);
                let unheard = Duration::ZERO;
                return Ok(Seen { unheard, bit });
            }
            let unheard = FOR;
            anyhow::Ok(Seen { unheard, bit })
        };
        let fault = format!("the way to {server} cut for {} s", FOR.as_secs());
        stand.bears(&fault, arguments, cut).await?;
    }
    stand.ends(scene, 0).await
}
