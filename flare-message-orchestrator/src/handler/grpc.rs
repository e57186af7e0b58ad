//! `MessageOrchestratorService`.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use flare_proto::message::{
    ReceiptBatch, SubmitBatch, message_orchestrator_service_server::MessageOrchestratorService,
};
use flare_server_core::error::Refusal;
use futures::Stream;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

use super::convert;
use crate::application::{
    ports::ContentRules,
    streams::{Answer, CommandStream, Receipt, Streams, ending},
};

/// Takes commands for the whole process.
pub struct OrchestratorHandler {
    streams: Arc<Streams>,
    rules: Arc<dyn ContentRules>,
}

impl OrchestratorHandler {
    /// Hands commands on to `streams`.
    pub fn new(streams: Arc<Streams>, rules: Arc<dyn ContentRules>) -> Self {
        Self { streams, rules }
    }
}

/// A stream of commands that is being read.
struct Reader {
    commands: CommandStream,
    rules: Arc<dyn ContentRules>,
    /// What items get that are refused for their form.
    refused: mpsc::Sender<Answer>,
    /// A permit for each item that may still be taken.
    room: Arc<Semaphore>,
    max_items: u32,
}

impl Reader {
    async fn run(self, mut inbound: Streaming<SubmitBatch>) {
        let mut ended = std::pin::pin!(self.commands.ended());
        loop {
            let batch = tokio::select! {
                biased;
                batch = inbound.message() => batch,
                () = &mut ended => {
                    // Whoever waits to be told what became of his commands is told that nothing more comes.
                    let _ = self.refused.try_send(Answer::Ended(ending()));
                    return;
                }
            };
            match batch {
                Ok(Some(batch)) => {
                    if self.take(batch).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        // The caller sends no more, and waits for its receipts.
        let _ = self.room.acquire_many(self.max_items).await;
    }

    async fn take(&self, batch: SubmitBatch) -> Result<(), ()> {
        let mut items = batch.items.into_iter().peekable();
        while items.peek().is_some() {
            let part: Vec<_> = items.by_ref().take(self.max_items as usize).collect();
            let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.room
                .acquire_many(count)
                .await
                .map_err(|_| ())?
                .forget();
            let mut commands = Vec::with_capacity(part.len());
            let mut refused = Vec::new();
            for item in part {
                let correlation = item.correlation;
                match convert::command(item, self.rules.as_ref()) {
                    Ok(command) => commands.push(command),
                    Err(refusal) => refused.push(refusal_of(correlation, refusal)),
                }
            }
            if !refused.is_empty() {
                self.refused
                    .try_send(Answer::Receipts(refused))
                    .map_err(|_| ())?;
            }
            if !commands.is_empty()
                && let Err(refusal) = self.commands.submit(commands).await
            {
                let _ = self.refused.try_send(Answer::Ended(refusal));
                return Err(());
            }
        }
        Ok(())
    }
}

fn refusal_of(correlation: u64, refusal: Refusal) -> Receipt {
    metrics::counter!("flare_orchestrator_refusals_total", "code" => refusal.code.as_str_name())
        .increment(1);
    Receipt {
        correlation,
        result: Err(refusal),
        owner: None,
    }
}

/// The receipts of a stream. Dropped: its reader ends.
struct Receipts {
    answers: mpsc::Receiver<Answer>,
    room: Arc<Semaphore>,
    ended: Option<Refusal>,
    _reader: DropGuard,
}

impl Receipts {
    /// Whatever is there, in one batch.
    async fn next(mut self) -> Option<(Result<ReceiptBatch, Status>, Self)> {
        let mut receipts = Vec::new();
        while self.ended.is_none() {
            let answer = match receipts.is_empty() {
                true => self.answers.recv().await?,
                false => match self.answers.try_recv() {
                    Ok(answer) => answer,
                    Err(_) => break,
                },
            };
            match answer {
                Answer::Receipts(more) => receipts.extend(more),
                Answer::Ended(refusal) => self.ended = Some(refusal),
            }
        }
        if receipts.is_empty()
            && let Some(refusal) = self.ended.clone()
        {
            return Some((Err(refusal.into()), self));
        }
        self.room.add_permits(receipts.len());
        let batch = ReceiptBatch {
            receipts: receipts.into_iter().map(convert::receipt).collect(),
        };
        Some((Ok(batch), self))
    }
}

#[tonic::async_trait]
impl MessageOrchestratorService for OrchestratorHandler {
    type SubmitStream = Pin<Box<dyn Stream<Item = Result<ReceiptBatch, Status>> + Send>>;

    async fn submit(
        &self,
        request: Request<Streaming<SubmitBatch>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let (commands, answers) = self.streams.open();
        let max_items = self.streams.max_items();
        let room = Arc::new(Semaphore::new(max_items));
        let ended = CancellationToken::new();
        let reader = Reader {
            refused: commands.answers(),
            commands,
            rules: Arc::clone(&self.rules),
            room: Arc::clone(&room),
            max_items: u32::try_from(max_items).unwrap_or(u32::MAX),
        };
        let token = ended.clone();
        let inbound = request.into_inner();
        tokio::spawn(async move { token.run_until_cancelled_owned(reader.run(inbound)).await });
        let receipts = Receipts {
            answers,
            room,
            ended: None,
            _reader: ended.drop_guard(),
        };
        Ok(Response::new(Box::pin(futures::stream::unfold(
            receipts,
            Receipts::next,
        ))))
    }

    async fn submit_once(
        &self,
        request: Request<SubmitBatch>,
    ) -> Result<Response<ReceiptBatch>, Status> {
        let items = request.into_inner().items;
        let max_items = self.streams.max_items();
        if items.len() > max_items {
            let message = format!("batch has {} items, the limit is {max_items}", items.len());
            return Err(Refusal::invalid("items", message).into());
        }
        let (stream, mut answers) = self.streams.open();
        // Callers may leave correlations out: here, an item's place tells whose receipt it is.
        let correlations: Vec<u64> = items.iter().map(|it| it.correlation).collect();
        let mut results: HashMap<u64, Receipt> = HashMap::with_capacity(items.len());
        let mut commands = Vec::with_capacity(items.len());
        for (place, item) in (0..).zip(items) {
            match convert::command(item, self.rules.as_ref()) {
                Ok(mut command) => {
                    command.origin.correlation = place;
                    commands.push(command);
                }
                Err(refusal) => {
                    results.insert(place, refusal_of(place, refusal));
                }
            }
        }
        stream.submit(commands).await?;
        while results.len() < correlations.len() {
            match answers.recv().await {
                Some(Answer::Receipts(receipts)) => {
                    results.extend(receipts.into_iter().map(|it| (it.correlation, it)));
                }
                Some(Answer::Ended(refusal)) => return Err(refusal.into()),
                None => return Err(ending().into()),
            }
        }
        let receipts = (0..)
            .zip(correlations)
            .filter_map(|(place, correlation)| {
                let receipt = results.remove(&place)?;
                Some(convert::receipt(Receipt {
                    correlation,
                    ..receipt
                }))
            })
            .collect();
        Ok(Response::new(ReceiptBatch { receipts }))
    }
}
