//! One ordered stream of commands to the orchestrator, for all connections.

use std::{collections::HashSet, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use flare_proto::common::ErrorCode;
use flare_server_core::{error::Refusal, shutdown::Shutdown};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, Settled},
    connections::Connections,
    ports::{Action, Command, Orchestrator, Receipt, Submission, SubmitStream},
};
use crate::domain::in_flight::InFlight;

/// Commands and bytes of contents in one batch.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// When a client may try again what got no receipt.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Pauses between attempts to open a stream.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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

/// The way to the submitter. Clones share it.
#[derive(Clone)]
pub struct SubmitterHandle {
    queue: mpsc::Sender<Taken>,
    /// Of the bytes of contents that have no receipt.
    room: Arc<Semaphore>,
}

impl SubmitterHandle {
    /// Takes a command, which then has exactly one receipt.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: too many or too long ones wait; nothing was taken.
    pub fn submit(&self, mut taken: Taken) -> Result<(), Refusal> {
        let bytes = u32::try_from(taken.bytes()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes);
        let room =
            room.map_err(|_| full("the commands without a receipt are too long together"))?;
        taken.room = Some(room);
        let sent = self.queue.try_send(taken);
        sent.map_err(|_| full("too many commands wait to be submitted"))
    }
}

/// The task behind it.
pub struct Submitter {
    orchestrator: Arc<dyn Orchestrator>,
    connections: Arc<Connections>,
    shutdown: Shutdown,
    queue: mpsc::Receiver<Taken>,
    in_flight: InFlight<Taken>,
    /// The lanes whose first command without a receipt this stream has refused for want of its owner: of these nothing is lost.
    disowned: HashSet<u64>,
    max_in_flight: usize,
    patience_ms: u64,
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

/// How a stream went.
enum End {
    /// It broke: receipts may be lost.
    Broken,
    /// There is nothing left to do.
    Closed,
}

impl Submitter {
    /// Every command has a receipt after `patience`.
    pub fn new(
        orchestrator: Arc<dyn Orchestrator>,
        connections: Arc<Connections>,
        shutdown: Shutdown,
        bounds: Bounds,
        patience: Duration,
    ) -> (SubmitterHandle, Self) {
        let (sender, receiver) = mpsc::channel(bounds.queue);
        let submitter = Self {
            orchestrator,
            connections,
            shutdown,
            queue: receiver,
            in_flight: InFlight::default(),
            disowned: HashSet::new(),
            max_in_flight: bounds.in_flight,
            patience_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
        };
        let handle = SubmitterHandle {
            queue: sender,
            room: Arc::new(Semaphore::new(bounds.bytes)),
        };
        (handle, submitter)
    }

    /// Runs until `closed`: there are no connections any more, nor will there be.
    pub async fn run(mut self, closed: CancellationToken) {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(SHORTEST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pauses = backoff.build();
        let mut pause = Duration::ZERO;
        loop {
            let orchestrator = Arc::clone(&self.orchestrator);
            let opening = async {
                tokio::time::sleep(pause).await;
                orchestrator.open().await
            };
            let opened = tokio::select! {
                opened = self.meanwhile(opening) => opened,
                () = closed.cancelled() => break,
            };
            match opened {
                Ok(stream) => {
                    self.in_flight.rewind();
                    let mut had_receipts = false;
                    match self.use_stream(stream, &closed, &mut had_receipts).await {
                        End::Closed => break,
                        End::Broken => {
                            metrics::counter!("flare_access_gateway_submit_streams_broken_total")
                                .increment(1);
                            self.leave_open();
                        }
                    }
                    if had_receipts {
                        pauses = backoff.build();
                    }
                }
                Err(refusal) => tracing::debug!(%refusal, "the orchestrator is not reached"),
            }
            if self.shutdown.is_draining() {
                // The orchestrator may be draining too; clients send again what is refused, wherever they reconnect.
                self.refuse_all();
            }
            pause = pauses.next().unwrap_or(LONGEST_PAUSE);
        }
        self.queue.close();
        self.refuse_all();
    }

    /// Waits for `work`, and takes and expires commands meanwhile.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(taken) = self.queue.recv(), if self.in_flight.room(self.max_in_flight) > 0 => self.take(taken),
                () = until(self.connections.as_ref(), self.in_flight.next_deadline_ms()) => self.expire(),
            }
        }
    }

    async fn use_stream(
        &mut self,
        stream: SubmitStream,
        closed: &CancellationToken,
        had_receipts: &mut bool,
    ) -> End {
        let SubmitStream {
            commands,
            mut receipts,
        } = stream;
        let mut taken = Vec::new();
        loop {
            let room = self.in_flight.room(self.max_in_flight).min(BATCH);
            tokio::select! {
                biased;
                batch = receipts.next() => match batch {
                    Some(Ok(batch)) => {
                        *had_receipts = true;
                        if !self.settle(batch) {
                            return End::Broken;
                        }
                    }
                    Some(Err(refusal)) => {
                        tracing::debug!(%refusal, "the stream to the orchestrator broke");
                        return End::Broken;
                    }
                    None => return End::Broken,
                },
                permit = commands.reserve(), if self.in_flight.has_next() => {
                    let Ok(permit) = permit else { return End::Broken };
                    let batch = self.batch();
                    if !batch.is_empty() {
                        metrics::histogram!("flare_access_gateway_submit_batch_commands").record(batch.len() as f64);
                        permit.send(batch);
                    }
                }
                count = self.queue.recv_many(&mut taken, room), if room > 0 => {
                    if count == 0 {
                        return End::Closed;
                    }
                    for taken in taken.drain(..) {
                        self.take(taken);
                    }
                }
                () = until(self.connections.as_ref(), self.in_flight.next_deadline_ms()) => self.expire(),
                () = closed.cancelled() => return End::Closed,
            }
        }
    }

    fn take(&mut self, taken: Taken) {
        let deadline_ms = taken.at_ms.saturating_add(self.patience_ms);
        self.in_flight.push(taken, deadline_ms);
    }

    /// What is to be sent next. A command of a lane that broke is refused here: a stream that began after the lane broke would place it.
    fn batch(&mut self) -> Vec<Submission> {
        let (mut batch, mut bytes, mut held) = (Vec::new(), 0, Vec::new());
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some(sending) = self.in_flight.send_next() else {
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
            if let Some(taken) = self.in_flight.settle(correlation) {
                taken.settle(Err(if again { broken_way() } else { in_order() }));
            }
        }
        batch
    }

    /// False: the orchestrator no longer owns what it is asked for, so this stream is of no more use. What it refused for that, and what it refused
    /// behind it, goes by the next one; but not what it may have placed, which is its client's to send again.
    fn settle(&mut self, receipts: Vec<Receipt>) -> bool {
        let mut owns = true;
        for Receipt {
            correlation,
            result,
        } in receipts
        {
            let is_disowned = match &result {
                Err(refusal) if refusal.code == ErrorCode::NotOwner => true,
                Err(refusal) if refusal.code == ErrorCode::DeadlineExceeded => false,
                Err(refusal) => !owns && refusal.is_retryable(),
                Ok(_) => false,
            };
            if is_disowned {
                owns = false;
                let lane = self.in_flight.get(correlation).map(|it| it.command.lane);
                self.disowned.extend(lane);
            } else if let Some(taken) = self.in_flight.settle(correlation) {
                taken.settle(result);
            }
        }
        owns
    }

    /// Of what a stream leaves without a receipt, most is sent again by the next one. Not what could lose its order by that, because receipts of its lane
    /// may be lost: its clients are told that the outcome is unknown.
    fn leave_open(&mut self) {
        let disowned = std::mem::take(&mut self.disowned);
        for correlation in self.in_flight.sent_in_company(|it| it.command.lane) {
            let is_known = |it: &Taken| disowned.contains(&it.command.lane);
            if self.in_flight.get(correlation).is_none_or(is_known) {
                continue;
            }
            if let Some(taken) = self.in_flight.settle(correlation) {
                taken.settle(Err(broken_way()));
            }
        }
    }

    fn expire(&mut self) {
        let now_ms = self.connections.now_ms();
        while let Some(taken) = self.in_flight.expire(now_ms) {
            metrics::counter!("flare_access_gateway_commands_expired_total").increment(1);
            taken.settle(Err(no_receipt(
                "no receipt in time: it may have been placed, or not; send it again",
            )));
        }
    }

    fn refuse_all(&mut self) {
        while let Ok(taken) = self.queue.try_recv() {
            self.take(taken);
        }
        while let Some(taken) = self.in_flight.pop() {
            taken.settle(Err(no_receipt(
                "the server ends before the receipt came: send it again elsewhere",
            )));
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
