//! How a process tells which partitions it owns.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use flare_proto::signaling::{
    AnnounceRequest, Announcer, Ownership, router_service_client::RouterServiceClient,
};
use futures::Stream;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tonic::Status;

use super::Pauses;
use crate::{
    channels::{Channels, ServiceChannel},
    registry::service,
};

/// How long the farewell may take when a process ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// By partition, the number of the epoch in which it is owned.
type Owned = BTreeMap<u32, u64>;

/// What this process owns. Clones share it; when the last is dropped, it owns nothing any more and says farewell.
#[derive(Clone, Debug)]
pub struct Ownerships {
    owned: Arc<watch::Sender<Owned>>,
}

impl Ownerships {
    /// The partition is owned from here on.
    pub fn begin(&self, partition: u32, epoch: u64) {
        self.owned
            .send_if_modified(|it| it.insert(partition, epoch) != Some(epoch));
    }

    /// It is not any more.
    pub fn end(&self, partition: u32) {
        self.owned
            .send_if_modified(|it| it.remove(&partition).is_some());
    }
}

/// Tells it to every instance of flare-signaling-route.
pub struct Announcing {
    channels: Channels,
    telling: Telling,
}

/// What is told to each of them.
#[derive(Clone)]
struct Telling {
    announcer: Announcer,
    partitions: u32,
    owned: watch::Receiver<Owned>,
}

impl Announcing {
    /// Of a process that answers at `endpoint`, and that bears an `incarnation` of its own each time that it starts; over a log of `partitions`.
    pub fn new(
        channels: Channels,
        incarnation: String,
        endpoint: &str,
        partitions: u32,
    ) -> (Ownerships, Self) {
        let (sender, owned) = watch::channel(Owned::new());
        let telling = Telling {
            announcer: Announcer {
                incarnation,
                endpoint: endpoint.to_owned(),
            },
            partitions,
            owned,
        };
        let ownerships = Ownerships {
            owned: Arc::new(sender),
        };
        (ownerships, Self { channels, telling })
    }

    /// Runs until the last [`Ownerships`] is dropped, and the farewell is said.
    pub async fn run(self) {
        let mut named = self.channels.named_endpoints(service::ROUTE);
        let mut owned = self.telling.owned.clone();
        let mut told: HashMap<String, AbortHandle> = HashMap::new();
        let mut tasks = JoinSet::new();
        loop {
            let mut wanted: BTreeSet<String> = named.borrow_and_update().iter().cloned().collect();
            wanted.extend(self.channels.local_endpoint(service::ROUTE));
            told.retain(|endpoint, task| {
                let stays = wanted.contains(endpoint);
                if !stays {
                    task.abort();
                }
                stays
            });
            for endpoint in wanted {
                told.entry(endpoint).or_insert_with_key(|endpoint| {
                    let client = RouterServiceClient::new(self.channels.endpoint(endpoint));
                    let telling = self.telling.clone();
                    tasks.spawn(async move { telling.keep_telling(client).await })
                });
            }
            let others = async {
                if named.changed().await.is_err() {
                    // The registry is gone: those that are known stay.
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = others => {}
                () = closed(&mut owned) => break,
            }
        }
        let farewell = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::debug!("an instance of flare-signaling-route has not heard the farewell");
        }
    }
}

/// Resolves when nobody can own anything any more.
async fn closed(owned: &mut watch::Receiver<Owned>) {
    while owned.changed().await.is_ok() {}
}

impl Telling {
    /// Keeps a stream open to one instance.
    async fn keep_telling(self, client: RouterServiceClient<ServiceChannel>) {
        let mut pauses = Pauses::new();
        let mut last_refusal = String::new();
        // An error: nobody can own anything any more.
        while self.owned.has_changed().is_ok() {
            let began = Instant::now();
            if let Err(status) = self.tell(client.clone()).await
                && status.message() != last_refusal
            {
                // Told once, and tried until it succeeds.
                last_refusal = status.message().to_owned();
                tracing::warn!(
                    why = last_refusal,
                    "flare-signaling-route is not told what is owned here"
                );
            }
            if self.owned.has_changed().is_ok() {
                pauses.after(began.elapsed()).await;
            }
        }
    }

    /// One stream, until it ends.
    async fn tell(&self, mut client: RouterServiceClient<ServiceChannel>) -> Result<(), Status> {
        let mut answers = client.announce(self.requests()).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok(())
    }

    /// Everything, then what has changed.
    fn requests(&self) -> impl Stream<Item = AnnounceRequest> + Send + 'static {
        let first = (self.clone(), None::<Owned>);
        futures::stream::unfold(first, |(mut telling, told)| async move {
            if told.is_some() {
                telling.owned.changed().await.ok()?;
            }
            let owned = telling.owned.borrow_and_update().clone();
            let is_first = told.is_none();
            let request = AnnounceRequest {
                announcer: is_first.then(|| telling.announcer.clone()),
                partitions: if is_first { telling.partitions } else { 0 },
                ownerships: changes(&told.unwrap_or_default(), &owned),
            };
            Some((request, (telling, Some(owned))))
        })
    }
}

fn changes(before: &Owned, now: &Owned) -> Vec<Ownership> {
    let begun = now
        .iter()
        .filter(|(partition, epoch)| before.get(partition) != Some(epoch))
        .map(|(partition, epoch)| (*partition, *epoch, false));
    let ended = before
        .iter()
        .filter(|(partition, _)| !now.contains_key(partition))
        .map(|(partition, epoch)| (*partition, *epoch, true));
    begun
        .chain(ended)
        .map(|(partition, epoch, ended)| Ownership {
            partition,
            epoch,
            ended,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_after_the_first_is_what_has_changed() {
        let before = Owned::from([(1, 5), (2, 6), (3, 7)]);
        let now = Owned::from([(2, 8), (3, 7), (4, 1)]);
        let told: Vec<_> = changes(&before, &now)
            .into_iter()
            .map(|it| (it.partition, it.epoch, it.ended))
            .collect();
        assert_eq!(told, [(2, 8, false), (4, 1, false), (1, 5, true)]);
        assert!(changes(&now, &now).is_empty());
    }
}
