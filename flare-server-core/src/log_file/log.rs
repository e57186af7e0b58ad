use std::path::Path;
use std::sync::{Arc, RwLock};
use std::thread::{Builder, JoinHandle};
use std::{io, mem};

use bytes::Bytes;

use super::disk_layer::write_zeros;
use super::format::{FRAME_HEADER, MAX_FRAME, RECORD_HEADER, SECTOR, SegmentHeader, encode_frame};
use super::layer::write_full;
use super::reader::Shared;
use super::recovery::{Ending, TornTail};
use super::room::Room;
use super::segment::{Segment, first_offset_of, segment_path};
use super::{
    Durability, FileLayer, FolderLock, LayerFile, LockFailure, LogError, LogOptions, LogReader,
    RoomState,
};

const SPARE: &str = "spare.tmp";
/// The file in a log's folder that its process locks, with the process's id in it.
pub const LOCK_FILE: &str = "lock";
/// The disk is looked at again after so many bytes.
const ROOM_CHECK_BYTES: u64 = 16 << 20;

/// The one writer of a log. Blocking; [`AsyncLog`](super::AsyncLog) puts a thread around it.
/// The module documentation describes the files.
pub struct LogFile {
    pub(super) shared: Arc<Shared>,
    pub(super) layer: Arc<dyn FileLayer>,
    pub(super) options: LogOptions,
    /// The frame being written; kept to spare the allocation.
    frame: Vec<u8>,
    /// Whether something was written and not synced, which happens in a lazily synced log only.
    unsynced: bool,
    poisoned: bool,
    /// Bytes written since the disk was last looked at.
    pub(super) unchecked_bytes: u64,
    /// Retention removes nothing from here on.
    pub(super) stored: u64,
    spare: Option<JoinHandle<io::Result<Arc<dyn LayerFile>>>>,
    /// Dropped last: see `Drop`.
    _lock: FolderLock,
}

impl LogFile {
    /// Opens the log in `folder`, making it if there is none: takes the lock, checks every byte,
    /// cuts a torn tail. What it then holds is durable.
    ///
    /// # Errors
    /// [`LogError::Locked`], [`LogError::Damaged`], [`LogError::Version`], [`LogError::Io`],
    /// [`LogError::BadOptions`]. Nothing was changed if it fails, unless it fails with
    /// [`LogError::Io`].
    pub fn open(
        layer: Arc<dyn FileLayer>,
        folder: &Path,
        options: LogOptions,
    ) -> Result<Self, LogError> {
        options.check()?;
        let on_fatal = options.on_fatal.clone();
        let failed = |action| move |error| LogError::io(action, folder, error);
        layer.create_folder(folder).map_err(failed("create"))?;
        let lock = layer
            .lock(&folder.join(LOCK_FILE))
            .map_err(|failure| match failure {
                LockFailure::Held(pid) => LogError::Locked {
                    folder: folder.to_path_buf(),
                    pid,
                },
                LockFailure::Io(error) => LogError::io("lock", folder, error),
            })?;
        let mut firsts = Vec::new();
        for name in layer.list(folder).map_err(failed("list"))? {
            if name == SPARE {
                layer
                    .remove(&folder.join(SPARE))
                    .map_err(failed("remove the spare segment in"))?;
            }
            firsts.extend(first_offset_of(folder, &name)?);
        }
        firsts.sort_unstable();
        let (segments, torn) = load(&*layer, folder, &firsts, options.durability)?;
        let room = Room::new(options.min_free_bytes);
        let shared = Shared {
            folder: folder.to_path_buf(),
            segments: RwLock::new(segments),
            room,
        };
        let stored = if options.retention.only_stored {
            0
        } else {
            u64::MAX
        };
        let mut log = Self {
            shared: Arc::new(shared),
            layer,
            // A log that cannot be opened is the caller's to report.
            options: LogOptions {
                on_fatal: None,
                ..options
            },
            frame: Vec::new(),
            unsynced: false,
            poisoned: false,
            unchecked_bytes: 0,
            stored,
            spare: None,
            _lock: lock,
        };
        log.settle(torn)?;
        log.check_room();
        log.options.on_fatal = on_fatal;
        Ok(log)
    }

    /// Makes what was found durable: after a crash of the process alone, the last frames and
    /// names may be in the page cache only, and readers are about to act on them.
    fn settle(&mut self, torn: Option<TornTail>) -> Result<(), LogError> {
        let last = self.shared.with(|segments| {
            segments
                .last()
                .map(|last| (last.path.clone(), last.file.clone(), last.written))
        });
        let Some((path, file, written)) = last else {
            return self.add_segment(0);
        };
        if let Some(torn) = torn {
            tracing::warn!(
                file = %path.display(),
                from_byte = torn.from,
                to_byte = torn.to,
                whole_frames = torn.frames,
                end_offset = self.end(),
                "cut a torn tail that was never acknowledged",
            );
            write_zeros(&*file, torn.from as u64, torn.to as u64)
                .map_err(|error| LogError::io("cut the torn tail of", &path, error))?;
        }
        if written > SECTOR as u64 || torn.is_some() {
            file.sync()
                .map_err(|error| LogError::io("sync", &path, error))?;
        }
        let folder = &self.shared.folder;
        self.layer
            .sync_folder(folder)
            .map_err(|error| LogError::io("sync", folder, error))
    }

    /// Appends records, in order, and returns the offset of the first. `Ok` means durable
    /// ([`Durability::Lazy`]: written). Records that fit one frame (4 MiB, less with small
    /// segments) cost one write and one sync, and land together or not at all. No records is fine
    /// and returns the end.
    ///
    /// # Errors
    /// [`LogError::TooLarge`], [`LogError::NoRoom`], [`LogError::Poisoned`]: nothing was written.
    /// [`LogError::Fatal`]: none, some or all of the records are kept.
    pub fn append(&mut self, records: &[Bytes]) -> Result<u64, LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned {
                folder: self.shared.folder.clone(),
            });
        }
        let limit = self.options.record_limit();
        if let Some(record) = records.iter().find(|record| record.len() > limit) {
            return Err(LogError::TooLarge {
                bytes: record.len(),
                limit,
            });
        }
        if self.unchecked_bytes >= ROOM_CHECK_BYTES {
            self.check_room();
        }
        if let RoomState::Low {
            free_bytes,
            needed_bytes,
        } = self.shared.room.state()
        {
            return Err(LogError::NoRoom {
                folder: self.shared.folder.clone(),
                free_bytes,
                needed_bytes,
            });
        }
        let first = self.end();
        let mut rest = records;
        while !rest.is_empty() {
            let (frame, later) = rest.split_at(self.records_in_frame(rest));
            self.append_frame(frame)?;
            rest = later;
        }
        Ok(first)
    }

    /// How many of these records go into the next frame.
    fn records_in_frame(&self, records: &[Bytes]) -> usize {
        let segment = usize::try_from(self.options.segment_bytes).unwrap_or(usize::MAX);
        let limit = MAX_FRAME.min(segment - SECTOR);
        let mut bytes = FRAME_HEADER;
        let fitting = records.iter().take_while(|record| {
            bytes += RECORD_HEADER + record.len();
            bytes <= limit
        });
        fitting.count().max(1)
    }

    fn append_frame(&mut self, records: &[Bytes]) -> Result<(), LogError> {
        let first = self.end();
        let mut frame = mem::take(&mut self.frame);
        encode_frame(&mut frame, first, records);
        let span = frame.len() as u64;
        let fits = self.shared.with(|segments| {
            segments
                .last()
                .is_some_and(|last| last.written + span <= last.header.bytes)
        });
        if !fits {
            self.roll(first)?;
        }
        let Some((path, file, at)) = self.shared.with(|segments| {
            segments
                .last()
                .map(|last| (last.path.clone(), last.file.clone(), last.written))
        }) else {
            return Err(LogError::Closed);
        };
        write_full(&*file, &frame, at).map_err(|error| self.poison("write", &path, error))?;
        self.unsynced = true;
        if self.options.durability == Durability::Synced {
            self.sync()?;
        }
        self.shared.change(|segments| {
            if let Some(last) = segments.last_mut() {
                last.extend(first + records.len() as u64, span);
            }
        });
        self.unchecked_bytes += span;
        self.frame = frame;
        self.prepare_spare(at + span);
        Ok(())
    }

    /// Makes everything appended durable. Only a lazily synced log has something to sync.
    ///
    /// # Errors
    /// [`LogError::Fatal`]: anything appended since the last sync may be lost.
    pub fn sync(&mut self) -> Result<(), LogError> {
        if !mem::take(&mut self.unsynced) {
            return Ok(());
        }
        let last = self.shared.with(|segments| {
            segments
                .last()
                .map(|last| (last.path.clone(), last.file.clone()))
        });
        match last {
            Some((path, file)) => file
                .sync()
                .map_err(|error| self.poison("sync", &path, error)),
            None => Ok(()),
        }
    }

    /// Whether something is written and not yet synced.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// The oldest offset there is.
    pub fn floor(&self) -> u64 {
        self.shared.floor()
    }

    /// The offset after the last record.
    pub fn end(&self) -> u64 {
        self.shared.end()
    }

    /// A reader of this log.
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.shared.clone())
    }

    /// Goes on in a fresh segment.
    fn roll(&mut self, first: u64) -> Result<(), LogError> {
        self.sync()?;
        self.add_segment(first)?;
        self.check_room();
        self.apply_retention()
    }

    fn add_segment(&mut self, first: u64) -> Result<(), LogError> {
        let folder = self.shared.folder.clone();
        let (spare, path) = (folder.join(SPARE), segment_path(&folder, first));
        let file = match self.spare.take().map(JoinHandle::join) {
            Some(Ok(Ok(file))) => file,
            _ => self
                .layer
                .create(&spare, self.options.segment_bytes)
                .map_err(|error| self.poison("create", &spare, error))?,
        };
        let created_ms = self.now_ms();
        let header = SegmentHeader {
            first,
            bytes: self.options.segment_bytes,
            created_ms,
        };
        write_full(&*file, &header.encode(), 0)
            .map_err(|error| self.poison("write", &spare, error))?;
        file.sync()
            .map_err(|error| self.poison("sync", &spare, error))?;
        self.layer
            .rename(&spare, &path)
            .map_err(|error| self.poison("rename", &spare, error))?;
        self.layer
            .sync_folder(&folder)
            .map_err(|error| self.poison("sync", &folder, error))?;
        self.shared
            .change(|segments| segments.push(Segment::empty(&path, file, header)));
        Ok(())
    }

    /// Has the next segment written with zeros while the present one fills: that makes each sync
    /// cheaper by a third than room that is reserved only, and costs tens of milliseconds.
    fn prepare_spare(&mut self, written: u64) {
        let bytes = self.options.segment_bytes;
        if !self.options.prepare_ahead || self.spare.is_some() || written < bytes / 2 {
            return;
        }
        let (layer, path) = (self.layer.clone(), self.shared.folder.join(SPARE));
        let prepare = move || {
            let file = layer.create(&path, bytes)?;
            write_zeros(&*file, 0, bytes)?;
            Ok(file)
        };
        // Without a thread the segment is made when it is needed.
        self.spare = Builder::new()
            .name("log-spare".to_owned())
            .spawn(prepare)
            .ok();
    }

    /// Milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.options.clock.now_ms()).unwrap_or_default()
    }

    pub(super) fn poison(
        &mut self,
        action: &'static str,
        file: &Path,
        source: io::Error,
    ) -> LogError {
        let error = LogError::Fatal {
            action,
            file: file.to_path_buf(),
            source: Arc::new(source),
        };
        if !mem::replace(&mut self.poisoned, true)
            && let Some(on_fatal) = &self.options.on_fatal
        {
            on_fatal(&error);
        }
        error
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        // Nobody may write in the folder once the lock is released.
        if let Some(spare) = self.spare.take() {
            drop(spare.join());
        }
    }
}

/// Reads all segments; none is fine.
fn load(
    layer: &dyn FileLayer,
    folder: &Path,
    firsts: &[u64],
    durability: Durability,
) -> Result<(Vec<Segment>, Option<TornTail>), LogError> {
    let mut segments: Vec<Segment> = Vec::with_capacity(firsts.len());
    let mut torn = None;
    for (index, &first) in firsts.iter().enumerate() {
        let path = segment_path(folder, first);
        if let Some(previous) = segments.last()
            && previous.next != first
        {
            let (expected, previous) = (previous.next, previous.path.display());
            let reason = format!("begins at offset {first}, but {previous} ends at {expected}");
            return Err(LogError::Damaged {
                file: path,
                byte: 0,
                reason,
            });
        }
        let ending = match durability {
            _ if index + 1 < firsts.len() => Ending::Sealed,
            Durability::Synced => Ending::LastFrame,
            Durability::Lazy => Ending::AnyFrame,
        };
        let (segment, tail) = Segment::load(layer, &path, first, ending)?;
        segments.push(segment);
        torn = tail;
    }
    Ok((segments, torn))
}
