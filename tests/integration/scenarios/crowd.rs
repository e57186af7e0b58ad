//! Many devices that do nothing but be there.

use std::time::Duration;

use anyhow::{Context, ensure};
use flare_core_sdk::{Client, Event};
use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::pair::share;
use crate::{cable::Cable, person::Device, scene::Scene};

/// Of one user.
const DEVICES: usize = 10;
/// Sockets of a client: its own, and the cable's two ends.
const SOCKETS: usize = 3;
/// For everything else.
const OTHER_FILES: usize = 500;
/// Clients that connect at once when they come for the first time.
const AT_ONCE: usize = 100;
/// All are back in so much, and so much for each: of a debug build on two cores, which the clients have, too.
const BACK_WITHIN: Duration = Duration::from_secs(15);
const BACK_EACH: Duration = Duration::from_millis(15);

/// How long those took who came back.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Back {
    pub(super) p50_s: f64,
    pub(super) p99_s: f64,
    pub(super) last_s: f64,
}

/// As many as there may be open files for; fewer than asked for are named.
pub(super) fn affordable(asked: usize) -> anyhow::Result<usize> {
    let wanted = u64::try_from(asked * SOCKETS + OTHER_FILES)?;
    let limit = usize::try_from(rlimit::increase_nofile_limit(wanted)?)?;
    let clients = asked.min(limit.saturating_sub(OTHER_FILES) / SOCKETS);
    if clients < asked {
        eprintln!("{limit} open files are allowed: {clients} clients instead of {asked}");
    }
    ensure!(clients >= 100, "{clients} clients are no crowd");
    Ok(clients)
}

/// Many devices that do nothing but be there.
pub(super) struct Crowd {
    clients: Vec<Client>,
    /// How often each was connected and in step, and when it was last.
    present: Vec<watch::Receiver<(u64, Instant)>>,
    /// All are to be back by then after they were cut off.
    within: Duration,
}

impl Crowd {
    /// So many come online, all over this cable.
    pub(super) async fn gather(scene: &Scene, cable: &Cable, size: usize) -> anyhow::Result<Self> {
        let mut crowd = Self {
            clients: Vec::new(),
            present: Vec::new(),
            within: BACK_WITHIN + BACK_EACH * u32::try_from(size)?,
        };
        for number in 0..size {
            let (user, device) = (number / DEVICES, number % DEVICES);
            let mut device = scene
                .device(&format!("crowd-{user}"), &format!("device-{device}"))
                .await?;
            cable.url().clone_into(&mut device.url);
            crowd.add(&device);
            if number % AT_ONCE == AT_ONCE - 1 {
                crowd.all(1).await?;
            }
        }
        crowd.all(1).await?;
        Ok(crowd)
    }

    fn add(&mut self, device: &Device) {
        let (client, mut events) = Client::connect(device.options());
        let (sender, present) = watch::channel((0, Instant::now()));
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if matches!(event, Event::InboxSynced) {
                    sender.send_modify(|it| *it = (it.0 + 1, Instant::now()));
                }
            }
        });
        self.clients.push(client);
        self.present.push(present);
    }

    /// Waits until all have been cut off and are back; `times` in all. How long it took them.
    pub(super) async fn comes_back(&self, times: u64) -> anyhow::Result<Back> {
        let begun = Instant::now();
        let since: Vec<Duration> = self
            .all(times + 1)
            .await?
            .into_iter()
            .map(|it| it.saturating_duration_since(begun))
            .collect();
        Ok(Back {
            p50_s: share(&since, 0.5) / 1_000.0,
            p99_s: share(&since, 0.99) / 1_000.0,
            last_s: share(&since, 1.0) / 1_000.0,
        })
    }

    /// Waits until all were in step so often; when each was.
    async fn all(&self, times: u64) -> anyhow::Result<Vec<Instant>> {
        let deadline = Instant::now() + self.within;
        let mut moments = Vec::new();
        for mut present in self.present.iter().cloned() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(back) = timeout(left, present.wait_for(|it| it.0 >= times)).await else {
                let missing = self.present.iter().filter(|it| it.borrow().0 < times);
                anyhow::bail!(
                    "{} of {} are not back within {:?}",
                    missing.count(),
                    self.present.len(),
                    self.within
                );
            };
            moments.push(back.context("a client has given up")?.1);
        }
        Ok(moments)
    }

    /// All go.
    pub(super) async fn leaves(self) {
        let mut leaving = JoinSet::new();
        for client in self.clients {
            leaving.spawn(async move { client.close().await });
        }
        leaving.join_all().await;
    }
}
