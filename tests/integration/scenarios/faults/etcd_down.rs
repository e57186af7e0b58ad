//! etcd is away.

use std::time::Duration;

use anyhow::{Context, ensure};
use flare_server_core::registry::service;
use tokio::time::{Instant, interval, sleep_until};

use super::{
    registry::Registry,
    stand::{Seen, Stand},
};
use crate::{
    arguments::Arguments,
    deployment::{Deployment, Servers},
    etcd,
    infra::{Infra, Server},
    person::SOON,
    scene::Scene,
};

/// Longer than a lease in it, `etcd.lease_s`.
const AWAY: Duration = Duration::from_secs(15);
/// With `--campaign`.
const LONG_AWAY: Duration = Duration::from_secs(30);
/// Nobody is to feel it; the rest is for a debug build on a machine that everything shares.
const UNFELT: Duration = Duration::from_secs(6);
/// People who come while a process is there that knows nobody: some of them get to it.
const LATE: usize = 6;
const POLL: Duration = Duration::from_millis(100);

/// etcd is killed under load and comes back after a while: sends and deliveries go on by what is known of each other, a process that begins meanwhile says
/// why it is not found, and is found afterwards.
pub(crate) async fn etcd_down(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let infra = Infra::find()?;
    let away = if arguments.campaign { LONG_AWAY } else { AWAY };
    let mut stand = Stand::takes("etcd_down", &mut scene).await?;
    let newcomer = first_of(&scene.server, service::SESSION)?;
    let servers = scene.server.servers()?.clone();
    let registered = Counted::Entries.look(&servers).await?;
    let gone = async {
        let before = Registry::look(&scene).await?;
        infra.kill(Server::Etcd).await?;
        let until = Instant::now() + away;
        sleep_until(until).await;
        infra.comes_back(Server::Etcd).await?;
        let back = Instant::now();
        Counted::Entries.reaches(&servers, registered).await?;
        let bit = format!(
            "{}; it knew all {registered} entries {:.1} s after the start of etcd",
            before.is_missed(&scene).await?,
            back.elapsed().as_secs_f64()
        );
        let unheard = Duration::ZERO;
        anyhow::Ok(Seen { unheard, bit })
    };
    let fault = format!("etcd killed, away for {} s", away.as_secs());
    stand.bears(&fault, arguments, gone).await?;
    stand.town.outage().demand(UNFELT)?;

    let endpoint = scene.server.addresses_of(&newcomer)?.peer;
    let endpoint = endpoint.context("it is not reached by others")?;
    let key = format!(
        "{}/services/{}/http://{endpoint}",
        servers.name,
        service::SESSION
    );
    let entry = Counted::Revision(&key);
    let before = entry.look(&servers).await?;
    ensure!(before > 0, "{key} is not in the registry");
    let mut late = Vec::new();
    let begins = async {
        scene.server.kill9_of(&newcomer).await?;
        infra.kill(Server::Etcd).await?;
        let begun = Instant::now();
        let said = scene.log_of(&newcomer)?.len();
        scene.brings_back(&newcomer).await?;
        let log = scene.log_of(&newcomer)?;
        let own = log.get(said..).unwrap_or_default();
        ensure!(
            own.contains("registry did not record") || own.contains("etcd at"),
            "{newcomer} began without etcd, and says nothing of it:\n{own}"
        );
        let after = begun.elapsed().as_secs_f64();
        for number in 0..LATE {
            let person = scene.arrives(&format!("late-{number}"), "phone").await?;
            person.tell("p", "good evening").await?;
            late.push(person);
        }
        let served = begun.elapsed().as_secs_f64() - after;
        infra.comes_back(Server::Etcd).await?;
        entry.reaches(&servers, before + 1).await?;
        let bit = format!(
            "{newcomer} served after {after:.1} s, said that it is not registered, and was when etcd was back; {LATE} people came meanwhile, and were served within {served:.1} s"
        );
        let unheard = Duration::ZERO;
        anyhow::Ok(Seen { unheard, bit })
    };
    let fault = format!("{newcomer} begins while etcd is away");
    stand.bears(&fault, arguments, begins).await?;
    for person in late {
        stand.town.joins(person);
    }
    stand.ends(scene, 1).await
}

fn first_of(server: &Deployment, service: &str) -> anyhow::Result<String> {
    let first = server.processes_of(service).into_iter().next();
    first.with_context(|| format!("no {service} runs"))
}

/// What stands in the registry.
enum Counted<'a> {
    /// Entries of the deployment.
    Entries,
    /// The revision of one of them: one that was left behind is written anew.
    Revision(&'a str),
}

impl Counted<'_> {
    async fn look(&self, servers: &Servers) -> anyhow::Result<u64> {
        let (etcd, name) = (&servers.etcd, &servers.name);
        match self {
            Self::Entries => etcd::count(etcd, &format!("{name}/services/")).await,
            Self::Revision(key) => etcd::revision(etcd, key).await,
        }
    }

    /// Waits until it is as much.
    async fn reaches(&self, servers: &Servers, least: u64) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut turns = interval(POLL);
        loop {
            turns.tick().await;
            let now = self.look(servers).await?;
            if now >= least {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < SOON,
                "the registry has {now} after {SOON:?}, and {least} are waited for"
            );
        }
    }
}
