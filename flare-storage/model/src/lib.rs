#![doc = include_str!("../README.md")]

pub mod apply;
mod client_id_key;
pub mod command_id;
#[doc(hidden)]
pub mod contract;
pub mod conversation_key;
pub mod embedded_message_store;
pub mod head;
mod head_row;
pub mod logged_event;
pub mod message_store;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod open;
#[cfg(feature = "cluster")]
pub mod postgres_message_store;
pub mod record;

pub use apply::{Applied, LogState, SkipReason, apply};
pub use command_id::{Fingerprint, IdKey, Receipt, fingerprint, minted_ms};
pub use conversation_key::{ConversationKey, direct_conversation_id, partition_of, place_of};
pub use embedded_message_store::{EmbeddedMessageStore, EmbeddedStoreOptions, TailSize};
pub use head::{BrokenInvariant, Head};
pub use logged_event::{EventError, LoggedEvent, SEQ_LIMIT, decode_header, flags};
pub use message_store::{Cursor, MessageQuery, MessageRow, MessageStore, StoreBatch, StoreError};
pub use open::open_store;
#[cfg(feature = "cluster")]
pub use postgres_message_store::{PostgresMessageStore, PostgresStoreOptions};
pub use record::{Epoch, LogRecord, MAX_RECORD_BYTES, RecordError};
