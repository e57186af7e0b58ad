//! What shows that a process was missed, and that the other one of its service did the work of both.

use std::time::Duration;

use anyhow::{Context, ensure};
use flare_server_core::registry::service;
use tokio::time::{Instant, interval};

use crate::scene::Scene;

/// The other one has the work by then: the log's and the stream's groups miss a member after 10 s.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// A metric of a service's process that grows when it does the work of both.
#[derive(Clone, Copy, Debug)]
struct Work {
    metric: &'static str,
    /// A lease says whose work it is: it is taken from one that stands still, too.
    by_lease: bool,
}

/// None: a service whose processes keep nothing, and whose callers ask another one.
fn work_of(service: &str) -> Option<Work> {
    let (metric, by_lease) = match service {
        service::ORCHESTRATOR => ("flare_orchestrator_takeovers_total", true),
        service::STORAGE_WRITER => ("flare_storage_writer_partitions", true),
        service::SESSION | service::PUSH_SERVER => ("flare_event_bus_lanes", true),
        service::ACCESS_GATEWAY => ("flare_access_gateway_connections", false),
        service::CORE_GATEWAY => ("flare_core_gateway_requests_total", false),
        _ => return None,
    };
    Some(Work { metric, by_lease })
}

/// What the other process had to do before.
pub(super) struct Evidence {
    other: String,
    work: Option<Work>,
    before: f64,
}

impl Evidence {
    /// Before anything befalls the process.
    pub(super) async fn before(scene: &Scene, process: &str) -> anyhow::Result<Self> {
        let other = scene.server.partner_of(process)?;
        let work = work_of(scene.server.service_of(process)?);
        let before = match work {
            Some(Work { metric, .. }) => scene.server.metric_at(&other, &[metric]).await?,
            None => 0.0,
        };
        Ok(Self {
            other,
            work,
            before,
        })
    }

    /// Likewise, of a process that stands still: who is connected to a gateway that says nothing stays there for a while, and callers wait for an answer.
    pub(super) async fn of_more_work_if_missed(&self, scene: &Scene) -> anyhow::Result<String> {
        match self.work {
            Some(Work { by_lease: true, .. }) => self.of_more_work(scene).await,
            _ => Ok("it did not answer".to_owned()),
        }
    }

    /// Waits until the other one does more than before; in words.
    pub(super) async fn of_more_work(&self, scene: &Scene) -> anyhow::Result<String> {
        let Self { other, before, .. } = self;
        let Some(Work { metric, .. }) = self.work else {
            return Ok("a newcomer was served by the other".to_owned());
        };
        let deadline = Instant::now() + TAKEN_WITHIN;
        let mut turns = interval(POLL);
        loop {
            turns.tick().await;
            let now = scene.server.metric_at(other, &[metric]).await;
            let now = now.with_context(|| format!("{metric} of {other}"))?;
            if now > *before {
                return Ok(format!("{metric} of {other} from {before} to {now}"));
            }
            ensure!(
                Instant::now() < deadline,
                "{other} has no more to do than before: {metric} is {now}"
            );
        }
    }
}
