//! Several processes of the service on the same rows, the same log, and a stream of which each event comes to one of them for its rows, and to all for their heads.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use flare_server_core::{
    error::Refusal,
    event_bus::{BatchHandler, Follower, Handled},
    telemetry::Spans,
};
use flare_session::{
    SessionConfig,
    application::{heads::Heads, ports::StreamProgress, positions::Positions, stream::Stream},
    handler::events::{FollowedEvents, PersistedEvents},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::Mutex;

use crate::{
    fake_log::FakeLog,
    lanes::{LANES, frontier, lane_of, records},
    place::Place,
    world::World,
};

/// The stream, as Kafka would bring it: lanes go from member to member, and what a member has not flushed comes again when it is gone.
pub(crate) struct Topic {
    log: Arc<FakeLog>,
    /// How many events of the log are in it.
    published: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    rng: StdRng,
    lanes: [Lane; LANES],
    members: Vec<Option<Member>>,
}

/// Up to which event of the log its events are handled, and kept.
#[derive(Clone, Copy, Default)]
struct Lane {
    owner: usize,
    handled: usize,
    kept: usize,
}

struct Member {
    stream: Arc<Stream>,
    heads: Arc<Heads>,
    positions: Arc<Positions>,
    followed: usize,
}

impl Topic {
    pub(crate) fn published(&self) -> usize {
        self.published.load(Ordering::SeqCst)
    }

    /// So many events more of the log are in it, if there are so many.
    pub(crate) fn publish(&self, count: usize) {
        let published = self.published().saturating_add(count).min(self.log.len());
        self.published.fetch_max(published, Ordering::SeqCst);
    }

    /// Brings a lane's events to its owner, up to so many of the log.
    pub(crate) async fn hand(&self, lane: usize, count: usize) {
        let mut state = self.state.lock().await;
        let to = state.lanes[lane].handled.saturating_add(count);
        self.hand_to(&mut state, lane, to.min(self.published()))
            .await;
    }

    async fn hand_to(&self, state: &mut State, lane: usize, to: usize) {
        let Lane { owner, handled, .. } = state.lanes[lane];
        let Some(member) = &state.members[owner] else {
            return;
        };
        if handled < to {
            let persisted = PersistedEvents {
                stream: Arc::clone(&member.stream),
                spans: Spans::default(),
            };
            let mut batch = records(&self.log, handled, to);
            batch.retain(|it| it.position >> 48 == lane as u64);
            if !batch.is_empty() {
                assert_eq!(persisted.handle(&batch).await, Handled::Ok);
            }
            state.lanes[lane].handled = to;
        }
    }

    /// What is handled of a lane is flushed, and does not come again.
    pub(crate) async fn keep(&self, lane: usize) {
        let mut state = self.state.lock().await;
        self.keep_lane(&mut state, lane).await;
    }

    async fn keep_lane(&self, state: &mut State, lane: usize) {
        if let Some(member) = &state.members[state.lanes[lane].owner] {
            member.positions.flush().await.expect("writes");
            state.lanes[lane].kept = state.lanes[lane].handled;
        }
    }

    /// A lane goes to another member, in good order or not.
    pub(crate) async fn assign(&self, lane: usize, owner: usize, in_order: bool) {
        let mut state = self.state.lock().await;
        if state.members[owner].is_none() {
            return;
        }
        if in_order {
            self.keep_lane(&mut state, lane).await;
        }
        let lane = &mut state.lanes[lane];
        *lane = Lane {
            owner,
            handled: lane.kept,
            kept: lane.kept,
        };
    }

    /// Brings events to a member's heads.
    pub(crate) async fn follow(&self, member: usize, count: usize) {
        let mut state = self.state.lock().await;
        let to = self.published();
        self.follow_to(&mut state, member, count, to);
    }

    fn follow_to(&self, state: &mut State, member: usize, count: usize, to: usize) {
        let Some(member) = &mut state.members[member] else {
            return;
        };
        let to = member.followed.saturating_add(count).min(to);
        if member.followed < to {
            let followed = FollowedEvents {
                heads: Arc::clone(&member.heads),
            };
            followed.take(&records(&self.log, member.followed, to));
            member.followed = to;
        }
    }

    async fn join(&self, member: usize, world: &World, behind: usize) {
        let mut state = self.state.lock().await;
        let at = self.published().saturating_sub(behind);
        world.session.heads.begin_anew(&frontier(&self.log, at));
        state.members[member] = Some(Member {
            stream: Arc::clone(&world.session.stream),
            heads: Arc::clone(&world.session.heads),
            positions: Arc::clone(&world.session.positions),
            followed: at,
        });
        let to = self.published();
        self.follow_to(&mut state, member, usize::MAX, to);
    }

    /// Its lanes go to others.
    pub(crate) async fn leave(&self, member: usize, in_order: bool) {
        let mut state = self.state.lock().await;
        for lane in 0..LANES {
            if state.lanes[lane].owner != member {
                continue;
            }
            if in_order {
                self.keep_lane(&mut state, lane).await;
            }
            let owner = (0..state.members.len())
                .find(|it| *it != member && state.members[*it].is_some())
                .unwrap_or(member);
            let kept = state.lanes[lane].kept;
            state.lanes[lane] = Lane {
                owner,
                handled: kept,
                kept,
            };
        }
        state.members[member] = None;
    }

    /// As the bus promises it: a member knows how far it has handled, and of others what they have flushed.
    async fn caught_up(&self, member: usize) {
        let to = self.published();
        let mut state = self.state.lock().await;
        for lane in 0..LANES {
            self.hand_to(&mut state, lane, to).await;
            if state.lanes[lane].owner != member {
                self.keep_lane(&mut state, lane).await;
            }
        }
        self.follow_to(&mut state, member, usize::MAX, to);
        // Heads may be ahead of the rows by what has come since.
        self.publish(state.rng.random_range(0..3));
        let (count, to) = (state.rng.random_range(0..3), self.published());
        self.follow_to(&mut state, member, count, to);
    }
}

/// The stream, as one process sees it.
struct Progress {
    topic: Weak<Topic>,
    member: usize,
}

#[async_trait]
impl StreamProgress for Progress {
    async fn caught_up(&self) -> Result<(), Refusal> {
        if let Some(topic) = self.topic.upgrade() {
            topic.caught_up(self.member).await;
        }
        Ok(())
    }
}

pub(crate) struct House {
    pub(crate) place: Place,
    pub(crate) log: Arc<FakeLog>,
    pub(crate) topic: Arc<Topic>,
    pub(crate) processes: Vec<World>,
    config: SessionConfig,
    starts: AtomicU64,
}

impl House {
    pub(crate) async fn of(processes: usize, config: SessionConfig, seed: u64) -> Self {
        let log = Arc::<FakeLog>::default();
        let topic = Topic {
            log: Arc::clone(&log),
            published: AtomicUsize::new(0),
            state: Mutex::new(State {
                rng: StdRng::seed_from_u64(seed),
                lanes: [Lane::default(); LANES],
                members: (0..processes).map(|_| None).collect(),
            }),
        };
        let mut house = Self {
            place: Place::fresh().await,
            log,
            topic: Arc::new(topic),
            processes: Vec::new(),
            config,
            starts: AtomicU64::new(0),
        };
        for member in 0..processes {
            let world = house.start(member, 0).await;
            house.processes.push(world);
        }
        for lane in 0..LANES {
            house.topic.assign(lane, lane % processes, true).await;
        }
        house
    }

    /// A process, whose heads begin so many events behind the stream's end.
    async fn start(&self, member: usize, behind: usize) -> World {
        let progress = Progress {
            topic: Arc::downgrade(&self.topic),
            member,
        };
        let seed = self.starts.fetch_add(1_000, Ordering::SeqCst);
        let world = World::on(
            self.place.clone(),
            Arc::clone(&self.log),
            self.config.clone(),
            seed,
            Arc::new(progress),
        )
        .await;
        self.topic.join(member, &world, behind).await;
        world
    }

    /// A process ends in good order, or is killed, and another takes its place.
    pub(crate) async fn restart(&mut self, member: usize, in_order: bool, behind: usize) {
        self.topic.leave(member, in_order).await;
        let old = &self.processes[member];
        if in_order {
            old.shutdown.drain();
            old.session.stream.end().await.expect("ends");
            old.store.close().await;
        }
        self.processes[member] = self.start(member, behind).await;
    }

    /// All of the log is in the stream, and every process has taken it in.
    pub(crate) async fn settle(&self) {
        // Nothing comes any more.
        self.topic.publish(usize::MAX);
        for member in 0..self.processes.len() {
            self.topic.caught_up(member).await;
        }
        for lane in 0..LANES {
            self.topic.keep(lane).await;
        }
    }

    /// In which lane the events of a conversation are.
    pub(crate) fn lane(conversation: &str) -> usize {
        lane_of(conversation)
    }
}
