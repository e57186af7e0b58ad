//! Ordered streams of commands to the owners of their conversations, for all connections.

mod ways;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use flare_proto::common::ErrorCode;
use flare_server_core::{
    error::Refusal,
    owners::{Directory, Owner, Owners},
    shutdown::Shutdown,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use self::ways::{Event, Ways};
use super::{
    connection::{Connection, Settled},
    connections::Connections,
    ports::{Action, Command, Orchestrator, Receipt, Submission},
};
use crate::domain::dispatch::{Answer, Dispatch, Item, MAX_PARTITIONS, Told};

/// Commands and bytes of contents in one batch.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// When a client may try again what got no receipt.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A command, and the connection that waits for its receipt.
#[derive(Debug)]
pub struct Taken {
    /// The command.
    pub command: Arc<Command>,
    /// Whose.
    pub connection: Arc<Connection>,
    /// As the connection numbered it.
    pub ticket: u64,
    /// When it came, by the clock of [`Connections`].
    pub at_ms: u64,
    /// Of the bytes that may wait; given back with the receipt.
    room: Option<OwnedSemaphorePermit>,
}

impl Taken {
    /// A command of a connection, numbered by it.
    pub fn new(
        command: Arc<Command>,
        connection: Arc<Connection>,
        ticket: u64,
        at_ms: u64,
    ) -> Self {
        Self {
            command,
            connection,
            ticket,
            at_ms,
            room: None,
        }
    }

    fn bytes(&self) -> usize {
        match &self.command.action {
            Action::Send(content) => content.len(),
            Action::Recall { .. } => 0,
        }
    }

    fn settle(self, result: Result<super::ports::Placed, Refusal>) {
        if result.as_ref().is_err_and(Refusal::is_retryable) {
            self.connection
                .break_lane(self.command.lane, self.command.generation);
        }
        self.connection.settle(Settled {
            ticket: self.ticket,
            result,
        });
    }

    fn is_held(&self) -> bool {
        self.connection
            .holds(self.command.lane, self.command.generation)
    }
}

impl Item for Taken {
    fn lane(&self) -> u64 {
        self.command.lane
    }

    fn place(&self) -> u64 {
        self.command.place
    }
}

/// By partition, whether its commands take the room of others. Empty until it is known how many partitions there are.
type Crowded = OnceLock<Box<[AtomicBool]>>;

/// The way to the submitter. Clones share it.
#[derive(Clone)]
pub struct SubmitterHandle {
    queue: mpsc::Sender<Taken>,
    /// Of the bytes of contents that have no receipt.
    room: Arc<Semaphore>,
    crowded: Arc<Crowded>,
}

impl SubmitterHandle {
    /// Takes a command, which then has exactly one receipt.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: too many or too long ones wait; nothing was taken.
    pub fn submit(&self, mut taken: Taken) -> Result<(), Refusal> {
        if self.is_crowded(taken.command.place) {
            return Err(full(
                "the conversation's partition gives no receipts, and too many commands wait for it",
            ));
        }
        let bytes = u32::try_from(taken.bytes()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes);
        let room =
            room.map_err(|_| full("the commands without a receipt are too long together"))?;
        taken.room = Some(room);
        let sent = self.queue.try_send(taken);
        sent.map_err(|_| full("too many commands wait to be submitted"))
    }

    fn is_crowded(&self, place: u64) -> bool {
        let Some(crowded) = self.crowded.get() else {
            return false;
        };
        let at = place.checked_rem(crowded.len() as u64);
        at.and_then(|it| crowded.get(usize::try_from(it).ok()?))
            .is_some_and(|it| it.load(Ordering::Relaxed))
    }
}

/// The task behind it.
pub struct Submitter {
    owners: Owners,
    connections: Arc<Connections>,
    shutdown: Shutdown,
    queue: mpsc::Receiver<Taken>,
    dispatch: Dispatch<Taken>,
    ways: Ways,
    crowded: Arc<Crowded>,
    max_in_flight: usize,
}

/// How many commands may wait, and how long their contents may be together.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// To be submitted.
    pub queue: usize,
    /// Submitted, for a receipt.
    pub in_flight: usize,
    /// Of both, in bytes.
    pub bytes: usize,
}

impl Submitter {
    /// Every command has a receipt after `patience`.
    pub fn new(
        orchestrator: Arc<dyn Orchestrator>,
        owners: Owners,
        connections: Arc<Connections>,
        shutdown: Shutdown,
        bounds: Bounds,
        patience: Duration,
    ) -> (SubmitterHandle, Self) {
        let (sender, receiver) = mpsc::channel(bounds.queue);
        let crowded = Arc::<Crowded>::default();
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let submitter = Self {
            owners,
            connections,
            shutdown,
            queue: receiver,
            dispatch: Dispatch::new(patience_ms),
            ways: Ways::new(orchestrator),
            crowded: Arc::clone(&crowded),
            max_in_flight: bounds.in_flight,
        };
        let handle = SubmitterHandle {
            queue: sender,
            room: Arc::new(Semaphore::new(bounds.bytes)),
            crowded,
        };
        (handle, submitter)
    }

    /// Runs until `closed`: there are no connections any more, nor will there be.
    pub async fn run(mut self, closed: CancellationToken) {
        let mut taken = Vec::new();
        self.learn(&self.owners.current());
        loop {
            self.move_on();
            let next_ms = self.dispatch.next_ms(self.connections.now_ms());
            let room = self.dispatch.room(self.max_in_flight).min(BATCH);
            let dispatch = &self.dispatch;
            tokio::select! {
                biased;
                directory = self.owners.changed() => self.learn(&directory),
                event = self.ways.next(|way| dispatch.has_next(way)) => self.on_event(event),
                count = self.queue.recv_many(&mut taken, room), if room > 0 => {
                    if count == 0 {
                        break;
                    }
                    for taken in taken.drain(..) {
                        self.take(taken);
                    }
                }
                () = until(self.connections.as_ref(), next_ms) => {}
                () = closed.cancelled() => break,
            }
        }
        self.queue.close();
        while let Ok(taken) = self.queue.try_recv() {
            self.take(taken);
        }
        while let Some(taken) = self.dispatch.pop() {
            taken.settle(Err(ends()));
        }
    }

    fn take(&mut self, taken: Taken) {
        let at_ms = taken.at_ms;
        self.dispatch.push(taken, at_ms);
    }

    /// Who owns what.
    fn learn(&mut self, directory: &Directory) {
        let Some(count) = directory.partitions() else {
            return;
        };
        if count > MAX_PARTITIONS {
            tracing::error!(count, "more partitions than a gateway can tell apart");
            return;
        }
        if !self.dispatch.is_partitioned() {
            self.dispatch.partition(count);
            let crowded = (0..count).map(|_| AtomicBool::default());
            let _ = self.crowded.set(crowded.collect());
        }
        let now_ms = self.connections.now_ms();
        for partition in 0..count {
            let told = directory.owner(partition).map(|it: &Owner| Told {
                epoch: it.epoch,
                endpoint: Arc::clone(&it.endpoint),
            });
            self.dispatch.owner(partition, told, now_ms);
        }
    }

    /// Does what is to be done by this time.
    fn move_on(&mut self) {
        self.expire();
        let now_ms = self.connections.now_ms();
        let todo = self.dispatch.sweep(now_ms);
        for taken in todo.unknown {
            taken.settle(Err(broken_way()));
        }
        for way in todo.close {
            self.ways.close(way);
        }
        for (way, endpoint) in todo.open {
            self.ways.forget_but(|it| self.dispatch.names(it));
            self.ways.open(way, endpoint);
        }
        if self.shutdown.is_draining() {
            self.refuse_unbound();
        }
        let crowded = self.crowded.get().into_iter().flatten();
        for (partition, flag) in (0..).zip(crowded) {
            let is_crowded = self
                .dispatch
                .is_crowded(partition, self.max_in_flight, now_ms);
            flag.store(is_crowded, Ordering::Relaxed);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Opened(way) => self.dispatch.opened(way),
            Event::Receipts(way, receipts) => {
                for receipt in receipts {
                    self.settle(way, receipt);
                }
            }
            Event::Ready(way) => {
                let batch = self.batch(way);
                if !batch.is_empty() {
                    metrics::histogram!("flare_access_gateway_submit_batch_commands")
                        .record(batch.len() as f64);
                    self.ways.send(way, batch);
                }
            }
            Event::Ended(way) => {
                for taken in self.dispatch.ended(way, self.connections.now_ms()) {
                    taken.settle(Err(broken_way()));
                }
                if self.shutdown.is_draining() {
                    self.refuse_unbound();
                }
            }
        }
    }

    /// What is to be sent next. A command of a lane that broke is refused here: a stream that began after the lane broke would place it.
    fn batch(&mut self, way: u64) -> Vec<Submission> {
        let (mut batch, mut bytes, mut held) = (Vec::new(), 0, Vec::new());
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some(sending) = self.dispatch.send_next(way) else {
                break;
            };
            let (correlation, taken) = (sending.correlation, sending.item);
            if taken.is_held() {
                held.push((correlation, sending.again));
                continue;
            }
            bytes += taken.bytes();
            batch.push(Submission {
                correlation,
                command: Arc::clone(&taken.command),
            });
        }
        for (correlation, again) in held {
            if let Some(taken) = self.dispatch.withdraw(correlation) {
                taken.settle(Err(if again { broken_way() } else { in_order() }));
            }
        }
        batch
    }

    /// A command has its receipt. What was asked of somebody who does not own it, and what he refused behind it, goes to another; but not what he may have
    /// placed, which is its client's to send again.
    fn settle(&mut self, way: u64, receipt: Receipt) {
        let answer = match &receipt.result {
            Err(refusal) if refusal.code == ErrorCode::NotOwner => Answer::NotOwner,
            Err(refusal) if refusal.code == ErrorCode::DeadlineExceeded => Answer::Final,
            Err(refusal) if refusal.is_retryable() => Answer::Refused,
            Ok(_) | Err(_) => Answer::Final,
        };
        let correlation = receipt.correlation;
        let now_ms = self.connections.now_ms();
        if let Some(taken) = self.dispatch.answered(way, correlation, answer, now_ms) {
            taken.settle(receipt.result);
        } else if answer == Answer::NotOwner {
            metrics::counter!("flare_access_gateway_commands_redirected_total").increment(1);
            if let Some(owner) = receipt.owner {
                self.dispatch.hint(correlation, &owner);
            }
        }
    }

    fn expire(&mut self) {
        let now_ms = self.connections.now_ms();
        while let Some(taken) = self.dispatch.expire(now_ms) {
            metrics::counter!("flare_access_gateway_commands_expired_total").increment(1);
            taken.settle(Err(no_receipt(
                "no receipt in time: it may have been placed, or not; send it again",
            )));
        }
    }

    /// The orchestrators may be draining too; clients send again what is refused, wherever they reconnect.
    fn refuse_unbound(&mut self) {
        while let Some(taken) = self.dispatch.pop_unbound() {
            taken.settle(Err(ends()));
        }
    }
}

fn full(why: &'static str) -> Refusal {
    Refusal::new(ErrorCode::ResourceExhausted, why).with_retry_after(RETRY_AFTER)
}

fn in_order() -> Refusal {
    Refusal::new(
        ErrorCode::RetryInOrder,
        "an earlier command of this connection to the conversation was refused: send that one again first",
    )
}

fn broken_way() -> Refusal {
    no_receipt("the way to the orchestrator broke: it may have been placed, or not; send it again")
}

fn ends() -> Refusal {
    no_receipt("the server ends before the receipt came: send it again elsewhere")
}

/// The outcome is unknown. What was sent behind it may have been placed, as it may itself.
fn no_receipt(why: &'static str) -> Refusal {
    Refusal::new(ErrorCode::DeadlineExceeded, why).with_retry_after(RETRY_AFTER)
}

async fn until(connections: &Connections, ms: Option<u64>) {
    match ms {
        Some(ms) => tokio::time::sleep_until(connections.instant(ms)).await,
        None => std::future::pending().await,
    }
}
