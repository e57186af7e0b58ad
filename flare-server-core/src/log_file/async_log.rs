use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::format::frame_span;
use super::tail::Tail;
use super::{FileLayer, LogError, LogFile, LogOptions, LogReader, LogSlice, RoomState};

/// Appends that go into one write and one sync together have at most so many bytes.
const COMMIT_BYTES: usize = 2 << 20;

/// How an [`AsyncLog`] behaves.
#[derive(Debug, Clone)]
pub struct AsyncLogOptions {
    /// The log itself.
    pub log: LogOptions,
    /// Bytes of the latest records kept in memory.
    pub tail_bytes: usize,
    /// Bytes of appends that may wait for the disk; further ones wait for room in the queue.
    pub queue_bytes: usize,
    /// A lazily synced log is synced so long after the first append that was not.
    pub sync_after: Duration,
    /// How long the last look at the disk's room is trusted.
    pub room_check_every: Duration,
}

impl Default for AsyncLogOptions {
    fn default() -> Self {
        Self {
            log: LogOptions::default(),
            tail_bytes: 16 << 20,
            queue_bytes: 8 << 20,
            sync_after: Duration::from_secs(1),
            room_check_every: Duration::from_secs(1),
        }
    }
}

/// A [`LogFile`] with a writer thread: the appends that wait while one sync runs share the next
/// one. There is no timer in it, so a lone append is not delayed.
pub struct AsyncLog {
    /// None once closed.
    commands: Mutex<Option<Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    queue: Arc<Semaphore>,
    queue_bytes: usize,
    record_limit: usize,
    reader: LogReader,
    tail: Arc<Tail>,
    end: watch::Receiver<u64>,
}

enum Command {
    Append(Append),
    Trim(Trim),
}

struct Append {
    records: Vec<Bytes>,
    reply: oneshot::Sender<Result<u64, LogError>>,
    /// Its share of the queue, given back when it is answered.
    _share: OwnedSemaphorePermit,
}

struct Trim {
    released: u64,
    stored: u64,
    reply: oneshot::Sender<Result<u64, LogError>>,
    _share: OwnedSemaphorePermit,
}

impl AsyncLog {
    /// Opens the log as [`LogFile::open`] does, and starts the thread. Blocks on the disk.
    ///
    /// # Errors
    /// Those of [`LogFile::open`].
    pub fn open(
        layer: Arc<dyn FileLayer>,
        folder: &Path,
        options: AsyncLogOptions,
    ) -> Result<Self, LogError> {
        let record_limit = options.log.record_limit();
        let log = LogFile::open(layer, folder, options.log)?;
        let reader = log.reader();
        let tail = Arc::new(Tail::new(options.tail_bytes, log.end()));
        let (publish, end) = watch::channel(log.end());
        #[expect(
            clippy::disallowed_methods,
            reason = "the semaphore limits it, in bytes"
        )]
        let (commands, queue) = channel();
        let writer = Writer {
            log,
            tail: tail.clone(),
            end: publish,
            sync_after: options.sync_after,
            room_check_every: options.room_check_every,
            room_checked: Instant::now(),
        };
        let thread = Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|error| LogError::io("start the writer thread of", folder, error))?;
        let queue_bytes = options.queue_bytes.clamp(1, u32::MAX as usize);
        Ok(Self {
            commands: Mutex::new(Some(commands)),
            thread: Mutex::new(Some(thread)),
            queue: Arc::new(Semaphore::new(queue_bytes)),
            queue_bytes,
            record_limit,
            reader,
            tail,
            end,
        })
    }

    /// Appends records, contiguous and in order, as [`LogFile::append`] does, and returns the
    /// offset of the first. If the future is dropped, they may or may not be appended.
    ///
    /// # Errors
    /// Those of [`LogFile::append`]; [`LogError::Closed`].
    pub async fn append(&self, records: Vec<Bytes>) -> Result<u64, LogError> {
        let limit = self.record_limit;
        if let Some(record) = records.iter().find(|record| record.len() > limit) {
            return Err(LogError::TooLarge {
                bytes: record.len(),
                limit,
            });
        }
        let share = self.share(frame_span(&records)).await?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Append(Append {
            records,
            reply,
            _share: share,
        }))?;
        answer.await.unwrap_or_else(|_| Err(self.writer_ended()))
    }

    /// Removes whole segments, as [`LogFile::trim`] does; returns the floor.
    ///
    /// # Errors
    /// Those of [`LogFile::trim`]; [`LogError::Closed`].
    pub async fn trim(&self, released: u64, stored: u64) -> Result<u64, LogError> {
        let share = self.share(1).await?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Trim(Trim {
            released,
            stored,
            reply,
            _share: share,
        }))?;
        answer.await.unwrap_or_else(|_| Err(self.writer_ended()))
    }

    /// Records from `from` on: at most `max_bytes`, but at least one if there is any. Recent ones
    /// come from memory.
    ///
    /// # Errors
    /// Those of [`LogReader::read`].
    pub async fn read(&self, from: u64, max_bytes: usize) -> Result<LogSlice, LogError> {
        let floor = self.reader.floor();
        if from < floor {
            return Err(LogError::Trimmed {
                offset: from,
                floor,
            });
        }
        if let Some(records) = self.tail.read(from, max_bytes) {
            return Ok(LogSlice {
                records,
                end: self.reader.end(),
            });
        }
        let reader = self.reader.clone();
        tokio::task::spawn_blocking(move || reader.read(from, max_bytes))
            .await
            .unwrap_or(Err(LogError::Closed))
    }

    /// Returns the end as soon as it is greater than `offset`. Safe to cancel.
    ///
    /// # Errors
    /// [`LogError::Closed`] once the log is closed and ends at or before `offset`.
    pub async fn wait_beyond(&self, offset: u64) -> Result<u64, LogError> {
        let mut end = self.end.clone();
        let reached = end.wait_for(|end| *end > offset).await.is_ok();
        if reached {
            Ok(self.reader.end())
        } else {
            Err(LogError::Closed)
        }
    }

    /// Floor, end, room; and reads that block.
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// Appends what waits, syncs, ends the thread and releases the folder. Blocks on the disk.
    /// Later appends are refused; reads go on.
    pub fn close(&self) {
        drop(
            self.commands
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }

    /// The thread went away with a command in hand, so nobody knows what became of it.
    fn writer_ended(&self) -> LogError {
        LogError::Fatal {
            action: "write",
            file: self.reader.folder().to_path_buf(),
            source: Arc::new(io::Error::other("the writer thread ended")),
        }
    }

    /// Waits for so many bytes of room in the queue; the whole queue is enough for anything.
    async fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, LogError> {
        let bytes = bytes.min(self.queue_bytes) as u32;
        let share = self.queue.clone().acquire_many_owned(bytes).await;
        share.map_err(|_| LogError::Closed)
    }

    fn send(&self, command: Command) -> Result<(), LogError> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let commands = commands.as_ref().ok_or(LogError::Closed)?;
        commands.send(command).map_err(|_| LogError::Closed)
    }
}

impl Drop for AsyncLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the thread owns.
struct Writer {
    log: LogFile,
    tail: Arc<Tail>,
    end: watch::Sender<u64>,
    sync_after: Duration,
    room_check_every: Duration,
    room_checked: Instant,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Command>) {
        let mut unsynced_since = None;
        loop {
            let command = match self.next(queue, unsynced_since) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.look_at_room();
            let mut command = command;
            while let Some(Command::Append(first)) = command {
                command = self.commit(first, queue);
            }
            if let Some(Command::Trim(trim)) = command {
                drop(trim.reply.send(self.log.trim(trim.released, trim.stored)));
            }
            if !self.log.is_unsynced() {
                unsynced_since = None;
            } else if unsynced_since.get_or_insert_with(Instant::now).elapsed() >= self.sync_after {
                self.sync();
                unsynced_since = None;
            }
        }
        self.sync();
    }

    /// The next command, or a timeout when something else is due.
    fn next(
        &self,
        queue: &Receiver<Command>,
        unsynced_since: Option<Instant>,
    ) -> Result<Command, RecvTimeoutError> {
        let sync_due = unsynced_since.map(|since| self.sync_after.saturating_sub(since.elapsed()));
        let room_due =
            (self.log.reader().room() != RoomState::Enough).then_some(self.room_check_every);
        match sync_due.into_iter().chain(room_due).min() {
            Some(wait) => queue.recv_timeout(wait),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn look_at_room(&mut self) {
        if self.room_checked.elapsed() >= self.room_check_every {
            self.log.check_room();
            self.room_checked = Instant::now();
        }
    }

    /// Commits an append and those that wait behind it; returns the command that is next then.
    fn commit(&mut self, first: Append, queue: &Receiver<Command>) -> Option<Command> {
        let mut bytes = frame_span(&first.records);
        let mut appends = vec![first];
        let mut next = None;
        while let Ok(command) = queue.try_recv() {
            match command {
                Command::Append(append) if bytes + frame_span(&append.records) <= COMMIT_BYTES => {
                    bytes += frame_span(&append.records);
                    appends.push(append);
                }
                other => {
                    next = Some(other);
                    break;
                }
            }
        }
        let records: Vec<Bytes> = appends
            .iter()
            .flat_map(|append| append.records.iter().cloned())
            .collect();
        match self.log.append(&records) {
            Ok(mut offset) => {
                self.tail.extend(&records);
                self.end.send_replace(self.log.end());
                for append in appends {
                    let count = append.records.len() as u64;
                    drop(append.reply.send(Ok(offset)));
                    offset += count;
                }
            }
            Err(error) => {
                for append in appends {
                    drop(append.reply.send(Err(error.clone())));
                }
            }
        }
        next
    }

    /// A failure poisons the log and is reported by its fatal handler.
    fn sync(&mut self) {
        if let Err(error) = self.log.sync() {
            tracing::error!(%error, "a lazily synced log could not be synced");
        }
    }
}
