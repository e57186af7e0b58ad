//! Brings decided changes into their conversations' logs, each once, however often it takes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use flare_server_core::{error::Refusal, shutdown::Shutdown};
use flare_storage_model::ConversationKey;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::{
    sync::{Notify, watch},
    time::{Interval, MissedTickBehavior},
};

use super::{
    heads::Heads,
    ports::{
        ConversationStore, MessageOrchestrator, OutboxLine, Placed, RosterStore, StoreError,
        SubmitError,
    },
    turns::{Turn, Turns},
};
use crate::domain::head::StreamEvent;

/// When a caller whose change waits in the outbox should ask again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long an answer about a conversation waits for a change of it that is in flight.
const PATIENCE: Duration = Duration::from_millis(200);
/// Conversations whose landed changes are settled at the same time.
const SETTLED_AT_ONCE: usize = 8;
/// The sweeper's pauses between attempts, jittered: they double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// The outbox. A line is submitted by whoever wrote it, and again by [`sweep`](Self::sweep) while it has no seq: at start, when a
/// submission did not end well, and when its writer was cancelled.
///
/// One conversation has at most one line without a seq: who holds its [`Turn`] drains before he writes another.
pub struct Outbox {
    store: Arc<dyn ConversationStore>,
    rosters: Arc<dyn RosterStore>,
    orchestrator: Arc<dyn MessageOrchestrator>,
    heads: Arc<Heads>,
    /// How often lines that others left are looked for; None: there are no others.
    look_every: Option<Duration>,
    turns: Turns,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    /// Conversations that may have lines without a seq.
    waiting: HashSet<ConversationKey>,
    /// Conversations whose line is being submitted, or its place written. Closed when that ends.
    in_flight: HashMap<ConversationKey, watch::Receiver<()>>,
}

/// Sees to it that a line whose writer fails or is cancelled is swept.
pub struct Expected<'a> {
    outbox: &'a Outbox,
    key: ConversationKey,
    settled: bool,
}

impl Outbox {
    /// An outbox that knows of no line yet; [`sweep`](Self::sweep) finds those in the store. Where other processes write lines, too, it looks for those that
    /// wait for longer than `look_every`: whoever wrote one had all that time.
    pub fn new(
        store: Arc<dyn ConversationStore>,
        rosters: Arc<dyn RosterStore>,
        orchestrator: Arc<dyn MessageOrchestrator>,
        heads: Arc<Heads>,
        look_every: Option<Duration>,
    ) -> Self {
        Self {
            store,
            rosters,
            orchestrator,
            heads,
            look_every,
            turns: Turns::default(),
            state: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Waits for the right to change the conversation.
    pub async fn turn(&self, key: &ConversationKey) -> Turn {
        self.turns.take(key).await
    }

    /// Announces a line, before it is written. Dropped before [`Expected::settled`], it wakes the sweeper.
    pub fn expect(&self, turn: &Turn) -> Expected<'_> {
        self.state().waiting.insert(turn.key().clone());
        Expected {
            outbox: self,
            key: turn.key().clone(),
            settled: false,
        }
    }

    /// Has the sweeper look at what waits.
    pub fn nudge(&self) {
        self.wake.notify_one();
    }

    /// Submits what waits of the conversation. On Ok nothing waits; what the log refused for good was taken back.
    pub async fn drain(&self, turn: &Turn) -> Result<(), Refusal> {
        let mut expected = None;
        for line in self.store.pending(turn.key()).await? {
            let expected = expected.get_or_insert_with(|| self.expect(turn));
            match self.submit(turn, &line).await {
                Ok(_) => {}
                Err(SubmitError::Refused(refusal)) => {
                    tracing::warn!(line = %line.line, conversation = %line.key, %refusal, "a change was refused by the log and taken back");
                }
                Err(SubmitError::Unknown(refusal)) => {
                    // It goes on waiting; who drains decides whether that is the sweeper's business.
                    expected.settled = true;
                    return Err(refusal);
                }
            }
        }
        if let Some(expected) = expected {
            expected.settled();
        } else if self.state().waiting.remove(turn.key()) {
            // Its writer may have been given up when the rows were written, and nobody had been told of it.
            self.changed(turn.key());
        }
        Ok(())
    }

    /// Submits a line and writes its seq, or takes it back if the log refuses it for good. [`SubmitError::Unknown`] leaves the line where it is.
    pub async fn submit(&self, turn: &Turn, line: &OutboxLine) -> Result<Placed, SubmitError> {
        let _in_flight = self.begin(turn.key());
        let outcome = self.orchestrator.submit(line).await;
        let written = match &outcome {
            Ok(placed) => self.store.settle(line, placed).await,
            Err(SubmitError::Refused(_)) => self.store.withdraw(line).await,
            Err(SubmitError::Unknown(refusal)) => {
                metrics::counter!("flare_session_submit_unknown_total").increment(1);
                return Err(SubmitError::Unknown(later(&refusal.message)));
            }
        };
        self.changed(&line.key);
        match written {
            Ok(()) => outcome,
            Err(error) => Err(SubmitError::Unknown(later(&error.to_string()))),
        }
    }

    /// Rows of the conversation may have changed. Its event may have come by before: inboxes that saw it without them see it again. Where others serve the
    /// same users none has seen it so, as [`settle_landed`](Self::settle_landed) says.
    pub fn changed(&self, key: &ConversationKey) {
        self.rosters.forget(key);
        if self.look_every.is_none() {
            self.heads.touch(key);
        }
    }

    /// Changes came by. The lines that have become them are settled, whoever submitted them: when this returns, the rows are as the events say.
    pub async fn settle_landed(&self, events: &[StreamEvent]) -> Result<(), StoreError> {
        let mut landed: BTreeMap<&ConversationKey, Vec<(Arc<str>, Placed)>> = BTreeMap::new();
        for event in events {
            if let Some(line) = &event.line {
                let placed = Placed {
                    seq: event.seq,
                    ordinal: event.ordinal,
                    time_ms: event.time_ms,
                };
                let of_one = landed.entry(&event.key).or_default();
                of_one.push((Arc::clone(line), placed));
            }
        }
        let settling = landed
            .into_iter()
            .map(|(key, landed)| self.settle_pending(key.clone(), landed))
            .collect::<Vec<_>>();
        let settled = stream::iter(settling).buffer_unordered(SETTLED_AT_ONCE);
        settled.try_collect().await
    }

    async fn settle_pending(
        &self,
        key: ConversationKey,
        landed: Vec<(Arc<str>, Placed)>,
    ) -> Result<(), StoreError> {
        // At most one waits: those before it are settled.
        for pending in self.store.pending(&key).await? {
            let placed = landed.iter().find(|(line, _)| **line == *pending.line);
            if let Some((_, placed)) = placed {
                self.store.settle(&pending, placed).await?;
                self.changed(&key);
            }
        }
        Ok(())
    }

    /// Waits for a moment while a line of the conversation is in flight: who asks because the log has an event of it then finds the rows as the
    /// log has them.
    pub async fn settled(&self, key: &ConversationKey) {
        let in_flight = self.state().in_flight.get(key).cloned();
        if let Some(mut in_flight) = in_flight {
            // Ends when the submitter drops its end.
            let ended = async { while in_flight.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(PATIENCE, ended).await;
        }
    }

    /// An event of the conversation came by that this service has decided: if its line waits, the log has it.
    pub fn landed(&self, key: &ConversationKey) {
        let state = self.state();
        if state.waiting.contains(key) && !state.in_flight.contains_key(key) {
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Submits lines that wait until the process drains. Idle, it costs nothing, but for a look at what others left.
    pub async fn sweep(&self, shutdown: &Shutdown) -> Result<(), StoreError> {
        let mut others = self.look_every.map(Others::new);
        if others.is_none() {
            let found = self.store.pending_conversations().await?;
            self.state().waiting.extend(found);
        }
        let mut pauses = pauses();
        while !shutdown.is_draining() {
            let waiting: Vec<_> = self.state().waiting.iter().cloned().collect();
            metrics::gauge!("flare_session_outbox_waiting").set(waiting.len() as f64);
            let mut left = false;
            for key in waiting {
                let swept = shutdown.or_drain(async {
                    let turn = self.turn(&key).await;
                    self.drain(&turn).await
                });
                match swept.await {
                    Some(Ok(())) => {}
                    Some(Err(refusal)) => {
                        tracing::debug!(conversation = %key, %refusal, "changes wait in the outbox");
                        left = true;
                    }
                    None => return Ok(()),
                }
            }
            let pause = match left {
                true => Some(pauses.next().unwrap_or(LAST_PAUSE)),
                false => {
                    pauses = self::pauses();
                    None
                }
            };
            let resting = async {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = sleep(pause) => {}
                    () = self.look(others.as_mut()) => {}
                }
            };
            shutdown.or_drain(resting).await;
        }
        Ok(())
    }

    /// When it is time to look, takes over what waited at the last look, too: who had it is gone, or has tried it in vain. For ever, if there are no others.
    async fn look(&self, others: Option<&mut Others>) {
        let Some(others) = others else {
            return std::future::pending().await;
        };
        others.looks.tick().await;
        match self.store.pending_conversations().await {
            Ok(found) => {
                let found: HashSet<_> = found.into_iter().collect();
                let left = found.intersection(&others.waited).cloned();
                self.state().waiting.extend(left);
                others.waited = found;
            }
            Err(error) => {
                tracing::warn!(%error, "the outbox is not looked through for what others left");
            }
        }
    }

    fn begin(&self, key: &ConversationKey) -> InFlight<'_> {
        let (ends, ended) = watch::channel(());
        self.state().in_flight.insert(key.clone(), ended);
        InFlight {
            outbox: self,
            key: key.clone(),
            _ends: ends,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was seen of other processes' lines.
struct Others {
    looks: Interval,
    /// Conversations that had lines without a seq when it was last looked.
    waited: HashSet<ConversationKey>,
}

impl Others {
    fn new(look_every: Duration) -> Self {
        let mut looks = tokio::time::interval(look_every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            looks,
            waited: HashSet::new(),
        }
    }
}

/// For ever, if there is no time.
async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

struct InFlight<'a> {
    outbox: &'a Outbox,
    key: ConversationKey,
    _ends: watch::Sender<()>,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.outbox.state().in_flight.remove(&self.key);
    }
}

impl Expected<'_> {
    /// Nothing of the conversation waits.
    pub fn settled(mut self) {
        self.settled = true;
        self.outbox.state().waiting.remove(&self.key);
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.outbox.wake.notify_one();
        }
    }
}

/// The change is kept and will be made; its outcome is not known yet.
fn later(cause: &str) -> Refusal {
    Refusal::unavailable(
        format!(
            "the change is kept and waits for the conversation's log ({cause}): ask again with the same client id"
        ),
        RETRY_AFTER,
    )
}

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LAST_PAUSE)
        .without_max_times()
        .build()
}
