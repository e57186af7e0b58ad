//! A segmented, crash-safe record log in one folder: what the embedded [`MessageLog`] and the
//! embedded [`EventBus`] stand on.
//!
//! A [`LogFile`] is a sequence of records with dense offsets 0, 1, 2, …. An append is durable when
//! it returns: one write and one `fdatasync`, however many records it takes. [`AsyncLog`] puts a
//! writer thread in front of it, which commits everything that queued up during one sync with the
//! next, and serves recent records from memory.
//!
//! # Files
//!
//! | name | content |
//! |---|---|
//! | `lock` | held by the process that has the log open; its content is that process's id |
//! | `<first offset, 20 digits>.seg` | a segment, preallocated with zeros to its full size |
//! | `spare.tmp` | the next segment in preparation; worth nothing after a restart |
//!
//! A segment gets its name only after its header is synced, and is used only after the folder is
//! synced. All integers are little-endian; everything is aligned to sectors of 512 bytes.
//!
//! **Segment header**, one sector: magic `FlareLog`, version `u8` (1) and seven zero bytes, first
//! offset `u64`, segment size in bytes `u64`, creation time `u64` (milliseconds since 1970), CRC-32C
//! `u32` of the 40 bytes before it.
//!
//! **Frame**, the unit of one append, at least one sector:
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | magic `FlareFrm` |
//! | 8..12 | body length `u32`, in bytes |
//! | 12..16 | number of records `u32` |
//! | 16..24 | offset of the first record `u64` |
//! | 24..32 | mask `u64` |
//! | 32..36 | CRC-32C `u32` of everything from byte 40 to the end of the frame's last sector, as stored |
//! | 36..40 | CRC-32C `u32` of bytes 0..36 |
//! | 40.. | body: for each record its length `u32` and its bytes; then padding `0x5A` to the end of the sector |
//!
//! From the frame's second sector on, every 8-byte word is stored XORed with the mask, which is
//! chosen (nearly always zero) so that no sector after the first begins with the frame magic, and
//! so that each of them has at least two words that are not zero. Hence a sector that begins with
//! the magic starts a frame, and a sector of zeros inside a frame was never written: no content can
//! look like either, and no single changed byte can make it so.
//!
//! # What a crash leaves, and what damage is
//!
//! Only the last frame of the last segment can be incomplete, because each frame is synced before
//! the next is written. Opening takes a frame that fails its check for a **torn tail** if and only
//! if nothing but zeros follows the range that it claims and a whole sector of that range is zero
//! (etcd's rule). A frame whose first sector is the missing one claims as much as the largest
//! frame, up to the next sector that starts a frame. A torn tail was never acknowledged: it is
//! zeroed, synced, and reported with `tracing::warn`. Everything else is damage, and opening fails
//! with [`LogError::Damaged`], which names the file and the byte: a record or header that fails its
//! check anywhere else, a gap in the offsets, a missing segment, a file of the wrong size.
//! A log that ends before a cursor that somebody kept is refused by [`LogReader::check_cursor`].
//!
//! A lazily synced log ([`Durability::Lazy`]) may have several unsynced frames, so there a frame
//! with a missing sector is a torn tail whatever follows it; the number of frames cut is in the
//! warning.
//!
//! A write or sync that fails poisons the log: what is in the page cache after a failed sync proves
//! nothing. See [`LogOptions::on_fatal`].
//!
//! [`MessageLog`]: crate::message_log::MessageLog
//! [`EventBus`]: crate::event_bus::EventBus

mod async_log;
mod disk_layer;
mod error;
#[doc(hidden)]
pub mod faults;
mod format;
mod layer;
mod log;
mod options;
mod reader;
mod recovery;
mod room;
mod segment;
mod tail;
mod upkeep;

pub use async_log::{AsyncLog, AsyncLogOptions};
pub use disk_layer::DiskLayer;
pub use error::LogError;
pub use layer::{FileLayer, FolderLock, LayerFile, LockFailure};
pub(crate) use layer::{read_full, write_full};
pub use log::{LOCK_FILE, LogFile};
pub use options::{Durability, FatalHandler, LogOptions, Retention};
pub use reader::{LogReader, LogSlice};
pub use room::RoomState;

/// The largest record, in bytes.
pub const MAX_RECORD_BYTES: usize = 1 << 20;
