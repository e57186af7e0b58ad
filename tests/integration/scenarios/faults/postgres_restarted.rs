//! PostgreSQL goes and comes.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::stand::{Seen, Stand};
use crate::{
    arguments::Arguments,
    infra::{Infra, Server},
    scene::Scene,
};

const AWAY: Duration = Duration::from_secs(5);

/// PostgreSQL is stopped in order, and then killed, and comes back each time: what was acked meanwhile is stored then, and delivered.
pub(crate) async fn postgres_restarted(
    mut scene: Scene,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let infra = Infra::find()?;
    let mut stand = Stand::takes("postgres_restarted", &mut scene).await?;
    for how in ["stopped", "killed"] {
        let restarted = async {
            match how {
                "stopped" => infra.stop(Server::Postgres).await?,
                _ => infra.kill(Server::Postgres).await?,
            }
            sleep_until(Instant::now() + AWAY).await;
            infra.comes_back(Server::Postgres).await?;
            anyhow::Ok(Seen {
                unheard: AWAY,
                bit: "nothing was stored, nor delivered".to_owned(),
            })
        };
        let fault = format!("PostgreSQL {how}, away for {} s", AWAY.as_secs());
        stand.bears(&fault, arguments, restarted).await?;
    }
    stand.ends(scene, 0).await
}
