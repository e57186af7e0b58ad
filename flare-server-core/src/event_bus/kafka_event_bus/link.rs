//! Between a member's thread and what it serves.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// What is told and not taken. There is at most one batch among it, and few of everything else.
const TOLD: usize = 64;
/// What is asked and not done: a batch, a position to keep, lanes to let go.
const ASKED: usize = 16;
/// So long a goodbye is waited for, and the change of the group that comes first. While Kafka is away there is none: the library waits with it for the answer
/// to a position that it has sent.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// What the thread tells.
pub(super) enum Told {
    /// Lanes come here, each from the offset that its group kept, if it did.
    Assigned(Vec<(i32, Option<u64>)>),
    /// Lanes are to go to others, who wait until [`Ask::Release`].
    Revoking(Vec<i32>),
    /// Lanes are gone: others may have them already.
    Lost(Vec<i32>),
    /// What was asked for.
    Batch(Vec<Taken>),
    /// What became of positions to keep.
    Kept(Result<(), NotKept>),
    /// Where lanes begin and end.
    Bounds(Vec<(i32, (u64, u64))>),
}

/// Why Kafka does not have the positions that it was to keep.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotKept {
    /// It has others, as while a group changes.
    #[error("{0}")]
    Refused(String),
    /// It does not answer, and may still take them.
    #[error("{0}")]
    Unknown(String),
}

/// What the thread is asked.
pub(super) enum Ask {
    /// The next records, once there are some.
    Batch,
    /// To keep the offsets of the next record in these lanes.
    Keep(Vec<(i32, u64)>),
    /// To let go of the lanes that are to go.
    Release,
}

/// A record as it came.
pub(super) struct Taken {
    pub(super) lane: i32,
    pub(super) offset: u64,
    pub(super) key: Bytes,
    pub(super) payload: Bytes,
}

/// The other end of a member's thread. When it is dropped, the member leaves its group.
pub(super) struct Link {
    asks: Option<SyncSender<Ask>>,
    thread: Thread,
    told: mpsc::Receiver<Told>,
    left: oneshot::Receiver<()>,
}

impl Link {
    /// To a new thread that runs `member`, and is out of its group when that returns.
    pub(super) fn to(
        member: impl FnOnce(Receiver<Ask>, mpsc::Sender<Told>) + Send + 'static,
    ) -> io::Result<Self> {
        let (asks, asked) = sync_channel(ASKED);
        let (telling, told) = mpsc::channel(TOLD);
        let (leaving, left) = oneshot::channel::<()>();
        let run = move || {
            member(asked, telling);
            drop(leaving);
        };
        let thread = thread::Builder::new()
            .name("kafka-member".to_owned())
            .spawn(run)?;
        Ok(Self {
            asks: Some(asks),
            thread: thread.thread().clone(),
            told,
            left,
        })
    }

    pub(super) fn ask(&self, ask: Ask) {
        // What cannot be asked of a thread that ended is asked of the next.
        if let Some(asks) = &self.asks {
            drop(asks.try_send(ask));
            self.thread.unpark();
        }
    }

    /// None: the member is out of its group. Safe to cancel.
    pub(super) async fn told(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// Has the member leave its group, and waits until it has; false: it has not in time, and is left to itself. Others take over when its session ends.
    pub(super) async fn leave(mut self) -> bool {
        self.asks = None;
        self.thread.unpark();
        self.told.close();
        // An error of the channel means the same: the thread is over.
        let left = tokio::time::timeout(LEAVE_PATIENCE, &mut self.left).await;
        left.is_ok()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.asks = None;
        self.thread.unpark();
    }
}
