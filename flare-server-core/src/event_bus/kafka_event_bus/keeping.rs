//! Has a member's positions survive: the handler flushes, then Kafka keeps them.

use std::pin::Pin;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, Sleep};

use super::link::NotKept;
use super::positions::{Marks, Positions};
use crate::error::Refusal;

/// The pause before Kafka is to keep again what is to be settled.
const KEEP_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// So long after Kafka did not answer nothing counts as kept: the library may try again by itself what has failed here (after up to a second,
/// `retry.backoff.max.ms`), and put an old position in the place of a newer one.
const DOUBT: Duration = Duration::from_secs(2);

/// What is on its way, at most one of each kind.
#[derive(Default)]
pub(super) struct Keeping {
    /// When what moved is to be flushed and kept.
    due: Option<Pin<Box<Sleep>>>,
    flushing: Option<(Marks, BoxFuture<'static, Result<(), Refusal>>)>,
    /// Given to Kafka, which has not answered.
    sent: Option<Marks>,
    /// Until when what was not answered may still land.
    in_doubt_until: Option<Instant>,
    settling: Settling,
}

/// Whether all that is handled by now is on its way, at once: before lanes go, and at the end.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Settling {
    #[default]
    No,
    ToFlush,
    Flushes,
    ToKeep,
    Keeps,
    /// Kafka did not keep it, as while a group changes, or may not for good: after a pause it is to again.
    Waits,
    Done,
}

/// What has happened.
pub(super) enum Kept {
    /// It is time to flush.
    Due,
    /// The handler has flushed, or not.
    Flushed(Result<(), Refusal>),
}

/// What is to be done.
pub(super) enum Next {
    /// Have the handler flush, see [`Keeping::flush`].
    Flush(Marks),
    /// Have Kafka keep these, see [`Keeping::answered`].
    Send(Marks),
}

impl Keeping {
    /// Waits for what happens. Safe to cancel.
    pub(super) async fn happens(&mut self) -> Kept {
        match (&mut self.flushing, &mut self.due) {
            (Some((_, flushing)), _) => Kept::Flushed(flushing.await),
            (None, Some(due)) => {
                due.await;
                Kept::Due
            }
            (None, None) => futures::future::pending().await,
        }
    }

    /// What is to be done now, if anything; to be asked again after it is.
    pub(super) fn next(&mut self, positions: &Positions, every: Duration) -> Option<Next> {
        match self.settling {
            Settling::No
                if self.flushing.is_none() && self.sent.is_none() && self.due.is_none() =>
            {
                if !(positions.unflushed().is_empty() && positions.unkept().is_empty()) {
                    self.due = Some(Box::pin(tokio::time::sleep(every)));
                }
                None
            }
            Settling::ToFlush if self.flushing.is_none() => {
                let marks = positions.unflushed();
                if marks.is_empty() {
                    self.settling = Settling::ToKeep;
                    return self.next(positions, every);
                }
                self.settling = Settling::Flushes;
                Some(Next::Flush(marks))
            }
            Settling::ToKeep if self.sent.is_none() => {
                let marks = positions.unkept();
                if marks.is_empty() {
                    self.settling = Settling::Done;
                    return None;
                }
                self.settling = Settling::Keeps;
                self.sent = Some(marks.clone());
                Some(Next::Send(marks))
            }
            _ => None,
        }
    }

    /// The handler flushes what is up to these.
    pub(super) fn flush(
        &mut self,
        marks: Marks,
        flushing: BoxFuture<'static, Result<(), Refusal>>,
    ) {
        self.flushing = Some((marks, flushing));
    }

    /// It is time: what is to be done.
    pub(super) fn due(&mut self, positions: &Positions) -> Option<Next> {
        self.due = None;
        if self.settling == Settling::Waits {
            self.settling = Settling::ToKeep;
        }
        if self.settling != Settling::No {
            return None;
        }
        let marks = positions.unflushed();
        if marks.is_empty() {
            return self.send(positions);
        }
        Some(Next::Flush(marks))
    }

    /// The handler has flushed, or not: what is to be done.
    pub(super) fn flushed(
        &mut self,
        positions: &mut Positions,
        outcome: &Result<(), Refusal>,
    ) -> Option<Next> {
        let (marks, _) = self.flushing.take()?;
        if outcome.is_ok() {
            positions.flushed(&marks);
        }
        match self.settling {
            Settling::No => self.send(positions),
            Settling::Flushes => {
                self.settling = Settling::ToKeep;
                None
            }
            _ => None,
        }
    }

    /// Kafka has answered.
    pub(super) fn answered(&mut self, positions: &mut Positions, outcome: &Result<(), NotKept>) {
        let now = Instant::now();
        let is_in_doubt = self.in_doubt_until.is_some_and(|until| until > now);
        let is_kept = match outcome {
            Ok(()) => !is_in_doubt,
            Err(NotKept::Refused(_)) if !is_in_doubt => false,
            Err(_) => {
                self.in_doubt_until = Some(now + DOUBT);
                false
            }
        };
        if let Some(marks) = self.sent.take().filter(|_| is_kept) {
            positions.kept(&marks);
        }
        if self.settling == Settling::Keeps && is_kept {
            self.settling = Settling::Done;
        } else if self.settling == Settling::Keeps {
            self.settling = Settling::Waits;
            self.due = Some(Box::pin(tokio::time::sleep(KEEP_AGAIN_AFTER)));
        }
    }

    /// Has all that is handled flushed and kept at once, unless that is under way.
    pub(super) fn settle(&mut self) {
        if self.settling == Settling::No {
            self.settling = Settling::ToFlush;
            self.due = None;
        }
    }

    /// Whether what was to be settled is, as far as the handler could flush.
    pub(super) fn is_settled(&self) -> bool {
        self.settling == Settling::Done
    }

    /// Goes on as before.
    pub(super) fn go_on(&mut self) {
        self.settling = Settling::No;
    }

    fn send(&mut self, positions: &Positions) -> Option<Next> {
        let marks = positions.unkept();
        if marks.is_empty() || self.sent.is_some() {
            return None;
        }
        self.sent = Some(marks.clone());
        Some(Next::Send(marks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1);

    fn handled(positions: &mut Positions, offset: u64) {
        let (place, _) = positions.read(0, offset).expect("its lane");
        positions.handled(place);
    }

    fn flushing(next: Option<Next>) -> Marks {
        match next {
            Some(Next::Flush(marks)) => marks,
            _ => panic!("it does not flush"),
        }
    }

    fn sending(next: Option<Next>) -> Vec<(i32, u64)> {
        match next {
            Some(Next::Send(marks)) => marks.offsets(),
            _ => panic!("it does not send"),
        }
    }

    fn never() -> BoxFuture<'static, Result<(), Refusal>> {
        Box::pin(futures::future::pending())
    }

    #[tokio::test]
    async fn what_was_flushed_is_sent_and_the_rest_waits() {
        let (mut keeping, mut positions) = (Keeping::default(), Positions::default());
        positions.assign(0, None);
        assert!(keeping.next(&positions, EVERY).is_none() && keeping.due.is_none());
        handled(&mut positions, 0);
        assert!(keeping.next(&positions, EVERY).is_none() && keeping.due.is_some());
        let marks = flushing(keeping.due(&positions));
        keeping.flush(marks, never());
        handled(&mut positions, 1);
        assert_eq!(sending(keeping.flushed(&mut positions, &Ok(()))), [(0, 1)]);
        assert!(
            keeping.next(&positions, EVERY).is_none() && keeping.due.is_none(),
            "one at a time"
        );
        keeping.answered(&mut positions, &Ok(()));
        assert!(keeping.next(&positions, EVERY).is_none() && keeping.due.is_some());
    }

    #[tokio::test]
    async fn to_settle_is_to_flush_and_send_all_after_what_is_under_way() {
        let (mut keeping, mut positions) = (Keeping::default(), Positions::default());
        positions.assign(0, None);
        handled(&mut positions, 0);
        let marks = flushing(keeping.due(&positions));
        keeping.flush(marks, never());
        handled(&mut positions, 1);
        keeping.settle();
        assert!(
            keeping.next(&positions, EVERY).is_none(),
            "it flushes already"
        );
        assert!(keeping.flushed(&mut positions, &Ok(())).is_none());
        let marks = flushing(keeping.next(&positions, EVERY));
        assert_eq!(marks.offsets(), [(0, 2)]);
        keeping.flush(marks, never());
        assert!(keeping.flushed(&mut positions, &Ok(())).is_none());
        assert_eq!(sending(keeping.next(&positions, EVERY)), [(0, 2)]);
        assert!(!keeping.is_settled());
        keeping.answered(&mut positions, &Ok(()));
        assert!(keeping.is_settled());
        keeping.go_on();
        assert!(keeping.next(&positions, EVERY).is_none() && keeping.due.is_none());
    }

    /// Record 5 of lane 0 is handled, and flushed for what is to be settled.
    fn settling() -> (Keeping, Positions) {
        let (mut keeping, mut positions) = (Keeping::default(), Positions::default());
        positions.assign(0, Some(5));
        handled(&mut positions, 5);
        keeping.settle();
        let marks = flushing(keeping.next(&positions, EVERY));
        keeping.flush(marks, never());
        (keeping, positions)
    }

    #[tokio::test]
    async fn what_cannot_be_flushed_ends_the_settling_and_moves_nothing() {
        let (mut keeping, mut positions) = settling();
        let refused = Err(Refusal::internal("no"));
        assert!(keeping.flushed(&mut positions, &refused).is_none());
        assert!(keeping.next(&positions, EVERY).is_none() && keeping.is_settled());
        assert_eq!(positions.unflushed().offsets(), [(0, 6)]);
    }

    #[tokio::test]
    async fn what_kafka_refused_is_sent_again() {
        let (mut keeping, mut positions) = (Keeping::default(), Positions::default());
        positions.assign(0, Some(5));
        handled(&mut positions, 5);
        let marks = flushing(keeping.due(&positions));
        keeping.flush(marks, never());
        assert_eq!(sending(keeping.flushed(&mut positions, &Ok(()))), [(0, 6)]);
        let refused = || Err(NotKept::Refused("the group changes".to_owned()));
        keeping.answered(&mut positions, &refused());
        assert_eq!(positions.unkept().offsets(), [(0, 6)]);
        keeping.settle();
        assert_eq!(sending(keeping.next(&positions, EVERY)), [(0, 6)]);
        keeping.answered(&mut positions, &refused());
        assert!(keeping.next(&positions, EVERY).is_none() && !keeping.is_settled());
        assert!(keeping.due(&positions).is_none());
        assert_eq!(sending(keeping.next(&positions, EVERY)), [(0, 6)]);
        keeping.answered(&mut positions, &Ok(()));
        assert!(keeping.is_settled());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_while_what_was_not_answered_can_land_behind_it() {
        let (mut keeping, mut positions) = settling();
        assert!(keeping.flushed(&mut positions, &Ok(())).is_none());
        let again = |keeping: &mut Keeping, positions: &Positions| {
            assert!(keeping.due(positions).is_none());
            assert_eq!(sending(keeping.next(positions, EVERY)), [(0, 6)]);
        };
        assert_eq!(sending(keeping.next(&positions, EVERY)), [(0, 6)]);
        let silent = Err(NotKept::Unknown("no answer".to_owned()));
        keeping.answered(&mut positions, &silent);
        again(&mut keeping, &positions);
        keeping.answered(&mut positions, &Ok(()));
        assert!(!keeping.is_settled(), "the one before may land now");
        tokio::time::advance(DOUBT).await;
        again(&mut keeping, &positions);
        keeping.answered(&mut positions, &Ok(()));
        assert!(keeping.is_settled());
        assert!(positions.unkept().is_empty());
    }
}
