//! What is limited, and what happens beyond: the page doc/limits.md.

mod page;

use flare_access_gateway::domain::positions::MAX_OF_A_DEVICE;
use flare_core::{
    check,
    content::{MAX_FORWARD_DEPTH, MAX_FORWARDED},
    json::MAX_VALUES,
    outbound::MAX_HINTED,
};
use flare_core_gateway::{
    application::api_keys::MAX_KEYS,
    handler::body::{LONGEST_AT_ONCE, MAX_FIELDS},
};
use flare_proto::{common::ErrorCode, ids};
use flare_session::{application::ports::KEPT_DEVICES, domain::conversation::MAX_JOINING};

pub use self::page::page;

/// Where a limit stands.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A key of the configuration, whose default counts.
    Key(&'static str),
    /// A number of the contract or the code.
    Fixed(u64),
}

/// One limit.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// What is limited.
    pub what: &'static str,
    /// Where the number stands.
    pub source: Source,
    /// What happens beyond it, beside the refusal.
    pub beyond: &'static str,
    /// The code of the refusal.
    pub code: Option<ErrorCode>,
    /// How an operator sees that it is reached; never empty.
    pub signs: &'static [Sign],
}

/// How an operator sees that a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A counter rises; the label that tells stands in braces.
    Metric(&'static str),
    /// A log line says this, on standard error.
    Line(&'static str),
    /// The process ends in failure, and says this on standard error.
    LastWords(&'static str),
}

/// Limits of one surface.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// What they are about.
    pub heading: &'static str,
    /// The limits.
    pub limits: &'static [Limit],
}

/// A key that bounds something within the server.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The key.
    pub key: &'static str,
    /// What happens at it, and why nothing from outside shows that.
    pub why: &'static str,
}

const fn bound(key: &'static str, why: &'static str) -> Bound {
    Bound { key, why }
}

const fn key(what: &'static str, key: &'static str, beyond: &'static str) -> Limit {
    Limit {
        what,
        source: Source::Key(key),
        beyond,
        code: None,
        signs: &[],
    }
}

const fn fixed(what: &'static str, number: u64, beyond: &'static str) -> Limit {
    Limit {
        what,
        source: Source::Fixed(number),
        beyond,
        code: None,
        signs: &[],
    }
}

impl Limit {
    const fn code(self, code: ErrorCode) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    const fn shown_by(self, signs: &'static [Sign]) -> Self {
        Self { signs, ..self }
    }
}

const LINK_REFUSALS: &[Sign] = &[Sign::Metric("flare_access_gateway_refusals_total{code}")];
const LINK_CLOSES: &[Sign] = &[Sign::Metric("flare_access_gateway_closes_total{reason}")];
const HANDSHAKES: &[Sign] = &[Sign::Metric(
    "flare_access_gateway_handshakes_refused_total{status}",
)];
const OVERFLOWS: &[Sign] = &[Sign::Metric(
    "flare_access_gateway_outbound_overflows_total{hint}",
)];
const READS_PAUSED: &[Sign] = &[Sign::Metric("flare_access_gateway_reads_paused_total")];
const COMMANDS_EXPIRED: &[Sign] = &[Sign::Metric("flare_access_gateway_commands_expired_total")];
const API_REQUESTS: &[Sign] = &[Sign::Metric("flare_core_gateway_requests_total{code}")];
const API_RATES: &[Sign] = &[Sign::Metric("flare_core_gateway_rate_limited_total{by}")];
const API_CONNECTIONS: &[Sign] = &[Sign::Metric("flare_core_gateway_connection_limit_total")];
const API_CONNECTIONS_REFUSED: &[Sign] =
    &[Sign::Metric("flare_core_gateway_connections_refused_total")];
const API_CONNECTIONS_IDLE: &[Sign] = &[Sign::Metric(
    "flare_core_gateway_idle_connections_closed_total",
)];
/// Whichever way it came in.
const EDGES: &[Sign] = &[LINK_REFUSALS[0], API_REQUESTS[0]];
const ORCHESTRATOR_REFUSALS: &[Sign] = &[Sign::Metric("flare_orchestrator_refusals_total{code}")];
const ORCHESTRATOR_RATES: &[Sign] = &[Sign::Metric("flare_orchestrator_rate_limited_total{limit}")];
const SESSION_LIMITS: &[Sign] = &[Sign::Metric("flare_session_limit_reached_total{limit}")];
const GROWN_LARGE: &[Sign] = &[Sign::Metric("flare_session_grown_large_total")];
const LARGE_PLACES: &[Sign] = &[Sign::Metric(
    "flare_access_gateway_large_places_refused_total",
)];
const SESSION_POSITIONS: &[Sign] = &[Sign::Metric(
    "flare_session_positions_dropped_total{reason}",
)];
const INBOX_PAGES: &[Sign] = &[Sign::Metric("flare_session_inbox_pages_cut_total")];
const READER_ANSWERS: &[Sign] = &[Sign::Metric("flare_storage_reader_answers_cut_total{kind}")];
const SESSION_SIGNALS: &[Sign] = &[Sign::Metric("flare_session_signals_lost_total{reason}")];
const PUSH_SIGNALS: &[Sign] = &[Sign::Metric("flare_push_signals_dropped_total")];
const LOG_RETENTION: &[Sign] = &[Sign::Line("retention removes records that nobody released")];
const DRAIN: &[Sign] = &[Sign::LastWords("drain was not done after")];

/// Every limit that a client, a backend or an operator meets.
pub const GROUPS: &[Group] = &[
    Group {
        heading: "Connections",
        limits: &[
            key("Open connections", "access_gateway.max_connections", "the handshake is answered 503").shown_by(HANDSHAKES),
            key("Open connections from one address", "access_gateway.max_connections_per_ip", "the handshake is answered 429").shown_by(HANDSHAKES),
            key("Time of a handshake", "access_gateway.handshake_ms", "the connection is dropped").shown_by(HANDSHAKES),
            key("Time until Connect", "access_gateway.connect_ms", "closed with `CONNECT_TIMEOUT`").shown_by(LINK_CLOSES),
            fixed("Silence of a client, in heartbeats", 2, "closed with `IDLE`").shown_by(LINK_CLOSES),
            key("Time after a token's expiry", "access_gateway.token_grace_ms", "closed with `UNAUTHENTICATED`").shown_by(LINK_CLOSES),
            key("Devices of one user at once", "signaling_online.max_devices_per_user", "closed with `TOO_MANY_CONNECTIONS`").code(ErrorCode::LimitExceeded).shown_by(LINK_REFUSALS),
            key("Bytes of a frame", "access_gateway.max_frame_bytes", "closed with `PROTOCOL_ERROR`").code(ErrorCode::FrameTooLarge).shown_by(LINK_REFUSALS),
            fixed("Bytes of a token", check::MAX_TOKEN_BYTES as u64, "closed with `UNAUTHENTICATED`").code(ErrorCode::Unauthenticated).shown_by(LINK_REFUSALS),
            fixed("Bytes of platform and SDK version", check::MAX_LABEL_BYTES as u64, "closed with `PROTOCOL_ERROR`").code(ErrorCode::InvalidArgument).shown_by(LINK_REFUSALS),
            key("Bytes that wait to be written to one connection", "access_gateway.outbound_bytes", "events and signals are cleared, and a `SyncHint` goes out; a second time within 30 s, or for answers alone: closed with `SLOW_READER`").shown_by(OVERFLOWS),
            fixed("Conversations that a `SyncHint` names", MAX_HINTED as u64, "it names none: sync the inbox").shown_by(OVERFLOWS),
        ],
    },
    Group {
        heading: "What one connection asks for",
        limits: &[
            key("Frames a second, in the long run", "access_gateway.frames_per_s", "refused, above `access_gateway.frame_burst` at once").code(ErrorCode::RateLimited).shown_by(LINK_REFUSALS),
            key("Frames above that rate", "access_gateway.max_excess_frames", "closed with `TOO_FAST`").shown_by(LINK_CLOSES),
            key("Sends and Operates without an answer", "access_gateway.max_unacked_sends", "the connection is not read until one is answered").shown_by(READS_PAUSED),
            key("Time of a Send or Operate", "access_gateway.command_ms", "refused; whether it was kept is unknown, so send it again with the same client id").code(ErrorCode::DeadlineExceeded).shown_by(COMMANDS_EXPIRED),
            key("Conversations with commands outstanding or refused", "access_gateway.max_lanes", "refused, and the connection is closed: connect again and send what was refused in its order").code(ErrorCode::ResourceExhausted).shown_by(LINK_REFUSALS),
            key("Calls, Syncs and Refreshes at once", "access_gateway.max_calls", "refused").code(ErrorCode::ResourceExhausted).shown_by(LINK_REFUSALS),
            key("Time of a Call or Sync", "access_gateway.call_ms", "refused; a change may have been made").code(ErrorCode::DeadlineExceeded).shown_by(LINK_REFUSALS),
            key("Bytes of a Reply", "access_gateway.max_reply_bytes", "refused: ask for less").code(ErrorCode::LimitExceeded).shown_by(LINK_REFUSALS),
            key("Conversations in one read of events", "storage_reader.max_ranges", "refused").code(ErrorCode::InvalidArgument).shown_by(EDGES),
            fixed("Ranges in one Sync", check::MAX_SYNC_RANGES as u64, "refused").code(ErrorCode::InvalidArgument).shown_by(LINK_REFUSALS),
            fixed("Positions in one Ack", check::MAX_ACK_POSITIONS as u64, "refused").code(ErrorCode::InvalidArgument).shown_by(LINK_REFUSALS),
            fixed("Acknowledged positions of one device that wait in a gateway", MAX_OF_A_DEVICE as u64, "refused").code(ErrorCode::ResourceExhausted).shown_by(LINK_REFUSALS),
            key("Signals a second", "access_gateway.signals_per_s", "refused").code(ErrorCode::RateLimited).shown_by(LINK_REFUSALS),
            key("Conversations that one connection views", "access_gateway.max_viewed", "refused").code(ErrorCode::LimitExceeded).shown_by(LINK_REFUSALS),
        ],
    },
    Group {
        heading: "Messages",
        limits: &[
            key("Bytes of a content, over the client link", "access_gateway.max_content_bytes", "refused").code(ErrorCode::ContentTooLarge).shown_by(LINK_REFUSALS),
            key("Bytes of a content, over gRPC and HTTP", "core_gateway.max_content_bytes", "refused").code(ErrorCode::ContentTooLarge).shown_by(API_REQUESTS),
            key("Bytes of a content, whatever the way", "message_orchestrator.max_content_bytes", "refused").code(ErrorCode::ContentTooLarge).shown_by(ORCHESTRATOR_REFUSALS),
            key("Mentions, over the client link", "access_gateway.max_mentions", "refused").code(ErrorCode::LimitExceeded).shown_by(LINK_REFUSALS),
            key("Mentions, over gRPC and HTTP", "core_gateway.max_mentions", "refused").code(ErrorCode::LimitExceeded).shown_by(API_REQUESTS),
            key("Mentions, whatever the way", "message_orchestrator.max_mentions", "refused").code(ErrorCode::LimitExceeded).shown_by(ORCHESTRATOR_REFUSALS),
            fixed("Forwards within forwards", MAX_FORWARD_DEPTH as u64, "refused").code(ErrorCode::InvalidArgument).shown_by(LINK_REFUSALS),
            fixed("Forwarded messages of one content, those within others too", MAX_FORWARDED as u64, "refused").code(ErrorCode::LimitExceeded).shown_by(LINK_REFUSALS),
            key("Time in which a sender may recall, in seconds", "message_orchestrator.recall_window_s", "refused; owners and admins of a group may at any time").code(ErrorCode::RecallWindowPassed).shown_by(ORCHESTRATOR_REFUSALS),
            fixed("Time that a client id may be ahead of the server, in ms", 30_000, "refused, with the server's time").code(ErrorCode::ClientIdInFuture).shown_by(ORCHESTRATOR_REFUSALS),
            key("Commands of one user a second", "message_orchestrator.rate.user_per_s", "refused, above `message_orchestrator.rate.user_burst` at once").code(ErrorCode::RateLimited).shown_by(ORCHESTRATOR_RATES),
            key("Commands to one conversation a second", "message_orchestrator.rate.conversation_per_s", "refused, above `message_orchestrator.rate.conversation_burst` at once").code(ErrorCode::RateLimited).shown_by(ORCHESTRATOR_RATES),
            fixed("Bytes of a tenant id", ids::MAX_TENANT_ID_BYTES as u64, "a token with a longer one is refused; a configuration with one is a mistake").code(ErrorCode::Unauthenticated).shown_by(LINK_REFUSALS),
            fixed("Bytes of any other id", ids::MAX_ID_BYTES as u64, "refused").code(ErrorCode::InvalidArgument).shown_by(EDGES),
        ],
    },
    Group {
        heading: "Conversations and reading",
        limits: &[
            key("Members of a group", "session.max_group_members", "with more it becomes a large conversation, if `session.max_large_members` is higher").shown_by(GROWN_LARGE),
            key("Members of a large conversation", "session.max_large_members", "refused").code(ErrorCode::LimitExceeded).shown_by(SESSION_LIMITS),
            fixed("Users who join a conversation by one change", MAX_JOINING as u64, "refused: add them in several").code(ErrorCode::LimitExceeded).shown_by(SESSION_LIMITS),
            key("Groups of one user", "session.max_conversations_per_user", "refused").code(ErrorCode::LimitExceeded).shown_by(SESSION_LIMITS),
            key("Characters of a title", "session.max_title_chars", "refused").code(ErrorCode::InvalidArgument).shown_by(SESSION_LIMITS),
            fixed("Items of a page", 200, "refused, and so is 0; absent: 50").code(ErrorCode::InvalidArgument).shown_by(EDGES),
            key("Bytes of one answer of history or sync", "storage_reader.max_answer_bytes", "the answer is cut and says that there is more").shown_by(READER_ANSWERS),
            fixed("Devices of a member whose delivered position in a conversation is kept", KEPT_DEVICES as u64, "that of the device that has received least goes").shown_by(SESSION_POSITIONS),
            key("Bytes of one page of an inbox", "session.max_inbox_page_bytes", "the page ends and says that there is more").shown_by(INBOX_PAGES),
        ],
    },
    Group {
        heading: "gRPC and HTTP",
        limits: &[
            key("Connections at once", "core_gateway.max_connections", "further ones wait to be accepted").shown_by(API_CONNECTIONS),
            key("Connections at once from one address", "core_gateway.max_connections_per_ip", "the next is answered 429 and closed; where TLS is on, only closed").shown_by(API_CONNECTIONS_REFUSED),
            key("Time without a request", "core_gateway.idle_ms", "the connection is closed").shown_by(API_CONNECTIONS_IDLE),
            key("Bytes of a request", "core_gateway.max_body_bytes", "refused").code(ErrorCode::FrameTooLarge).shown_by(API_REQUESTS),
            fixed("Bodies of requests that are held at once, counted in longest ones", LONGEST_AT_ONCE as u64, "refused").code(ErrorCode::ResourceExhausted).shown_by(API_REQUESTS),
            fixed("Fields and elements of lists of a gRPC request", MAX_FIELDS as u64, "refused: ask in several").code(ErrorCode::InvalidArgument).shown_by(API_REQUESTS),
            fixed("Values in the JSON of a request", MAX_VALUES as u64, "refused: ask in several").code(ErrorCode::InvalidArgument).shown_by(API_REQUESTS),
            key("Time of a request", "core_gateway.timeout_ms", "refused; a change may have been made").code(ErrorCode::DeadlineExceeded).shown_by(API_REQUESTS),
            key("Requests of one user a second", "core_gateway.user_requests_per_s", "refused, above `core_gateway.user_burst` at once").code(ErrorCode::RateLimited).shown_by(API_RATES),
            key("Requests by one API key a second", "core_gateway.api_key_requests_per_s", "refused, above `core_gateway.api_key_burst` at once").code(ErrorCode::RateLimited).shown_by(API_RATES),
            fixed("Messages of one batch", 200, "refused").code(ErrorCode::InvalidArgument).shown_by(API_REQUESTS),
            fixed("Users of one presence query", 200, "refused").code(ErrorCode::InvalidArgument).shown_by(API_REQUESTS),
            fixed("Characters of the reason of a kick", 200, "refused").code(ErrorCode::InvalidArgument).shown_by(API_REQUESTS),
            fixed("Good API keys of a tenant", MAX_KEYS as u64, "refused").code(ErrorCode::LimitExceeded).shown_by(API_REQUESTS),
        ],
    },
    Group {
        heading: "The server as a whole",
        limits: &[
            key("Connections in a gateway that wait to be registered", "access_gateway.registration_queue", "closed with `GOING_AWAY`").code(ErrorCode::Unavailable).shown_by(LINK_REFUSALS),
            key("Commands in a gateway that wait to be submitted", "access_gateway.command_queue", "refused").code(ErrorCode::ResourceExhausted).shown_by(LINK_REFUSALS),
            key("Commands in a gateway that are submitted and have no receipt", "access_gateway.max_commands_in_flight", "the next wait to be submitted, as many as may; then refused").code(ErrorCode::ResourceExhausted).shown_by(LINK_REFUSALS),
            key("Bytes of commands in a gateway that have no receipt", "access_gateway.max_command_bytes", "refused").code(ErrorCode::ResourceExhausted).shown_by(LINK_REFUSALS),
            key("Commands that a partition holds", "message_orchestrator.max_pending_commands", "refused").code(ErrorCode::ResourceExhausted).shown_by(ORCHESTRATOR_REFUSALS),
            key("Bytes of commands that a partition holds", "message_orchestrator.max_pending_bytes", "refused").code(ErrorCode::ResourceExhausted).shown_by(ORCHESTRATOR_REFUSALS),
            key("Events by which the store is behind the log", "message_orchestrator.max_store_lag_events", "commands are refused, reads go on").code(ErrorCode::ResourceExhausted).shown_by(ORCHESTRATOR_REFUSALS),
            key("Seconds by which the store is behind the log", "message_orchestrator.max_store_lag_s", "commands are refused, reads go on").code(ErrorCode::ResourceExhausted).shown_by(ORCHESTRATOR_REFUSALS),
            key("Free bytes of the disk", "log.min_free_bytes", "commands are refused until twice as much is free; reads go on").code(ErrorCode::ResourceExhausted).shown_by(ORCHESTRATOR_REFUSALS),
            key("Acknowledged positions that wait in a gateway", "access_gateway.max_positions", "refused").code(ErrorCode::ResourceExhausted).shown_by(LINK_REFUSALS),
            key("Positions that wait to be written in a session, read ones and delivered ones each", "session.max_waiting_positions", "refused; of delivered ones, what is above a tenth for one user waits in his gateway").code(ErrorCode::ResourceExhausted).shown_by(SESSION_LIMITS),
            key("Pairs of a user who is connected to a gateway and a large conversation of his", "access_gateway.max_large_places", "his connections are closed with `GOING_AWAY`").shown_by(LARGE_PLACES),
            key("Signals on their way in a gateway", "access_gateway.signal_queue", "refused").code(ErrorCode::ResourceExhausted).shown_by(LINK_REFUSALS),
            key("Signals of a session that wait to be handed to push-server", "session.max_waiting_signals", "lost: a read mark comes with the next one").shown_by(SESSION_SIGNALS),
            key("Signals on their way in push-server", "push_server.signal_queue", "lost: typing is told again, another user's read mark comes with the next one, devices that miss what their own user did are told to sync").shown_by(PUSH_SIGNALS),
            key("Bytes of the log, if above 0", "log.max_bytes", "the oldest segments that the store has go, even if somebody still reads them").shown_by(LOG_RETENTION),
            key("Age of the log in seconds, if above 0", "log.max_age_s", "older segments go once the store has them, even if somebody still reads them").shown_by(LOG_RETENTION),
            key("Time of a drain", "process.drain_ms", "the process ends all the same, and says what still ran").shown_by(DRAIN),
        ],
    },
];

/// Keys with the names of limits that no test from outside reaches: a test below demands each such key in one of the two tables.
pub const BOUNDS: &[Bound] = &[
    bound(
        "access_gateway.max_heartbeat_ms",
        "A client that asks for a longer heartbeat is given this one: `Connected` says so.",
    ),
    bound(
        "signaling_online.max_remembered_users",
        "A cache: of those unseen for longest, the last connection's end is forgotten.",
    ),
    bound(
        "signaling_route.max_announcers",
        "Processes of the house: one more is refused `LIMIT_EXCEEDED`, and says so in its log; `flare_route_refusals_total` rises.",
    ),
    bound(
        "signaling_route.max_registrations",
        "Registrations of business services by other processes: one more is refused `LIMIT_EXCEEDED`, and `flare_route_refusals_total` rises.",
    ),
    bound(
        "signaling_route.max_interests",
        "What gateways tell: more is refused `LIMIT_EXCEEDED`, and `flare_route_refusals_total` rises.",
    ),
    bound(
        "message_orchestrator.max_stream_items",
        "The stream between two services is read no further: no gateway has more commands under way, see `access_gateway.max_commands_in_flight`.",
    ),
    bound(
        "message_orchestrator.max_groups_per_s",
        "A group waits for its turn, and what comes meanwhile is in it.",
    ),
    bound(
        "message_orchestrator.call_timeout_ms",
        "A call between services; the command is refused `UNAVAILABLE`, as when the other is down.",
    ),
    bound(
        "message_orchestrator.hook_timeout_ms",
        "Hooks are built into a process: one without them, as this one, waits for none.",
    ),
    bound(
        "message_orchestrator.rate.max_keys",
        "A cache: who was quiet for longest starts with a full burst.",
    ),
    bound(
        "etcd.timeout_ms",
        "A call to etcd; who is known stays known, and it is tried again.",
    ),
    bound(
        "postgres.max_connections",
        "Statements of one service wait for a connection, see `postgres.acquire_timeout_ms`.",
    ),
    bound(
        "postgres.connect_timeout_ms",
        "The server is away at the start, which ends with an error.",
    ),
    bound(
        "postgres.acquire_timeout_ms",
        "All connections are in use; the request is answered `UNAVAILABLE`, as when the server is down.",
    ),
    bound(
        "postgres.statement_timeout_ms",
        "The server gives the statement up; the request is answered `UNAVAILABLE`.",
    ),
    bound(
        "postgres.lock_timeout_ms",
        "Another transaction holds the row; the request is answered `UNAVAILABLE`.",
    ),
    bound(
        "log.segment_bytes",
        "A size of files: a full segment is followed by the next.",
    ),
    bound(
        "storage_writer.max_batch_bytes",
        "A size of batches: what is left is in the next.",
    ),
    bound(
        "storage_writer.max_held_bytes",
        "Batches are smaller, the more partitions there are: what is left is in the next.",
    ),
    bound(
        "storage_writer.view_memory_bytes",
        "A cache: what is older is read from the disk.",
    ),
    bound(
        "session.submit_timeout_ms",
        "A call between services; the change is answered `UNAVAILABLE`, as when the other is down, and submitted again.",
    ),
    bound(
        "session.kept_message_bytes",
        "A cache: larger messages are asked for at storage-reader.",
    ),
    bound(
        "push_server.max_roster_members",
        "A cache: rosters that were not needed for longest are asked for again.",
    ),
    bound(
        "push_server.max_large_conversations",
        "A cache: when the members of one last changed is asked for again at storage-reader.",
    ),
    bound(
        "push_server.gateway_queue_batches",
        "A stream between services: the next batch waits, see `push_server.gateway_deadline_ms`.",
    ),
    bound(
        "push_server.gateway_deadline_ms",
        "A gateway's process must stand still; its connections are told to sync, and `flare_push_gateways_given_up_total` rises.",
    ),
];

#[cfg(test)]
mod tests {
    use flare_server_core::config::Section;

    use super::*;
    use crate::config::Config;

    #[test]
    fn every_key_is_one_of_the_configuration_and_has_a_number() {
        let keys = Config::describe();
        for limit in GROUPS.iter().flat_map(|it| it.limits) {
            if let Source::Key(key) = limit.source {
                let default = keys
                    .iter()
                    .find(|it| it.key == key)
                    .and_then(|it| it.default.as_deref());
                assert!(
                    default.is_some_and(|it| it.parse::<u64>().is_ok()),
                    "{key}: {default:?}"
                );
            }
        }
    }

    /// By its name.
    fn is_a_limit(key: &str) -> bool {
        let name = key.rsplit('.').next().unwrap_or_default();
        name.starts_with("max_")
            || name.ends_with("_bytes")
            || ["_queue", "timeout", "deadline"]
                .iter()
                .any(|it| name.contains(it))
    }

    #[test]
    fn every_key_with_the_name_of_a_limit_is_in_one_table() {
        let limits = GROUPS.iter().flat_map(|it| it.limits);
        let mut told: Vec<_> = limits
            .filter_map(|it| match it.source {
                Source::Key(key) => Some(key),
                Source::Fixed(_) => None,
            })
            .chain(BOUNDS.iter().map(|it| it.key))
            .collect();
        told.sort_unstable();
        let twice: Vec<_> = told.windows(2).filter(|it| it[0] == it[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
        let keys = Config::describe();
        for key in &told {
            assert!(keys.iter().any(|it| it.key == *key), "{key} is no key");
        }
        let forgotten: Vec<_> = keys
            .iter()
            .map(|it| it.key.as_str())
            .filter(|it| is_a_limit(it) && !told.contains(it))
            .collect();
        assert!(forgotten.is_empty(), "{forgotten:?}");
    }

    #[test]
    fn every_limit_is_seen_by_something() {
        for limit in GROUPS.iter().flat_map(|it| it.limits) {
            assert!(!limit.signs.is_empty(), "{}", limit.what);
        }
    }

    #[test]
    fn no_limit_stands_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for limit in GROUPS.iter().flat_map(|it| it.limits) {
            assert!(seen.insert(limit.what), "{}", limit.what);
        }
    }
}
