//! A member of a group at work: what comes, what is handled, what is kept, what goes.
//!
//! One batch at a time, of all the lanes that the member has: a handler is never called twice at once, and may keep state between batches.
//! More is done at once by more members.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff};
use tokio::time::Instant;

use super::delivery::Delivery;
use super::handing::{Did, Doing};
use super::in_hand::InHand;
use super::keeping::{Keeping, Kept, Next};
use super::lane::position;
use super::link::{Ask, Link, Taken, Told};
use super::local::Entry;
use super::positions::Positions;
use super::shown::Shown;
use crate::event_bus::{BusRecord, Handled};

/// So long others wait for lanes that are to go to them, while a handler has records of these or flushes. Then they go as they are:
/// what was not kept comes again.
const RELEASE_PATIENCE: Duration = Duration::from_secs(5);
/// So long the last position is waited for, once the handler is done.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// From joining a group to being out of it.
pub(super) struct Membership<'a> {
    delivery: &'a Delivery,
    link: Link,
    /// False: it is out of its group already.
    joined: bool,
    positions: Positions,
    in_hand: Option<InHand>,
    doing: Doing,
    /// The pauses between tries of what fails; fresh after each success.
    pauses: ExponentialBackoff,
    /// Whether the handler is to be told that its records have changed.
    changed: bool,
    keeping: Keeping,
    /// Lanes that are to go, and until when they may be waited for.
    releasing: Option<(Vec<i32>, Instant)>,
    stopping: bool,
    /// When the end does not wait any more; set once the handler is done.
    leave_by: Option<Instant>,
    /// For whoever waits until the group has caught up.
    entry: Entry,
    shown: Shown,
}

enum Happening {
    Told(Option<Told>),
    Did(Did),
    Kept(Kept),
    Late,
    Stop,
}

impl<'a> Membership<'a> {
    pub(super) fn new(delivery: &'a Delivery, link: Link) -> Self {
        let (topic, group) = (&delivery.topic.name, &delivery.group);
        Self {
            link,
            joined: true,
            positions: Positions::default(),
            in_hand: None,
            doing: Doing::Nothing,
            pauses: delivery.bus.options.retry.build(),
            changed: true,
            keeping: Keeping::default(),
            releasing: None,
            stopping: false,
            leave_by: None,
            entry: delivery.bus.local.enter(topic, group),
            shown: Shown::new(topic, group),
            delivery,
        }
    }

    /// Returns when it is out of its group: because it was stopped, or because it has to begin anew.
    pub(super) async fn run(mut self) {
        while self.goes_on() {
            match self.happens().await {
                Happening::Told(Some(told)) => self.told(told),
                Happening::Told(None) => self.thrown_out(),
                Happening::Did(did) => self.did(did),
                Happening::Kept(kept) => self.kept(kept),
                Happening::Late => {}
                Happening::Stop => self.stop(),
            }
        }
        self.delivery.leave(self.link).await;
    }

    async fn happens(&mut self) -> Happening {
        let late = [self.releasing.as_ref().map(|it| it.1), self.leave_by];
        let late = async {
            match late.into_iter().flatten().min() {
                Some(late) => tokio::time::sleep_until(late).await,
                None => futures::future::pending().await,
            }
        };
        tokio::select! {
            told = self.link.told(), if self.joined => Happening::Told(told),
            did = self.doing.done() => Happening::Did(did),
            kept = self.keeping.happens() => Happening::Kept(kept),
            () = late => Happening::Late,
            () = self.delivery.stop.cancelled(), if !self.stopping => Happening::Stop,
        }
    }

    /// Begins what can begin; false when all is over.
    fn goes_on(&mut self) -> bool {
        if !self.joined {
            return self.doing.is_open();
        }
        if matches!(self.doing, Doing::Nothing) && !self.stopping {
            self.link.ask(Ask::Batch);
            self.doing = Doing::Asked;
        }
        let is_done = self.stopping && matches!(self.doing, Doing::Nothing);
        let waits = self
            .releasing
            .as_ref()
            .is_some_and(|(lanes, _)| !self.is_open(lanes));
        if is_done || waits {
            self.keeping.settle();
        }
        while let Some(next) = self
            .keeping
            .next(&self.positions, self.delivery.bus.options.keep_every)
        {
            self.follow(next);
        }
        let now = Instant::now();
        let is_late = |by: &Instant| *by <= now;
        if let Some((_, by)) = &self.releasing {
            if (waits && self.keeping.is_settled()) || is_late(by) {
                self.release();
            }
        } else if is_done {
            let leave_by = self.leave_by.get_or_insert(now + LEAVE_PATIENCE);
            return !(self.keeping.is_settled() || is_late(leave_by));
        } else if self.keeping.is_settled() {
            self.keeping.go_on();
        }
        true
    }

    /// Whether the outcome of records of these lanes is open.
    fn is_open(&self, lanes: &[i32]) -> bool {
        self.doing.is_open() && self.in_hand.as_ref().is_some_and(|it| it.touches(lanes))
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Assigned(lanes) => {
                for (lane, from) in lanes {
                    self.positions.assign(lane, from);
                }
                self.reassigned();
            }
            Told::Revoking(lanes) => {
                self.releasing = Some((lanes, Instant::now() + RELEASE_PATIENCE))
            }
            Told::Lost(lanes) => {
                tracing::warn!(
                    topic = self.delivery.topic.name,
                    group = self.delivery.group,
                    "a member was out of its group; what it did not keep comes again"
                );
                self.positions.remove(&lanes);
                self.releasing = None;
                self.reassigned();
            }
            Told::Batch(batch) => self.take(batch),
            Told::Kept(outcome) => {
                if let Err(error) = &outcome {
                    tracing::warn!(
                        topic = self.delivery.topic.name,
                        group = self.delivery.group,
                        %error,
                        "the position of a group could not be kept"
                    );
                }
                self.keeping.answered(&mut self.positions, &outcome);
            }
            Told::Bounds(bounds) => {
                for (lane, bounds) in bounds {
                    self.positions.bounds(lane, bounds);
                }
                self.shown.lag(&self.positions);
            }
        }
    }

    fn thrown_out(&mut self) {
        self.joined = false;
        self.positions.clear();
        self.releasing = None;
        self.reassigned();
    }

    fn stop(&mut self) {
        self.stopping = true;
        if !self.doing.is_open() {
            self.rest();
        }
    }

    fn take(&mut self, batch: Vec<Taken>) {
        if !matches!(self.doing, Doing::Asked) {
            // It came while the subscription was stopped.
            return;
        }
        let (mut records, mut passed_over) = (Vec::with_capacity(batch.len()), 0);
        for taken in batch {
            let Some((place, missing)) = self.positions.read(taken.lane, taken.offset) else {
                continue;
            };
            passed_over += missing;
            let record = BusRecord {
                key: taken.key,
                payload: taken.payload,
                position: position(taken.lane, taken.offset),
            };
            records.push((record, place));
        }
        if passed_over > 0 {
            self.shown.passed_over(passed_over);
        }
        self.shown.lag(&self.positions);
        self.in_hand = InHand::new(records);
        self.handle();
    }

    /// Hands over what is in hand and still comes here.
    fn handle(&mut self) {
        let leaving = self.releasing.as_ref().map_or(&[][..], |it| &it.0);
        let good = |place: &super::positions::Place| {
            self.positions.holds(place) && !leaving.contains(&place.lane)
        };
        self.in_hand = self.in_hand.take().and_then(|it| it.only(good));
        match &self.in_hand {
            Some(in_hand) => {
                let tell = std::mem::take(&mut self.changed);
                self.doing = self.delivery.handle(in_hand.records(), tell);
            }
            None => self.doing = Doing::Nothing,
        }
    }

    fn did(&mut self, did: Did) {
        match did {
            Did::Handled(Handled::Ok) => self.count_as_handled(usize::MAX),
            Did::Handled(Handled::Reject { index, reason }) => {
                let record = self
                    .in_hand
                    .as_ref()
                    .and_then(|it| it.records().get(index).cloned());
                match record {
                    Some(record) => self.doing = self.delivery.bury(record, index, reason),
                    None => self.again(),
                }
            }
            Did::Handled(Handled::Retry) => self.again(),
            Did::Untold => {
                self.changed = true;
                self.again();
            }
            Did::Buried(true, index) => self.count_as_handled(index + 1),
            Did::Buried(false, _) => self.rest(),
            Did::Paused => self.handle(),
        }
    }

    /// The first `count` of the records in hand are handled; the others come next.
    fn count_as_handled(&mut self, count: usize) {
        let in_hand = self.in_hand.take();
        for place in in_hand.iter().flat_map(|it| it.places(count)) {
            self.positions.handled(*place);
        }
        self.pauses = self.delivery.bus.options.retry.build();
        self.entry.set(self.positions.progress());
        self.shown.lag(&self.positions);
        self.in_hand = in_hand.and_then(|it| it.after(count));
        if self.stopping {
            self.rest();
        } else {
            self.handle();
        }
    }

    /// The records in hand come again, after a pause.
    fn again(&mut self) {
        if self.stopping {
            self.rest();
            return;
        }
        let pause = self.pauses.next().unwrap_or(Duration::from_secs(1));
        self.doing = Doing::Pausing(Box::pin(tokio::time::sleep(pause)));
    }

    /// The records in hand are for whoever comes next.
    fn rest(&mut self) {
        self.in_hand = None;
        self.doing = Doing::Nothing;
    }

    fn kept(&mut self, kept: Kept) {
        let next = match kept {
            Kept::Due => self.keeping.due(&self.positions),
            Kept::Flushed(outcome) => {
                if let Err(refusal) = &outcome {
                    tracing::warn!(topic = self.delivery.topic.name, group = self.delivery.group, %refusal, "a handler could not write what it holds; the position stays");
                }
                self.keeping.flushed(&mut self.positions, &outcome)
            }
        };
        if let Some(next) = next {
            self.follow(next);
        }
    }

    fn follow(&mut self, next: Next) {
        match next {
            Next::Flush(marks) => self.keeping.flush(marks, self.delivery.flush()),
            Next::Send(marks) => self.link.ask(Ask::Keep(marks.offsets())),
        }
    }

    /// Lets go of the lanes that are to go.
    fn release(&mut self) {
        let Some((lanes, _)) = self.releasing.take() else {
            return;
        };
        if self.is_open(&lanes) || !self.keeping.is_settled() {
            tracing::warn!(
                topic = self.delivery.topic.name,
                group = self.delivery.group,
                "lanes go to others before what was handled of them is kept; it comes again"
            );
        }
        self.positions.remove(&lanes);
        self.keeping.go_on();
        self.link.ask(Ask::Release);
        self.reassigned();
    }

    fn reassigned(&mut self) {
        self.changed = true;
        self.entry.set(self.positions.progress());
        self.shown.lanes(self.positions.count());
        self.shown.lag(&self.positions);
    }
}
