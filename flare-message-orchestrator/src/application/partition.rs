//! The shell around an owner: brings it what comes, does what it says.

mod question;
mod telemetry;
mod work;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use flare_proto::common::ErrorCode;
use flare_server_core::{
    error::Refusal, message_log::RoomState, readiness::ReadyHandle, registry::service,
    service::ServiceError,
};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::mpsc;

pub use self::work::Surroundings;
use self::{question::Question, telemetry::Telemetry};
use super::streams::{Answer, Delivery, Receipt, ending};
use crate::domain::owner::{AppendReport, Input, Output, Owner};

/// The task of one partition.
pub struct Partition {
    number: u32,
    owner: Owner,
    around: Arc<Surroundings>,
    inbox: mpsc::Receiver<Delivery>,
    ready: ReadyHandle,
    telemetry: Telemetry,
    streams: HashMap<u64, mpsc::Sender<Answer>>,
    work: FuturesUnordered<BoxFuture<'static, Input>>,
    assigned: bool,
    draining: bool,
}

impl Partition {
    /// Not running yet.
    pub fn new(
        number: u32,
        owner: Owner,
        around: Arc<Surroundings>,
        inbox: mpsc::Receiver<Delivery>,
        ready: ReadyHandle,
    ) -> Self {
        Self {
            number,
            owner,
            telemetry: Telemetry::new(around.spans.clone(), number),
            around,
            inbox,
            ready,
            streams: HashMap::new(),
            work: FuturesUnordered::new(),
            assigned: false,
            draining: false,
        }
    }

    /// Runs until the process drains and every command in hand is answered.
    pub async fn run(mut self) -> Result<(), ServiceError> {
        let mut assignments = self.around.log.assignments(service::ORCHESTRATOR);
        let mut deliveries = Vec::new();
        self.work
            .push(work::cursor_beyond(&self.around, self.number, 0));
        self.assign(assignments.borrow_and_update().contains(&self.number));
        while !(self.draining && self.owner.pending() == 0) {
            tokio::select! {
                Some(input) = self.work.next() => self.step(input),
                count = self.inbox.recv_many(&mut deliveries, 64) => match count {
                    0 => self.draining = true,
                    _ => self.take(&mut deliveries),
                },
                Ok(()) = assignments.changed() => self.assign(assignments.borrow_and_update().contains(&self.number)),
                () = self.around.shutdown.draining(), if !self.draining => self.draining = true,
            }
        }
        // Whoever was quick enough to hand something in is answered too: with a refusal.
        self.inbox.close();
        while self.inbox.recv_many(&mut deliveries, 64).await > 0 {
            self.take(&mut deliveries);
        }
        self.around.ownerships.end(self.number);
        Ok(())
    }

    fn assign(&mut self, assigned: bool) {
        if assigned != std::mem::replace(&mut self.assigned, assigned) {
            self.step(if assigned {
                Input::Assigned
            } else {
                Input::Revoked
            });
        }
        // What is nobody's to try here holds up nobody.
        self.ready.set(!assigned || self.owner.is_owning());
    }

    fn take(&mut self, deliveries: &mut Vec<Delivery>) {
        let has_room = matches!(self.around.log.room(), RoomState::Enough);
        self.step(Input::Room(has_room));
        let mut gathered = Vec::new();
        for delivery in deliveries.drain(..) {
            match delivery {
                Delivery::Commands {
                    answers,
                    mut commands,
                } => {
                    if let Some(first) = commands.first() {
                        self.streams.entry(first.origin.stream).or_insert(answers);
                    }
                    for command in &mut commands {
                        if self.draining {
                            command.refused = Some(Box::new(ending()));
                        } else if command.refused.is_none() && self.owner.takes_part(command) {
                            let early = self.around.limits.check_conversation(command);
                            command.refused = early.map(Box::new);
                        }
                    }
                    self.telemetry.began(&commands);
                    gathered.append(&mut commands);
                }
                Delivery::End(stream) => {
                    self.step(Input::Commands(std::mem::take(&mut gathered)));
                    self.streams.remove(&stream);
                    self.step(Input::StreamEnded(stream));
                }
            }
        }
        if !gathered.is_empty() {
            self.step(Input::Commands(gathered));
        }
    }

    fn step(&mut self, input: Input) {
        if let Input::CursorMoved(cursor) = &input {
            self.work.push(work::cursor_beyond(
                &self.around,
                self.number,
                cursor.next_offset,
            ));
        }
        let is_turned_away = matches!(
            input,
            Input::Appended {
                report: AppendReport::NoRoom,
                ..
            }
        );
        let began = Instant::now();
        let outputs = self.owner.step(self.around.clock.now_ms(), input);
        let took = began.elapsed();
        if is_turned_away {
            // A full disk keeps it from owning; reads go on all the same.
            self.ready.set(true);
            if !self.owner.is_owning() && !self.around.log.is_shared() {
                // It is for nobody else to own: whoever asks is told here why nothing is taken.
                let epoch = self.owner.log_state().epoch.number + 1;
                self.around.ownerships.begin(self.number, epoch);
            }
        }
        let mut receipts: BTreeMap<u64, Vec<Receipt>> = BTreeMap::new();
        for output in outputs {
            match output {
                Output::Reply { origin, result } => {
                    let receipt = Receipt {
                        correlation: origin.correlation,
                        owner: self.owner_beside(&result),
                        result,
                    };
                    self.telemetry.answered(origin, &receipt);
                    receipts.entry(origin.stream).or_default().push(receipt);
                }
                Output::EndStream(stream) => self.end_stream(stream),
                Output::Owned => {
                    let epoch = self.owner.log_state().epoch.number;
                    tracing::info!(partition = self.number, epoch, "partition owned");
                    self.around.ownerships.begin(self.number, epoch);
                    self.telemetry.owned();
                    self.ready.set(true);
                }
                Output::Lost => {
                    tracing::warn!(partition = self.number, "epoch ended");
                    self.around.ownerships.end(self.number);
                    self.ready.set(!self.assigned);
                }
                Output::Skipped(reason) => self.telemetry.skipped(reason),
                Output::Halt(reason) => self
                    .around
                    .shutdown
                    .fail(format!("partition {}: {reason}", self.number)),
                asked => {
                    if let Output::Append { append, events, .. } = asked
                        && events > 0
                    {
                        let decided = self.owner.waiting_for(append);
                        self.telemetry.decided(decided, events, took);
                    }
                    let question = Question::of(&asked, &self.owner, &self.telemetry, self.number);
                    self.work
                        .push(work::perform(asked, &self.around, self.number, question));
                }
            }
        }
        for (stream, receipts) in receipts {
            if let Some(answers) = self.streams.get(&stream) {
                // Closed: the caller is gone. Full it is never: callers keep within what the channel holds.
                let _ = answers.try_send(Answer::Receipts(receipts));
            }
        }
        self.telemetry.pending(self.owner.pending());
    }

    /// Where the owner answers, if the command was refused because it is not this process.
    fn owner_beside<T>(&self, result: &Result<T, Refusal>) -> Option<Arc<str>> {
        let refusal = result.as_ref().err()?;
        if refusal.code != ErrorCode::NotOwner {
            return None;
        }
        let directory = self.around.owners.current();
        let endpoint = &directory.owner(self.number)?.endpoint;
        (*endpoint != self.around.endpoint).then(|| Arc::clone(endpoint))
    }

    fn end_stream(&mut self, stream: u64) {
        if let Some(answers) = self.streams.remove(&stream) {
            let refusal = Refusal::new(
                ErrorCode::ResourceExhausted,
                "too many lanes wait for earlier commands: begin a new stream",
            )
            .with_retry_after(Duration::from_millis(200));
            let _ = answers.try_send(Answer::Ended(refusal));
        }
    }
}
