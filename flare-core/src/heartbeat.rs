//! How often a silent client says that it is there, and when the server stops believing it.

/// The bounds within which a heartbeat is agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatRange {
    /// The shortest, in milliseconds.
    pub min_ms: u32,
    /// The longest, in milliseconds.
    pub max_ms: u32,
    /// For a client that asks for none, in milliseconds.
    pub default_ms: u32,
}

impl Default for HeartbeatRange {
    fn default() -> Self {
        Self {
            min_ms: 5_000,
            max_ms: 120_000,
            default_ms: 30_000,
        }
    }
}

impl HeartbeatRange {
    /// What the server agrees to when the client asks for `asked_ms`; 0 asks for the default.
    pub fn agree(&self, asked_ms: u32) -> u32 {
        let wished = if asked_ms == 0 {
            self.default_ms
        } else {
            asked_ms
        };
        wished.max(self.min_ms).min(self.max_ms)
    }
}

/// The server's side: closes after twice the heartbeat without a frame of any kind. Times are milliseconds of a clock that only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleDeadline {
    heartbeat_ms: u32,
    last_frame_ms: u64,
}

impl IdleDeadline {
    /// Begins with the connection, which counts as a frame.
    pub fn new(heartbeat_ms: u32, now_ms: u64) -> Self {
        Self {
            heartbeat_ms,
            last_frame_ms: now_ms,
        }
    }

    /// A frame came, or whatever else the transport takes for a sign of life.
    pub fn heard(&mut self, now_ms: u64) {
        self.last_frame_ms = self.last_frame_ms.max(now_ms);
    }

    /// When the connection closes unless a frame comes.
    pub fn closes_at_ms(&self) -> u64 {
        self.last_frame_ms
            .saturating_add(2 * u64::from(self.heartbeat_ms))
    }

    /// Whether it closes.
    pub fn has_passed(&self, now_ms: u64) -> bool {
        now_ms >= self.closes_at_ms()
    }
}

/// The client's side: a Ping when either direction was silent for a heartbeat (the server must hear something, and most frames have no answer),
/// and no faith in a server that is silent for two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingSchedule {
    heartbeat_ms: u32,
    last_sent_ms: u64,
    last_ping_ms: u64,
    heard: IdleDeadline,
}

impl PingSchedule {
    /// Begins when the server has agreed on the heartbeat.
    pub fn new(heartbeat_ms: u32, now_ms: u64) -> Self {
        Self {
            heartbeat_ms,
            last_sent_ms: now_ms,
            last_ping_ms: now_ms,
            heard: IdleDeadline::new(heartbeat_ms, now_ms),
        }
    }

    /// A frame other than a Ping was sent.
    pub fn sent(&mut self, now_ms: u64) {
        self.last_sent_ms = self.last_sent_ms.max(now_ms);
    }

    /// A Ping was sent.
    pub fn pinged(&mut self, now_ms: u64) {
        self.sent(now_ms);
        self.last_ping_ms = self.last_ping_ms.max(now_ms);
    }

    /// A frame came from the server.
    pub fn heard(&mut self, now_ms: u64) {
        self.heard.heard(now_ms);
    }

    /// When the next Ping is due.
    pub fn ping_at_ms(&self) -> u64 {
        let asked = self.heard.last_frame_ms.max(self.last_ping_ms);
        self.last_sent_ms
            .min(asked)
            .saturating_add(u64::from(self.heartbeat_ms))
    }

    /// When the server counts as gone unless something comes before.
    pub fn dead_at_ms(&self) -> u64 {
        self.heard.closes_at_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_agrees_within_its_range() {
        let range = HeartbeatRange::default();
        for (asked, agreed) in [
            (0, 30_000),
            (1, 5_000),
            (5_000, 5_000),
            (45_000, 45_000),
            (120_001, 120_000),
            (u32::MAX, 120_000),
        ] {
            assert_eq!(range.agree(asked), agreed, "{asked}");
        }
    }

    #[test]
    fn a_connection_closes_after_two_silent_heartbeats() {
        let mut deadline = IdleDeadline::new(5_000, 1_000);
        assert!(!deadline.has_passed(10_999));
        assert!(deadline.has_passed(11_000));
        deadline.heard(8_000);
        assert_eq!(deadline.closes_at_ms(), 18_000);
        deadline.heard(7_000);
        assert_eq!(deadline.closes_at_ms(), 18_000);
    }

    #[test]
    fn a_client_pings_when_either_direction_is_silent() {
        let mut schedule = PingSchedule::new(5_000, 0);
        assert_eq!(
            (schedule.ping_at_ms(), schedule.dead_at_ms()),
            (5_000, 10_000)
        );
        // It only sends: without a Ping nothing would ever come back.
        schedule.sent(3_000);
        assert_eq!(schedule.ping_at_ms(), 5_000);
        schedule.pinged(5_000);
        assert_eq!(
            (schedule.ping_at_ms(), schedule.dead_at_ms()),
            (10_000, 10_000)
        );
        schedule.heard(5_100);
        assert_eq!(
            (schedule.ping_at_ms(), schedule.dead_at_ms()),
            (10_000, 15_100)
        );
        // It only hears: the server must hear something too.
        schedule.heard(9_000);
        assert_eq!(schedule.ping_at_ms(), 10_000);
    }
}
