//! Signals on their way to push-server: bounded, and not waited for. What others are told may be lost: it is told again, or with the next. A user's own
//! devices learn by nothing else what he did on another one, so of a signal to them that is lost they are told to sync their inboxes.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use flare_server_core::shutdown::Shutdown;
use flare_storage_model::ConversationKey;
use tokio::sync::Notify;

use super::ports::{Audience, Signal, SignalKind, SignalSink};

/// Read marks of one user in one group go to the others at most this often.
const GROUP_INTERVAL: Duration = Duration::from_secs(1);
/// Between attempts to have users' devices told to sync.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How many signals are handed over at once.
const SIGNALS_A_CALL: usize = 500;

/// Signals that wait to be handed over.
pub struct Signals {
    sink: Arc<dyn SignalSink>,
    max_waiting: usize,
    state: Mutex<State>,
    at_once: Notify,
    gathered: Notify,
    missed: Notify,
}

#[derive(Default)]
struct State {
    at_once: Vec<Signal>,
    /// For each user (tenant, user) whose own devices missed something: what makes them sync.
    missed: HashMap<(Arc<str>, Arc<str>), Signal>,
    /// The newest read mark of each user in a group.
    groups: HashMap<(ConversationKey, Arc<str>), u64>,
}

impl Signals {
    /// At most `max_waiting` of each kind wait.
    pub fn new(sink: Arc<dyn SignalSink>, max_waiting: usize) -> Self {
        Self {
            sink,
            max_waiting,
            state: Mutex::default(),
            at_once: Notify::new(),
            gathered: Notify::new(),
            missed: Notify::new(),
        }
    }

    /// Hands a signal over as soon as possible.
    pub fn at_once(&self, signal: Signal) {
        let mut state = self.state();
        if state.at_once.len() < self.max_waiting {
            state.at_once.push(signal);
            drop(state);
            self.at_once.notify_one();
        } else {
            drop(state);
            self.not_sent([signal], "queue_full");
        }
    }

    /// Takes note of signals that do not go out: of those to a user's own devices, these will be told to sync.
    fn not_sent(&self, signals: impl IntoIterator<Item = Signal>, reason: &'static str) {
        let mut state = self.state();
        for signal in signals {
            let whose = (Arc::clone(&signal.key.tenant), Arc::clone(&signal.user));
            let is_remembered = signal.audience != Audience::Participants
                && (state.missed.len() < self.max_waiting || state.missed.contains_key(&whose));
            if !is_remembered {
                lost(reason, 1);
                continue;
            }
            let sync = Signal {
                kind: SignalKind::Settings,
                audience: Audience::OwnDevices { except: "".into() },
                ..signal
            };
            state.missed.insert(whose, sync);
            self.missed.notify_one();
        }
    }

    /// Tells the others in a group how far a user has read, within a second.
    pub fn read_in_group(&self, key: &ConversationKey, user: &Arc<str>, seq: u64) {
        let mut state = self.state();
        let whose = (key.clone(), Arc::clone(user));
        if state.groups.len() < self.max_waiting || state.groups.contains_key(&whose) {
            let newest = state.groups.entry(whose).or_default();
            *newest = seq.max(*newest);
            drop(state);
            self.gathered.notify_one();
        } else {
            lost("queue_full", 1);
        }
    }

    /// Hands signals over until the process drains.
    pub async fn run(&self, shutdown: &Shutdown) {
        let at_once = async {
            while shutdown.or_drain(self.at_once.notified()).await.is_some() {
                let signals = mem::take(&mut self.state().at_once);
                self.send(&signals).await;
            }
        };
        let groups = async {
            while shutdown.or_drain(self.gathered.notified()).await.is_some() {
                let marks = mem::take(&mut self.state().groups);
                let signals: Vec<_> = marks
                    .into_iter()
                    .map(|((key, user), seq)| Signal {
                        key,
                        user,
                        kind: SignalKind::Read(seq),
                        audience: Audience::Participants,
                    })
                    .collect();
                self.send(&signals).await;
                shutdown.or_drain(tokio::time::sleep(GROUP_INTERVAL)).await;
            }
        };
        let missed = async {
            while shutdown.or_drain(self.missed.notified()).await.is_some() {
                shutdown.or_drain(self.tell_who_missed_something()).await;
            }
        };
        futures::join!(at_once, groups, missed);
    }

    async fn send(&self, signals: &[Signal]) {
        for chunk in signals.chunks(SIGNALS_A_CALL) {
            if !self.hand_over(chunk).await {
                self.not_sent(chunk.iter().cloned(), "refused");
            }
        }
    }

    /// Returns when push-server has taken all of it.
    async fn tell_who_missed_something(&self) {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(SHORTEST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pauses = backoff.build();
        loop {
            // Whoever was refused just now is in no hurry.
            tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
            // Out of the memory first: what is missed from here on has a call of its own.
            let some = self.take_missed();
            if some.is_empty() {
                return;
            }
            if self.hand_over(&some).await {
                pauses = backoff.build();
            } else {
                self.not_sent(some, "refused");
            }
        }
    }

    fn take_missed(&self) -> Vec<Signal> {
        let mut state = self.state();
        let whose: Vec<_> = state.missed.keys().take(SIGNALS_A_CALL).cloned().collect();
        whose
            .iter()
            .filter_map(|it| state.missed.remove(it))
            .collect()
    }

    /// Whether push-server takes them.
    async fn hand_over(&self, signals: &[Signal]) -> bool {
        match self.sink.send(signals).await {
            Ok(()) => {
                metrics::counter!("flare_session_signals_sent_total")
                    .increment(signals.len() as u64);
                true
            }
            Err(refusal) => {
                tracing::debug!(%refusal, signals = signals.len(), "signals were not taken");
                false
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost(reason: &'static str, count: usize) {
    metrics::counter!("flare_session_signals_lost_total", "reason" => reason)
        .increment(count as u64);
}

#[cfg(test)]
mod tests {
    use std::sync::{
        OnceLock, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use async_trait::async_trait;
    use flare_server_core::error::Refusal;
    use tokio::sync::mpsc;

    use super::*;

    /// Refuses so many calls before it takes any.
    struct Heard(mpsc::Sender<Vec<Signal>>, AtomicUsize);

    fn hearing(sender: mpsc::Sender<Vec<Signal>>) -> Arc<Heard> {
        Arc::new(Heard(sender, AtomicUsize::new(0)))
    }

    #[async_trait]
    impl SignalSink for Heard {
        async fn send(&self, signals: &[Signal]) -> Result<(), Refusal> {
            let left = self.1.load(SeqCst);
            if left > 0 {
                self.1.store(left - 1, SeqCst);
                return Err(Refusal::unavailable("not now", Duration::ZERO));
            }
            self.0
                .send(signals.to_vec())
                .await
                .expect("somebody listens");
            Ok(())
        }
    }

    fn read(seq: u64) -> Signal {
        Signal {
            key: ConversationKey::new("t", "g"),
            user: "alice".into(),
            kind: SignalKind::Read(seq),
            audience: Audience::Participants,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn read_marks_in_a_group_are_gathered_for_a_second() {
        let (sender, mut heard) = mpsc::channel(8);
        let signals = Arc::new(Signals::new(hearing(sender), 10));
        let shutdown = Shutdown::new();
        let running = tokio::spawn({
            let (signals, shutdown) = (Arc::clone(&signals), shutdown.clone());
            async move { signals.run(&shutdown).await }
        });
        let (key, alice) = (ConversationKey::new("t", "g"), Arc::from("alice"));
        let start = tokio::time::Instant::now();
        signals.read_in_group(&key, &alice, 1);
        assert_eq!(heard.recv().await, Some(vec![read(1)]));
        for seq in [2, 4, 3] {
            signals.read_in_group(&key, &alice, seq);
        }
        assert_eq!(heard.recv().await, Some(vec![read(4)]));
        assert!(start.elapsed() >= GROUP_INTERVAL);
        signals.at_once(read(9));
        assert_eq!(heard.recv().await, Some(vec![read(9)]));
        shutdown.drain();
        running.await.expect("ends");
    }

    fn to_own_devices(user: &str, kind: SignalKind, except: &str) -> Signal {
        Signal {
            key: ConversationKey::new("t", "g"),
            user: user.into(),
            kind,
            audience: Audience::OwnDevices {
                except: except.into(),
            },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn own_devices_that_missed_a_signal_are_told_to_sync_once_that_is_possible() {
        let (sender, mut heard) = mpsc::channel(8);
        let sink = hearing(sender);
        sink.1.store(3, SeqCst);
        let signals = Arc::new(Signals::new(Arc::clone(&sink) as _, 2));
        let own = |user| to_own_devices(user, SignalKind::Read(7), "phone");
        // The third has no room, and the two before it are refused.
        for user in ["alice", "alice", "bob"] {
            signals.at_once(own(user));
        }
        let shutdown = Shutdown::new();
        let running = tokio::spawn({
            let (signals, shutdown) = (Arc::clone(&signals), shutdown.clone());
            async move { signals.run(&shutdown).await }
        });
        let mut told = heard.recv().await.expect("told");
        told.sort_by(|one, other| one.user.cmp(&other.user));
        let sync = |user| to_own_devices(user, SignalKind::Settings, "");
        assert_eq!(told, [sync("alice"), sync("bob")]);
        // Nothing is told twice.
        signals.at_once(own("alice"));
        assert_eq!(heard.recv().await, Some(vec![own("alice")]));
        shutdown.drain();
        running.await.expect("ends");
    }

    /// Refuses the first call; while it takes the second, something more is missed.
    struct Late {
        signals: OnceLock<Weak<Signals>>,
        calls: AtomicUsize,
        heard: mpsc::Sender<Vec<Signal>>,
    }

    #[async_trait]
    impl SignalSink for Late {
        async fn send(&self, signals: &[Signal]) -> Result<(), Refusal> {
            match self.calls.fetch_add(1, SeqCst) {
                0 => return Err(Refusal::unavailable("not now", Duration::ZERO)),
                1 => {
                    let own = to_own_devices("alice", SignalKind::Read(8), "phone");
                    let late = self.signals.get().and_then(Weak::upgrade);
                    late.expect("it lives").not_sent([own], "refused");
                }
                _ => {}
            }
            self.heard.send(signals.to_vec()).await.expect("heard");
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_missed_while_devices_are_told_to_sync_is_told_once_more() {
        let (heard, mut hears) = mpsc::channel(8);
        let sink = Arc::new(Late {
            signals: OnceLock::new(),
            calls: AtomicUsize::new(0),
            heard,
        });
        let signals = Arc::new(Signals::new(Arc::clone(&sink) as _, 2));
        sink.signals.set(Arc::downgrade(&signals)).expect("once");
        signals.at_once(to_own_devices("alice", SignalKind::Read(7), "phone"));
        let shutdown = Shutdown::new();
        let running = tokio::spawn({
            let (signals, shutdown) = (Arc::clone(&signals), shutdown.clone());
            async move { signals.run(&shutdown).await }
        });
        let sync = vec![to_own_devices("alice", SignalKind::Settings, "")];
        for _ in 0..2 {
            let told = tokio::time::timeout(Duration::from_secs(60), hears.recv()).await;
            assert_eq!(told, Ok(Some(sync.clone())));
        }
        shutdown.drain();
        running.await.expect("ends");
    }

    #[test]
    fn what_has_no_room_is_lost_and_counted() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let signals = Signals::new(hearing(mpsc::channel(8).0), 1);
            signals.at_once(read(1));
            signals.at_once(read(2));
            let key = ConversationKey::new("t", "g");
            signals.read_in_group(&key, &"alice".into(), 1);
            signals.read_in_group(&key, &"alice".into(), 2);
            signals.read_in_group(&key, &"bob".into(), 1);
        });
        let rendered = recorder.handle().render();
        assert!(
            rendered.contains("flare_session_signals_lost_total{reason=\"queue_full\"} 2"),
            "{rendered}"
        );
    }
}
