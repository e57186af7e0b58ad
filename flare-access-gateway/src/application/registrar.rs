//! Keeps presence's view of this gateway true: registrations and their ends in batches, and the lease.

use std::{sync::Arc, time::Duration};

use flare_proto::{client::CloseReason, common::ErrorCode};
use flare_server_core::error::Refusal;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Close, Connection},
    connections::Connections,
    large::LargeConversations,
    ports::{Presence, Registration},
};

/// Connections in one call.
const BATCH: usize = 500;
/// Ended connections that wait for presence to come back.
const MAX_LEAVING: usize = 100_000;
/// Until presence has said how long the lease lasts, and after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// The lease is renewed so many times while it lasts.
const RENEWALS: u32 = 3;
/// When a client may try again that could not be registered.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The way to the registrar. Clones share it.
#[derive(Clone)]
pub struct RegistrarHandle {
    queue: mpsc::Sender<Wish>,
}

/// Why a connection was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Presence does not take it: it cannot stay.
    #[error(transparent)]
    Refused(Refusal),
    /// Nobody has answered: it may stand, or go on to stand, all the same.
    #[error(transparent)]
    Unanswered(Refusal),
}

impl From<RegisterError> for Refusal {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Refused(refusal) | RegisterError::Unanswered(refusal) => refusal,
        }
    }
}

enum Wish {
    Register(Registration, oneshot::Sender<Result<(), RegisterError>>),
    /// Comes after the connection's registration, and after its removal from the table.
    Unregister(Registration),
}

impl RegistrarHandle {
    /// Registers a connection of the table; on success it stands, and its token is not revoked.
    pub async fn register(&self, registration: Registration) -> Result<(), RegisterError> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(Wish::Register(registration, answer))
            .map_err(|_| unanswered("too many connections wait to be registered"))?;
        answered
            .await
            .unwrap_or_else(|_| Err(unanswered("this process is ending")))
    }

    /// Forgets a connection that was removed from the table.
    pub async fn unregister(&self, registration: Registration) {
        // Closed: the process ends, and presence forgets all of it with the lease.
        let _ = self.queue.send(Wish::Unregister(registration)).await;
    }
}

/// The task behind it.
pub struct Registrar {
    presence: Arc<dyn Presence>,
    connections: Arc<Connections>,
    large: Arc<LargeConversations>,
    queue: mpsc::Receiver<Wish>,
    /// Not yet forgotten by presence.
    leaving: Vec<Registration>,
    /// On which all connections were last registered; 0: none. While presence holds this gateway on another, some may be lost.
    lease_id: u64,
    renew_at: Instant,
}

impl Registrar {
    /// At most `queue` connections wait.
    pub fn new(
        presence: Arc<dyn Presence>,
        connections: Arc<Connections>,
        large: Arc<LargeConversations>,
        queue: usize,
    ) -> (RegistrarHandle, Self) {
        let (sender, receiver) = mpsc::channel(queue);
        let registrar = Self {
            presence,
            connections,
            large,
            queue: receiver,
            leaving: Vec::new(),
            lease_id: 0,
            renew_at: Instant::now(),
        };
        (RegistrarHandle { queue: sender }, registrar)
    }

    /// Runs until `closed`: there are no connections any more, nor will there be.
    pub async fn run(mut self, closed: CancellationToken) {
        let mut wishes = Vec::new();
        loop {
            let retry_at = (!self.leaving.is_empty()).then(|| Instant::now() + RETRY);
            let pause = retry_at.map_or(self.renew_at, |at| at.min(self.renew_at));
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(pause) => {}
                count = self.queue.recv_many(&mut wishes, BATCH) => if count == 0 {
                    // Nobody is left who could wish for anything.
                    break;
                },
                () = closed.cancelled() => break,
            }
            // What is registered under no lease would be registered again under the first, and its clients asked to sync.
            let is_first = self.lease_id == 0 && !wishes.is_empty();
            if is_first || Instant::now() >= self.renew_at {
                self.renew().await;
            }
            self.grant(std::mem::take(&mut wishes)).await;
        }
        self.queue.close();
        while self.queue.recv_many(&mut wishes, BATCH).await > 0 {
            self.grant(std::mem::take(&mut wishes)).await;
        }
        self.forget_leaving().await;
    }

    /// What is in the table when it is registered is removed from it before its end is queued: whatever stands is forgotten after.
    async fn grant(&mut self, wishes: Vec<Wish>) {
        let (mut coming, mut waiting) = (Vec::new(), Vec::new());
        for wish in wishes {
            match wish {
                Wish::Register(registration, answer) => {
                    match self.connections.get(registration.connection_id) {
                        Some(connection) => {
                            coming.push(registration);
                            waiting.push((connection, answer));
                        }
                        None => {
                            let _ = answer.send(Err(unanswered("the connection has ended")));
                        }
                    }
                }
                Wish::Unregister(registration) if self.leaving.len() < MAX_LEAVING => {
                    self.leaving.push(registration)
                }
                // Presence is away for long: it forgets all of this gateway with the lease.
                Wish::Unregister(_) => {
                    metrics::counter!("flare_access_gateway_unregistrations_dropped_total")
                        .increment(1)
                }
            }
        }
        if !coming.is_empty() {
            metrics::histogram!("flare_access_gateway_registration_batch_connections")
                .record(coming.len() as f64);
            match self.presence.register(&coming).await {
                Ok(outcomes) => {
                    for ((connection, answer), outcome) in waiting.into_iter().zip(outcomes) {
                        if outcome.is_ok() {
                            connection.stands();
                        }
                        // Nobody waits: the connection broke, and is unregistered in its turn.
                        let _ = answer.send(outcome.map_err(RegisterError::Refused));
                    }
                }
                Err(refusal) => {
                    for (_, answer) in waiting {
                        let _ = answer.send(Err(RegisterError::Unanswered(refusal.clone())));
                    }
                }
            }
        }
        self.forget_leaving().await;
    }

    async fn forget_leaving(&mut self) {
        while !self.leaving.is_empty() {
            let batch = self.leaving.len().min(BATCH);
            let some = self.leaving.get(..batch).unwrap_or_default();
            if let Err(refusal) = self.presence.unregister(some).await {
                tracing::warn!(%refusal, connections = self.leaving.len(), "connections were not unregistered; trying again");
                return;
            }
            self.leaving.drain(..batch);
        }
    }

    async fn renew(&mut self) {
        let lease = match self.presence.renew(self.lease_id).await {
            Ok(lease) => lease,
            Err(refusal) => {
                tracing::warn!(%refusal, "the lease was not renewed; trying again");
                self.renew_at = Instant::now() + RETRY;
                return;
            }
        };
        self.renew_at = Instant::now() + (lease.lasts / RENEWALS).max(Duration::from_millis(50));
        if !lease.known {
            match self.register_all().await {
                Ok(()) => self.lease_id = lease.id,
                Err(refusal) => {
                    tracing::warn!(%refusal, "connections were not registered again; trying again");
                    self.renew_at = self.renew_at.min(Instant::now() + RETRY);
                }
            }
        }
    }

    /// A connection that ends meanwhile is removed from the table before its end is queued: it is not in the table, or it is forgotten after.
    async fn register_all(&self) -> Result<(), Refusal> {
        let mut all = self.connections.all();
        // The others wait to be registered for the first time.
        all.retain(|it| it.has_stood());
        if !all.is_empty() {
            tracing::info!(
                connections = all.len(),
                "presence knows nothing of this gateway: registering all again"
            );
        }
        for some in all.chunks(BATCH) {
            let open: Vec<&Arc<Connection>> = some
                .iter()
                .filter(|it| self.connections.get(it.id).is_some())
                .collect();
            let registrations: Vec<_> = open.iter().map(|it| it.registration()).collect();
            let outcomes = self.presence.register(&registrations).await?;
            let mut standing = Vec::with_capacity(open.len());
            for (connection, outcome) in open.into_iter().zip(outcomes) {
                match outcome {
                    Ok(()) => standing.push(Arc::clone(connection)),
                    Err(refusal) => {
                        connection.close(close_of(&refusal));
                    }
                }
            }
            // While presence knew nothing of them, push-server took their devices for offline. As with a new connection: first
            // registered, then synced.
            self.connections.hint(&standing);
        }
        // Nor were they named to this gateway if they joined a large conversation.
        self.large.doubt_all();
        Ok(())
    }
}

fn unanswered(why: &'static str) -> RegisterError {
    RegisterError::Unanswered(Refusal::unavailable(why, RETRY_AFTER))
}

/// How a connection ends that presence does not take.
pub fn close_of(refusal: &Refusal) -> Close {
    let reason = match refusal.code {
        ErrorCode::LimitExceeded => CloseReason::TooManyConnections,
        ErrorCode::FailedPrecondition => CloseReason::Replaced,
        ErrorCode::Unavailable | ErrorCode::DeadlineExceeded | ErrorCode::ResourceExhausted => {
            CloseReason::GoingAway
        }
        _ => CloseReason::Unauthenticated,
    };
    Close::new(reason, refusal.message.to_string())
}
