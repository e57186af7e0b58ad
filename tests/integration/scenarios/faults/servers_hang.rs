//! A server stands still.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{registry::Registry, stand::Stand};
use crate::{
    arguments::Arguments,
    infra::{Infra, Server},
    scene::Scene,
};

/// Long enough that whoever waits for it gives up what he asked; with one node of Kafka, nothing is acked.
const FOR: Duration = Duration::from_secs(12);
/// Kafka last: for half a minute after it, owners look for ids that they do not know in PostgreSQL.
const ALL: [Server; 4] = [Server::Postgres, Server::Redis, Server::Etcd, Server::Kafka];

/// SIGSTOP of PostgreSQL, Redis, etcd and Kafka in turn, with all their processes, and SIGCONT after a while: all goes on afterwards.
pub(crate) async fn servers_hang(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let infra = Infra::find()?;
    let mut stand = Stand::takes("servers_hang", &mut scene).await?;
    for server in ALL {
        let hangs = async {
            let registry = Registry::look(&scene).await?;
            infra.pause(server).await?;
            let until = Instant::now() + FOR;
            sleep_until(until).await;
            infra.comes_back(server).await?;
            let bit = "all its processes stood still".to_owned();
            registry.sees(&scene, server, FOR, bit).await
        };
        let fault = format!("{server} hangs for {} s", FOR.as_secs());
        stand.bears(&fault, arguments, hangs).await?;
    }
    stand.ends(scene, 0).await
}
