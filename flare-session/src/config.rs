//! The section `session` of the configuration.

use std::time::Duration;

use crate::domain::conversation::Limits;

flare_server_core::section! {
    /// Conversations, their members, and what each user has of them.
    pub struct SessionConfig {
        /// Members of one group; with more it becomes a large conversation, if `max_large_members` is above it.
        pub max_group_members: u32 = 500,
        /// Members of a large conversation.
        pub max_large_members: u32 = 100_000,
        /// Groups of one user that are not disbanded.
        pub max_conversations_per_user: u32 = 10_000,
        /// Characters of a group's title.
        pub max_title_chars: u32 = 200,
        /// A change whose event has no receipt within this is answered UNAVAILABLE, and submitted again later. Where several processes share the rows, lines that others left are looked for as often.
        pub submit_timeout_ms: u64 = 5_000,
        /// Read and delivered positions gather for this long before they are written; not what users mark where several processes share the rows, which is written at once.
        pub position_interval_ms: u64 = 1_000,
        /// Positions that may wait to be written, read ones and delivered ones each; more are refused RESOURCE_EXHAUSTED.
        pub max_waiting_positions: u32 = 100_000,
        /// Signals that may wait to be handed to push-server; more are lost, and counted.
        pub max_waiting_signals: u32 = 10_000,
        /// Conversations whose heads are kept in memory: the inbox of a user who was away while more of them moved is sent whole. Where several processes share the rows, each begins so many events before the stream's end.
        pub recent_heads: u32 = 100_000,
        /// Last messages up to this size are kept with their heads in memory; larger ones are asked for at storage-reader. Bytes.
        pub kept_message_bytes: u32 = 1_024,
        /// Members of active conversations that are kept in memory.
        pub cached_members: u64 = 1_000_000,
        /// A page of an inbox ends before it takes more than this. Bytes.
        pub max_inbox_page_bytes: u32 = 196_608,
        /// Connections that read the database; one more writes.
        pub database_readers: u32 = 4,
    }
    validate(session, at) {
        at.require(session.max_group_members >= 1, "max_group_members", "must be at least 1");
        at.require(session.submit_timeout_ms >= 1, "submit_timeout_ms", "must be at least 1");
        at.require(session.position_interval_ms <= 60_000, "position_interval_ms", "must be at most 60000");
        at.require(session.max_waiting_positions >= 1, "max_waiting_positions", "must be at least 1");
        at.require(session.max_waiting_signals >= 1, "max_waiting_signals", "must be at least 1");
        at.require(session.recent_heads >= 1, "recent_heads", "must be at least 1");
        at.require(session.database_readers >= 1, "database_readers", "must be at least 1");
    }
}

impl SessionConfig {
    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            max_group_members: self.max_group_members as usize,
            max_large_members: self.max_large_members as usize,
            max_conversations_per_user: self.max_conversations_per_user,
            max_title_chars: self.max_title_chars as usize,
        }
    }

    pub(crate) const fn submit_timeout(&self) -> Duration {
        Duration::from_millis(self.submit_timeout_ms)
    }

    pub(crate) const fn position_interval(&self) -> Duration {
        Duration::from_millis(self.position_interval_ms)
    }
}

flare_server_core::section! {
    /// flare-session's configuration, beside what every process has.
    pub struct Settings {
        /// flare-session.
        pub session: SessionConfig = SessionConfig::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert!(flare_server_core::config::mistakes_of(&SessionConfig::default()).is_empty());
    }
}
