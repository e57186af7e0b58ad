#![doc = include_str!("../README.md")]

mod acks;
mod calls;
mod client;
mod clock;
mod core;
mod cursors;
mod dial;
mod draft;
mod driver;
mod error;
mod event;
pub mod methods;
mod observer;
mod options;
mod outbox;
mod own_event;
mod permits;
mod queue;
mod reading;
mod reconnect;
mod requests;
mod timeline;
mod token;

pub use self::core::MAX_VIEWED;
pub use client::{Client, Identity, Sending};
pub use cursors::{Cursor, Cursors};
pub use draft::{Draft, Sent, Target};
pub use error::{CallError, Refusal, SendError};
pub use event::{ConversationEvent, DisconnectReason, Event, Via};
pub use flare_core::{
    codec::Codec,
    transport::websocket::{Trust, TrustError},
};
pub use flare_proto as proto;
pub use methods::Method;
pub use observer::{Action, Intent, Observer, SyncAnswer};
pub use options::{FirstSight, Options};
pub use queue::Events;
pub use token::{TokenFuture, TokenProvider, TokenSource};
