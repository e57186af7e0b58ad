//! What a client is told at its start.

use std::{fmt, sync::Arc, time::Duration};

use flare_core::{codec::Codec, transport::websocket::Trust};

use crate::{
    cursors::Cursors,
    observer::{Observer, Unobserved},
    token::TokenSource,
};

/// Where a conversation begins that the client sees for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstSight {
    /// At the oldest event that the user may read.
    FromStart,
    /// With so many of the latest messages, 1 to 200, as they stand; events follow from there.
    Snapshot(u32),
}

/// How a client connects and what it keeps. [`Options::new`] has what most clients want.
#[derive(Clone)]
pub struct Options {
    /// "wss://host:port/ws", or with ws:// in the clear.
    pub url: String,
    /// Whose certificates are believed where the URL says wss: the public authorities', or one's own beside them.
    pub trust: Trust,
    /// The user's token.
    pub token: TokenSource,
    /// Which of the user's devices this is. A second connection of the same device displaces the first.
    pub device_id: String,
    /// Such as "ios", "web", "terminal"; shown to the user's other devices.
    pub platform: String,
    /// How frames are written.
    pub codec: Codec,
    /// Sent as a browser would, if given.
    pub origin: Option<String>,
    /// How often the client says that it is there when it has nothing else to say; `None`: as the server likes.
    pub heartbeat: Option<Duration>,
    /// Where new conversations begin.
    pub first_sight: FirstSight,
    /// Where to go on, from an earlier run of this device.
    pub cursors: Cursors,
    /// Most unacknowledged messages that are kept.
    pub outbox_messages: usize,
    /// Most bytes of unacknowledged contents that are kept.
    pub outbox_bytes: usize,
    /// Most events that wait for their consumer. Beyond, the client lets the server keep them, and syncs when there is room.
    pub queued_events: usize,
    /// Most bytes of events that wait for their consumer; likewise.
    pub queued_bytes: usize,
    /// How long a message is tried before its sender is told that it failed.
    pub send_deadline: Duration,
    /// How long an answer is waited for. A send without one breaks the connection, to be sent again on the next.
    pub request_timeout: Duration,
    /// How long an attempt to connect may take, the `Connect` included.
    pub connect_timeout: Duration,
    /// The pause after the first failed attempt to connect; it doubles up to the longest, and up to as much is added by chance.
    pub shortest_pause: Duration,
    /// The longest pause between attempts, before chance.
    pub longest_pause: Duration,
    /// For how long acknowledgements of deliveries are gathered.
    pub ack_delay: Duration,
    /// Largest frame that is taken from the server, in bytes.
    pub max_frame_bytes: usize,
    /// Makes ids and pauses repeatable; `None`: from the operating system.
    pub seed: Option<u64>,
    /// Who follows the client from the inside.
    pub observer: Arc<dyn Observer>,
}

impl Options {
    /// Connects to `url` ("wss://host:port/ws") with a token (a text, or a provider) as this device.
    pub fn new(
        url: impl Into<String>,
        token: impl Into<TokenSource>,
        device_id: impl Into<String>,
    ) -> Self {
        Self {
            url: url.into(),
            trust: Trust::public(),
            token: token.into(),
            device_id: device_id.into(),
            platform: "rust".to_owned(),
            codec: Codec::default(),
            origin: None,
            heartbeat: None,
            first_sight: FirstSight::Snapshot(50),
            cursors: Cursors::default(),
            outbox_messages: 1_000,
            outbox_bytes: 16 * 1024 * 1024,
            queued_events: 1_024,
            queued_bytes: 8 * 1024 * 1024,
            send_deadline: Duration::from_secs(60),
            request_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(10),
            shortest_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(20),
            ack_delay: Duration::from_millis(200),
            max_frame_bytes: 4 * 1024 * 1024,
            seed: None,
            observer: Arc::new(Unobserved),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url)
            .field("device_id", &self.device_id)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
