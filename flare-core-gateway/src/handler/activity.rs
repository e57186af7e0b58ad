//! Whether a connection is used.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, sleep_until};
use tower::Service;

/// The requests of one connection. Clones share one state.
#[derive(Clone)]
pub struct Activity {
    state: Arc<Mutex<State>>,
}

struct State {
    in_flight: usize,
    last: Instant,
}

impl Activity {
    /// Begins now; no request so far.
    pub fn begin() -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                in_flight: 0,
                last: Instant::now(),
            })),
        }
    }

    /// The service, whose requests count.
    pub fn observe<S>(&self, inner: S) -> Observed<S> {
        Observed {
            inner,
            activity: self.clone(),
        }
    }

    /// Resolves when there was no request for so long.
    pub async fn idle(&self, patience: Duration) {
        loop {
            let now = Instant::now();
            let until = self.with(|state| match state.in_flight {
                0 => state.last + patience,
                _ => now + patience,
            });
            if until <= now {
                return;
            }
            sleep_until(until).await;
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request that is being answered.
struct Begun(Activity);

impl Begun {
    fn new(activity: &Activity) -> Self {
        activity.with(|state| state.in_flight += 1);
        Self(activity.clone())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.in_flight -= 1;
            state.last = Instant::now();
        });
    }
}

/// A service whose requests count.
#[derive(Clone)]
pub struct Observed<S> {
    inner: S,
    activity: Activity,
}

impl<S, R> Service<R> for Observed<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let begun = Begun::new(&self.activity);
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await;
            drop(begun);
            answer
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_so_long_after_its_last_request() {
        let activity = Activity::begin();
        let begun = Instant::now();
        let request = Begun::new(&activity);
        let answered = async {
            sleep_until(begun + 3 * PATIENCE / 2).await;
            drop(request);
        };
        tokio::join!(activity.idle(PATIENCE), answered);
        assert_eq!(begun.elapsed(), 5 * PATIENCE / 2);
    }
}
