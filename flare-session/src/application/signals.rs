//! Signals on their way to push-server: bounded, and lost rather than waited for.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flare_server_core::shutdown::Shutdown;
use flare_storage_model::ConversationKey;
use tokio::sync::Notify;

use super::ports::{Audience, Signal, SignalKind, SignalSink};

/// Read marks of one user in one group go to the others at most this often.
const GROUP_INTERVAL: Duration = Duration::from_secs(1);
/// How many signals are handed over at once.
const SIGNALS_A_CALL: usize = 500;

/// Signals that wait to be handed over.
pub struct Signals {
    sink: Arc<dyn SignalSink>,
    max_waiting: usize,
    state: Mutex<State>,
    at_once: Notify,
    gathered: Notify,
}

#[derive(Default)]
struct State {
    at_once: Vec<Signal>,
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
            lost("queue_full", 1);
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
        futures::join!(at_once, groups);
    }

    async fn send(&self, signals: &[Signal]) {
        for chunk in signals.chunks(SIGNALS_A_CALL) {
            match self.sink.send(chunk).await {
                Ok(()) => metrics::counter!("flare_session_signals_sent_total")
                    .increment(chunk.len() as u64),
                Err(refusal) => {
                    tracing::debug!(%refusal, signals = chunk.len(), "signals were lost");
                    lost("refused", chunk.len());
                }
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
    use async_trait::async_trait;
    use flare_server_core::error::Refusal;
    use tokio::sync::mpsc;

    use super::*;

    struct Heard(mpsc::Sender<Vec<Signal>>);

    #[async_trait]
    impl SignalSink for Heard {
        async fn send(&self, signals: &[Signal]) -> Result<(), Refusal> {
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
        let signals = Arc::new(Signals::new(Arc::new(Heard(sender)), 10));
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

    #[test]
    fn what_has_no_room_is_lost_and_counted() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let signals = Signals::new(Arc::new(Heard(mpsc::channel(8).0)), 1);
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
