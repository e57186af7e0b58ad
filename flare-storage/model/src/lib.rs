#![doc = include_str!("../README.md")]

pub mod apply;
pub mod command_id;
#[doc(hidden)]
pub mod contract;
pub mod conversation_key;
pub mod embedded_message_store;
pub mod head;
pub mod logged_event;
pub mod message_store;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod open;
pub mod record;

pub use apply::{Applied, LogState, SkipReason, apply};
pub use command_id::{Fingerprint, IdKey, Receipt, fingerprint, minted_ms};
pub use conversation_key::{ConversationKey, direct_conversation_id, partition_of};
pub use embedded_message_store::{EmbeddedMessageStore, EmbeddedStoreOptions, TailSize};
pub use head::{BrokenInvariant, Head};
pub use logged_event::{EventError, LoggedEvent, SEQ_LIMIT, decode_header, flags};
pub use message_store::{Cursor, MessageQuery, MessageRow, MessageStore, StoreBatch, StoreError};
pub use open::open_store;
pub use record::{Epoch, LogRecord, MAX_RECORD_BYTES, RecordError};
