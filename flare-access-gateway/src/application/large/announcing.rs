//! Tells every instance of flare-signaling-route what interests this gateway.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
    sync::Arc,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;
use futures::StreamExt;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Duration, Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::LargeConversations;
use crate::application::ports::{InterestStream, Routers, Statement};

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A stream that has lasted so long was a good one: the next begins after the shortest pause.
const GOOD_AFTER: Duration = Duration::from_secs(1);
/// How long the farewell may take when a process ends.
const FAREWELL: Duration = Duration::from_secs(1);

type Keys = HashSet<Arc<ConversationKey>>;

/// Looks at a directory's changes for as long as it lives.
struct Announcer<'a> {
    large: &'a LargeConversations,
    number: u64,
}

impl Drop for Announcer<'_> {
    fn drop(&mut self) {
        self.large.directory().forget_announcer(self.number);
    }
}

impl LargeConversations {
    /// Tells until `closed`, and says farewell.
    pub async fn run_announcing(
        self: Arc<Self>,
        routers: Arc<dyn Routers>,
        closed: CancellationToken,
    ) {
        let mut known = BTreeSet::new();
        let mut told: HashMap<String, AbortHandle> = HashMap::new();
        let mut tasks = JoinSet::new();
        while let Some(instances) = closed.run_until_cancelled(routers.instances(&known)).await {
            told.retain(|endpoint, task| {
                let stays = instances.contains(endpoint);
                if !stays {
                    task.abort();
                }
                stays
            });
            for endpoint in &instances {
                told.entry(endpoint.clone()).or_insert_with(|| {
                    let (large, routers) = (Arc::clone(&self), Arc::clone(&routers));
                    let (endpoint, closed) = (endpoint.clone(), closed.clone());
                    tasks.spawn(
                        async move { large.keep_telling(&*routers, &endpoint, closed).await },
                    )
                });
            }
            known = instances;
        }
        let farewell = async { while tasks.join_next().await.is_some() {} };
        if timeout(FAREWELL, farewell).await.is_err() {
            tracing::debug!("an instance of flare-signaling-route has not heard the farewell");
        }
    }

    async fn keep_telling(&self, routers: &dyn Routers, endpoint: &str, closed: CancellationToken) {
        let growing = ExponentialBuilder::default()
            .with_min_delay(SHORTEST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pauses = growing.build();
        let mut last_refusal = String::new();
        let mut told = Keys::new();
        while !closed.is_cancelled() {
            let began = Instant::now();
            let ended = self
                .tell_instance(routers, endpoint, &mut told, &closed)
                .await;
            if let Err(refusal) = ended
                && *refusal.message != last_refusal
            {
                // Told once, and tried until it succeeds. Meanwhile all events of large conversations come here.
                last_refusal = refusal.message.to_string();
                tracing::warn!(
                    why = last_refusal,
                    "flare-signaling-route is not told what interests this gateway"
                );
            }
            if began.elapsed() >= GOOD_AFTER {
                pauses = growing.build();
            }
            let pause = sleep(pauses.next().unwrap_or(LONGEST_PAUSE));
            closed.run_until_cancelled(pause).await;
        }
    }

    /// One stream, until it ends. `told` is what the instance has taken in, by this stream or an earlier one.
    async fn tell_instance(
        &self,
        routers: &dyn Routers,
        endpoint: &str,
        told: &mut Keys,
        closed: &CancellationToken,
    ) -> Result<(), Refusal> {
        let mut interest = self.interest.subscribe();
        let announcer = Announcer {
            number: self.directory().announcer(),
            large: self,
        };
        let opened = closed.run_until_cancelled(routers.open(endpoint)).await;
        let Some(opened) = opened else {
            return Ok(());
        };
        let InterestStream {
            statements,
            mut taken,
        } = opened?;
        let before = mem::take(told);
        let mut is_whole = false;
        loop {
            let (changes, more) = self.directory().changes(announcer.number, told);
            if is_whole && changes.begun.is_empty() && changes.ended.is_empty() {
                tokio::select! {
                    _ = interest.changed() => {}
                    answer = taken.next() => return ended(answer),
                    () = closed.cancelled() => break,
                }
                continue;
            }
            let statement = Statement {
                begun: changes.begun.clone(),
                ended: changes.ended.clone(),
                more,
            };
            if statements.send(statement).await.is_err() {
                return ended(taken.next().await);
            }
            match taken.next().await {
                Some(Ok(())) => {}
                answer => return ended(answer),
            }
            for key in &changes.ended {
                told.remove(key);
            }
            told.extend(changes.begun.iter().cloned());
            is_whole |= !more;
            // While it had not been told, events may have passed by.
            let mut begun = changes.begun;
            begun.retain(|it| !before.contains(it));
            let hints = self.directory().announced(&begun);
            self.give(hints);
        }
        drop(statements);
        while taken.next().await.is_some() {}
        Ok(())
    }
}

/// What the end of a stream says.
fn ended(answer: Option<Result<(), Refusal>>) -> Result<(), Refusal> {
    match answer {
        Some(Err(refusal)) => Err(refusal),
        Some(Ok(())) | None => Ok(()),
    }
}
