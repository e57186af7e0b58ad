//! What an owner wants done, as futures that end in the answer.

use std::{fmt::Display, sync::Arc, time::Duration};

use flare_server_core::{
    clock::{Clock, IdSource},
    message_log::{AppendError, MessageLog},
    owners::{Owners, Ownerships},
    service::ServiceError,
    shutdown::Shutdown,
    telemetry::Spans,
};
use flare_storage_model::{MessageQuery, MessageStore, StoreError, decode_header};
use futures::future::BoxFuture;
use tracing::{Instrument, Span};

use super::question::Question;
use crate::application::{
    hooks::HookChain, ports::Authority, rate_limits::RateLimits, turns::Turns,
};
use crate::domain::owner::{AppendReport, Input, Output, ReadAnswer, ReadRequest, Target};

/// A page of the log.
const PAGE_BYTES: usize = 4 << 20;
/// The first pause after somebody else was found to own a log.
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// The first pause before the session is asked again.
const ASK_PAUSE: Duration = Duration::from_millis(5);

/// What partitions' tasks share.
pub struct Surroundings {
    /// Where groups go.
    pub log: Arc<dyn MessageLog>,
    /// What the log no longer has to say.
    pub store: Arc<dyn MessageStore>,
    /// Who is what to a conversation.
    pub authority: Arc<dyn Authority>,
    /// Who sees messages first.
    pub hooks: HookChain,
    /// When each group is made.
    pub turns: Turns,
    /// How fast conversations may grow.
    pub limits: Arc<RateLimits>,
    /// What this process owns, for others to know.
    pub ownerships: Ownerships,
    /// Who owns what it does not.
    pub owners: Owners,
    /// Where this process answers.
    pub endpoint: Arc<str>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// For jitter.
    pub ids: Arc<IdSource>,
    /// When to end.
    pub shutdown: Shutdown,
    /// Of sampled traces.
    pub spans: Spans,
    /// For each read of store and log.
    pub call_timeout: Duration,
}

/// Does it; the future ends in the owner's input. `question`: how telemetry sees it.
pub(super) fn perform(
    output: Output,
    around: &Arc<Surroundings>,
    partition: u32,
    question: Option<Question>,
) -> BoxFuture<'static, Input> {
    let around = Arc::clone(around);
    Box::pin(async move {
        let span = question.as_ref().map_or_else(Span::none, Question::span);
        let answered = |error: Option<&dyn Display>| {
            if let Some(question) = question {
                question.answered(&around.spans, error);
            }
        };
        match output {
            Output::ReadCursor { fold } => {
                match in_time(&around, around.store.cursor(partition)).await {
                    Ok(cursor) => Input::CursorRead { fold, cursor },
                    Err(error) => fold_failed(fold, error.as_ref()),
                }
            }
            Output::ReadLog { fold, from } => {
                match in_time(&around, around.log.read(partition, from, PAGE_BYTES)).await {
                    Ok(page) => {
                        let end = page.records.last().map_or(from, |(offset, _)| offset + 1);
                        Input::LogRead {
                            fold,
                            at_end: end >= page.durable_end,
                            records: page.records,
                        }
                    }
                    Err(error) => fold_failed(fold, error.as_ref()),
                }
            }
            Output::BackOff { fold, attempt } => {
                let pause = grown(PAUSE, attempt).min(MAX_PAUSE);
                // Between half and all of it, so that two who contend do not meet again.
                let share = (around.ids.random_u64() >> 32) as u32;
                let jitter = pause.mul_f64(f64::from(share) / f64::from(u32::MAX) / 2.0);
                tokio::time::sleep(pause / 2 + jitter).await;
                Input::BackedOff { fold }
            }
            Output::AwaitTurn => {
                around.turns.next().await;
                Input::TurnCame
            }
            Output::Append { append, record, .. } => {
                let (report, error) = match around.log.append(partition, record).await {
                    Ok(offset) => (AppendReport::At(offset), None),
                    Err(AppendError::NoRoom { .. }) => (AppendReport::NoRoom, None),
                    Err(error) => (AppendReport::Unknown, Some(error)),
                };
                answered(error.as_ref().map(|it| it as _));
                Input::Appended { append, report }
            }
            Output::Read { read, request } => {
                let answer = in_time(&around, read_store(&around, partition, request)).await;
                answered(answer.as_ref().err().map(|it| it as _));
                Input::ReadAnswered {
                    read,
                    answer: answer.ok(),
                }
            }
            Output::Authorise {
                ask,
                attempt,
                items,
            } => {
                if attempt > 1 {
                    tokio::time::sleep(grown(ASK_PAUSE, attempt - 1)).await;
                }
                let answers = around.authority.authorise(&items).await;
                answered(answers.as_ref().err().map(|it| it as _));
                Input::Authorised {
                    ask,
                    answers: answers.ok(),
                }
            }
            Output::AskHooks { hook, command } => {
                let asking = around.hooks.ask(&command, &around.spans);
                let verdict = asking.instrument(span).await;
                answered(None);
                Input::HooksAnswered { hook, verdict }
            }
            // Done by the shell itself.
            Output::Reply { .. }
            | Output::EndStream(_)
            | Output::Owned
            | Output::Lost
            | Output::Skipped(_)
            | Output::Halt(_) => std::future::pending().await,
        }
    })
}

fn grown(first: Duration, attempt: u32) -> Duration {
    first.saturating_mul(1 << attempt.saturating_sub(1).min(16))
}

/// Gives up after the time that a call may take.
async fn in_time<T, E>(
    around: &Surroundings,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, ServiceError>
where
    E: Into<ServiceError>,
{
    match tokio::time::timeout(around.call_timeout, call).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(format!("no answer in {} ms", around.call_timeout.as_millis()).into()),
    }
}

fn fold_failed(fold: u64, error: &dyn std::error::Error) -> Input {
    tracing::error!(error = %error, "log cannot be folded");
    Input::FoldFailed { fold }
}

async fn read_store(
    around: &Surroundings,
    partition: u32,
    request: ReadRequest,
) -> Result<ReadAnswer, StoreError> {
    // Before the rows: they cover at least what the cursor says.
    let as_of = around.store.cursor(partition).await?.next_offset;
    let heads = match request.heads.is_empty() {
        true => Vec::new(),
        false => around.store.heads(&request.heads).await?,
    };
    let receipts = match request.ids.is_empty() {
        true => Vec::new(),
        false => around.store.receipts(&request.ids).await?,
    };
    let mut targets = Vec::with_capacity(request.targets.len());
    for (key, seq) in request.targets {
        let row = around
            .store
            .messages(&key, MessageQuery::After(seq.saturating_sub(1)), 1)
            .await?;
        targets.push(match row.into_iter().next().filter(|it| it.seq == seq) {
            None => None,
            Some(row) => {
                let header = decode_header(row.event)
                    .map_err(|error| StoreError::Damaged(error.to_string()))?;
                Some(Target {
                    sender: header.sender_id.into(),
                    time_ms: header.time_ms,
                    recalled: row.recalled_by_seq.is_some(),
                })
            }
        });
    }
    Ok(ReadAnswer {
        as_of,
        heads,
        receipts,
        targets,
    })
}

/// Waits until the store's cursor is beyond `offset`.
pub(super) fn cursor_beyond(
    around: &Arc<Surroundings>,
    partition: u32,
    offset: u64,
) -> BoxFuture<'static, Input> {
    let around = Arc::clone(around);
    Box::pin(async move {
        loop {
            match around.store.wait_beyond(partition, offset).await {
                Ok(cursor) => return Input::CursorMoved(cursor),
                Err(StoreError::Closed) => std::future::pending().await,
                Err(error) => {
                    tracing::error!(partition, %error, "message store's cursor cannot be watched");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    })
}
