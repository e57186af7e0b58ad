//! One answer for all who ask at the same time.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::sync::Mutex;

/// A question that many ask. Each gets an answer to a question that began after he asked; those who ask while one is under way share the next.
pub(super) struct Fresh<T> {
    /// How many questions have begun.
    begun: AtomicU64,
    /// The last answer, and to which question.
    last: Mutex<Option<(u64, T)>>,
}

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            last: Mutex::const_new(None),
        }
    }
}

impl<T: Clone> Fresh<T> {
    /// Asks by `question`, or shares the answer of somebody who does. Safe to cancel.
    pub(super) async fn ask(&self, question: impl AsyncFnOnce() -> T) -> T {
        let mine = self.begun.load(SeqCst) + 1;
        let mut last = self.last.lock().await;
        if let Some((number, answer)) = &*last
            && *number >= mine
        {
            return answer.clone();
        }
        let number = self.begun.fetch_add(1, SeqCst) + 1;
        let answer = question().await;
        *last = Some((number, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn who_asks_while_a_question_is_under_way_shares_the_next() {
        let (fresh, asked, go) = (
            Arc::new(Fresh::default()),
            Arc::new(AtomicU64::new(0)),
            Arc::new(Semaphore::new(0)),
        );
        let ask = || {
            let (fresh, asked, go) = (fresh.clone(), asked.clone(), go.clone());
            tokio::spawn(async move {
                let question = async || {
                    let number = asked.fetch_add(1, SeqCst);
                    drop(go.acquire().await);
                    number
                };
                fresh.ask(question).await
            })
        };
        let first = ask();
        while asked.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..5).map(|_| ask()).collect();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        go.add_permits(1);
        assert_eq!(first.await.ok(), Some(0));
        for other in others {
            assert_eq!(other.await.ok(), Some(1));
        }
        assert_eq!(fresh.ask(async || 7).await, 7);
    }
}
