//! The section `message_orchestrator`.

use std::time::Duration;

use crate::domain::owner::{MemoryLimits, OwnerConfig};

flare_server_core::section! {
    /// How messages are taken in, checked and given their place.
    pub struct OrchestratorConfig {
        /// The largest content of a message, in bytes.
        pub max_content_bytes: usize = 65_536,
        /// The most mentions of a message.
        pub max_mentions: usize = 50,
        /// How long the sender may take a message back, in seconds. Owners and admins of a group may at any time.
        pub recall_window_s: u64 = 120,
        /// Commands that a partition holds in hand; more are refused RESOURCE_EXHAUSTED.
        pub max_pending_commands: usize = 20_000,
        /// Bytes of commands that a partition holds in hand; more are refused RESOURCE_EXHAUSTED.
        pub max_pending_bytes: usize = 67_108_864,
        /// Items that one stream may have unanswered; then it is not read any further.
        pub max_stream_items: usize = 8_192,
        /// Commands are refused while the message store lacks so many events of the log.
        pub max_store_lag_events: usize = 200_000,
        /// Commands are refused while the message store lacks an event of the log for so long, in seconds.
        pub max_store_lag_s: u64 = 600,
        /// Groups of commands that this process appends to the log a second, over all its partitions; 0: no limit. A group costs log, store and consumers
        /// about the same, whatever is in it: on a machine that is full of them, commands that wait for fewer groups are through sooner.
        pub max_groups_per_s: u32 = 0,
        /// A call to another service or to the store is given up after this, in milliseconds.
        pub call_timeout_ms: u64 = 2_000,
        /// PreSend hooks of a message are given up after this, in milliseconds; the message goes on.
        pub hook_timeout_ms: u64 = 5_000,
        /// What a partition remembers.
        pub memory: MemoryConfig = MemoryConfig::default(),
        /// How fast users may send.
        pub rate: RateConfig = RateConfig::default(),
    }
    validate(config, at) {
        at.require((1..=262_144).contains(&config.max_content_bytes), "max_content_bytes", "must be 1 to 262144");
        at.require(config.max_mentions <= 500, "max_mentions", "must be 500 at most");
        at.require(config.max_pending_commands > 0, "max_pending_commands", "must be above 0");
        at.require(config.max_pending_bytes >= 1_048_576, "max_pending_bytes", "must be 1048576 at least");
        at.require((1..=1_000_000).contains(&config.max_stream_items), "max_stream_items", "must be 1 to 1000000");
        at.require(config.max_store_lag_events > 0, "max_store_lag_events", "must be above 0");
        at.require(config.max_store_lag_s > 0, "max_store_lag_s", "must be above 0");
        at.require(config.max_groups_per_s <= 1_000, "max_groups_per_s", "must be 0 to 1000");
        at.require(config.call_timeout_ms > 0, "call_timeout_ms", "must be above 0");
        at.require(config.hook_timeout_ms > 0, "hook_timeout_ms", "must be above 0");
    }
}

flare_server_core::section! {
    /// What a partition remembers below the message store's cursor. What lies above it is always remembered.
    pub struct MemoryConfig {
        /// Heads of conversations, about 200 bytes each.
        pub heads: usize = 200_000,
        /// Client ids with their receipts, about 100 bytes each. What is sent again later than these reach is looked up in the store.
        pub ids: usize = 1_000_000,
        /// Senders of recent messages, about 120 bytes each.
        pub messages: usize = 200_000,
        /// What users are to conversations, about 150 bytes each.
        pub memberships: usize = 200_000,
        /// Lanes that wait for an earlier command to be sent again.
        pub broken_lanes: usize = 100_000,
    }
}

flare_server_core::section! {
    /// How fast users may send. More is refused RATE_LIMITED, with the time after which to try again.
    pub struct RateConfig {
        /// Commands of a user a second; 0: no limit.
        pub user_per_s: u32 = 1_000,
        /// How many of these may come at once.
        pub user_burst: u32 = 5_000,
        /// Commands to a conversation a second; 0: no limit.
        pub conversation_per_s: u32 = 2_000,
        /// How many of these may come at once.
        pub conversation_burst: u32 = 10_000,
        /// Users, and conversations, that are watched at the same time. Beyond, those that were quiet are forgotten.
        pub max_keys: usize = 200_000,
    }
    validate(rate, at) {
        at.require(rate.user_per_s == 0 || rate.user_burst > 0, "user_burst", "must be above 0");
        at.require(rate.conversation_per_s == 0 || rate.conversation_burst > 0, "conversation_burst", "must be above 0");
        at.require(rate.max_keys > 0, "max_keys", "must be above 0");
    }
}

impl OrchestratorConfig {
    /// What an owner of one of the partitions needs, who is asked for `hooks` or not, over a log that `is_shared` with other processes or not.
    pub fn owner(&self, name: &str, hooks: bool, is_shared: bool) -> OwnerConfig {
        OwnerConfig {
            name: name.to_owned(),
            memory: MemoryLimits {
                heads: self.memory.heads,
                ids: self.memory.ids,
                messages: self.memory.messages,
                part_entries: PART_ENTRIES,
            },
            memberships: self.memory.memberships,
            max_pending_commands: self.max_pending_commands,
            max_pending_bytes: self.max_pending_bytes,
            max_broken_lanes: self.memory.broken_lanes,
            max_store_lag_events: self.max_store_lag_events,
            max_store_lag: Duration::from_secs(self.max_store_lag_s),
            recall_window: Duration::from_secs(self.recall_window_s),
            max_authorise_attempts: AUTHORISE_ATTEMPTS,
            hooks,
            log_is_shared: is_shared,
            waits_for_turns: self.max_groups_per_s > 0,
        }
    }
}

/// With the pauses between them, the last of these comes about 1.3 s after the first.
const AUTHORISE_ATTEMPTS: u32 = 9;

/// Filling one table of 500,000 stalls its owner for a tenth of a second; ten of these do not.
const PART_ENTRIES: usize = 50_000;

flare_server_core::section! {
    /// flare-message-orchestrator's configuration, beside what every process has.
    pub struct Settings {
        /// flare-message-orchestrator.
        pub message_orchestrator: OrchestratorConfig = OrchestratorConfig::default(),
    }
}
