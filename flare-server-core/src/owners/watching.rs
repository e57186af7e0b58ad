//! How a caller follows the directory.

use std::{sync::Arc, time::Duration};

use flare_proto::signaling::{WatchRequest, router_service_client::RouterServiceClient};
use tokio::{sync::watch, time::Instant};

use super::{Directory, Owner, Pauses};
use crate::{channels::Channels, platform::Platform, registry::service, service::ServiceError};

/// After which an owner is asked again that has refused, even if nobody is told to own in its place.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The directory of owners, kept current. Clones share it.
#[derive(Clone, Debug)]
pub struct Owners {
    directory: watch::Receiver<Arc<Directory>>,
}

impl Owners {
    /// The process's own: one stream to flare-signaling-route, however many services of the process ask.
    ///
    /// # Errors
    /// Those of [`Platform::once`].
    pub async fn of(platform: &Platform) -> Result<Self, ServiceError> {
        let channels = platform.channels.clone();
        platform
            .once(async move || Ok(Self::follow(channels)))
            .await
    }

    /// Follows the directory over these channels, as long as somebody holds it.
    pub fn follow(channels: Channels) -> Self {
        let (sender, directory) = watch::channel(Arc::<Directory>::default());
        tokio::spawn(async move {
            tokio::select! {
                () = follow(&channels, &sender) => {}
                () = sender.closed() => {}
            }
        });
        Self { directory }
    }

    /// What is shown to `directory`.
    pub fn shown(directory: watch::Receiver<Arc<Directory>>) -> Self {
        Self { directory }
    }

    /// What is known at this moment.
    pub fn current(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.borrow())
    }

    /// What is known, once it is something else than at the last call. Cancel safe.
    pub async fn changed(&mut self) -> Arc<Directory> {
        if self.directory.changed().await.is_err() {
            // Nobody follows it any more: it stays as it is.
            std::future::pending::<()>().await;
        }
        Arc::clone(&self.directory.borrow_and_update())
    }

    /// How many partitions the log has, once somebody has told. Cancel safe.
    pub async fn partitions(&self) -> u32 {
        let mut directory = self.directory.clone();
        let known = directory.wait_for(|it| it.partitions().is_some()).await;
        match known.ok().and_then(|it| it.partitions()) {
            Some(count) => count,
            None => std::future::pending().await,
        }
    }

    /// The owner of a partition, once one is known; another one than `refused`, or after a pause the same again. Cancel safe.
    pub async fn find(&self, partition: u32, refused: Option<&Owner>) -> Owner {
        let mut directory = self.directory.clone();
        if let Some(refused) = refused {
            let other = owner_but(&mut directory, partition, Some(refused));
            if let Ok(other) = tokio::time::timeout(ASKED_AGAIN_AFTER, other).await {
                return other;
            }
        }
        owner_but(&mut directory, partition, None).await
    }
}

/// The owner of a partition, once one is known that is not `refused`.
async fn owner_but(
    directory: &mut watch::Receiver<Arc<Directory>>,
    partition: u32,
    refused: Option<&Owner>,
) -> Owner {
    let is_other = |it: &Arc<Directory>| {
        let owner = it.owner(partition);
        owner.is_some() && owner != refused
    };
    let found = directory.wait_for(is_other).await.ok();
    match found.and_then(|it| it.owner(partition).cloned()) {
        Some(owner) => owner,
        // Nobody follows it any more.
        None => std::future::pending().await,
    }
}

async fn follow(channels: &Channels, shown: &watch::Sender<Arc<Directory>>) {
    let client = RouterServiceClient::new(channels.get(service::ROUTE))
        .max_decoding_message_size(usize::MAX);
    let mut pauses = Pauses::new();
    loop {
        let began = Instant::now();
        match client.clone().watch(WatchRequest::default()).await {
            Ok(stream) => {
                let mut told = stream.into_inner();
                while let Ok(Some(told)) = told.message().await {
                    let mut directory = Directory::clone(&shown.borrow());
                    match directory.take_in(told) {
                        Ok(()) => drop(shown.send_replace(Arc::new(directory))),
                        Err(error) => {
                            tracing::error!(%error, "what flare-signaling-route tells is not taken in");
                        }
                    }
                }
            }
            Err(status) => tracing::debug!(%status, "flare-signaling-route is not reached"),
        }
        pauses.after(began.elapsed()).await;
    }
}
