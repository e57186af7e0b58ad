#![doc = include_str!("../README.md")]
#![expect(
    clippy::expect_used,
    reason = "a decoder that breaks its word is shown by a panic"
)]

mod corpus;
pub mod decoder;
pub mod mutation;

pub mod api_keys;
pub mod calls;
pub mod certificates;
pub mod configuration;
pub mod contents;
pub mod contract_json;
pub mod cursors;
pub mod events;
pub mod frames;
pub mod generated;
pub mod http_requests;
pub mod identifiers;
pub mod log_records;
pub mod log_segments;
pub mod rows;
pub mod tokens;
pub mod websocket;

pub use decoder::{Decoder, decoder};

/// Every decoder, by the names of the targets in `fuzz/`.
pub const DECODERS: &[Decoder] = &[
    Decoder::new(
        "client_frames_proto",
        frames::client_proto,
        frames::client_proto_corpus,
    ),
    Decoder::new(
        "client_frames_json",
        frames::client_json,
        frames::client_json_corpus,
    )
    .of_json(),
    Decoder::new(
        "server_frames_proto",
        frames::server_proto,
        frames::server_proto_corpus,
    ),
    Decoder::new(
        "server_frames_json",
        frames::server_json,
        frames::server_json_corpus,
    )
    .of_json(),
    Decoder::new(
        "contract_json",
        contract_json::json,
        contract_json::json_corpus,
    )
    .of_json(),
    Decoder::new(
        "contract_wire",
        contract_json::wire,
        contract_json::wire_corpus,
    )
    .of_json(),
    Decoder::new("contents", contents::contents, contents::corpus),
    Decoder::new("events", events::events, events::corpus).of_json(),
    Decoder::new("log_records", log_records::records, log_records::corpus),
    Decoder::new("log_folds", log_records::folds, log_records::folds_corpus),
    Decoder::new("log_segments", log_segments::segments, log_segments::corpus)
        .taking_at_most(16 * 1024),
    Decoder::new(
        "dead_letters",
        log_records::dead_letters,
        log_records::dead_letters_corpus,
    ),
    Decoder::new("user_tokens", tokens::user_tokens, tokens::corpus),
    Decoder::new("token_keys", tokens::token_keys, tokens::keys_corpus),
    Decoder::new(
        "history_page_tokens",
        cursors::history_pages,
        cursors::history_pages_corpus,
    ),
    Decoder::new("inbox_tokens", cursors::inboxes, cursors::inboxes_corpus),
    Decoder::new(
        "list_page_tokens",
        cursors::list_pages,
        cursors::list_pages_corpus,
    ),
    Decoder::new(
        "configuration_files",
        configuration::files,
        configuration::files_corpus,
    ),
    Decoder::new(
        "configuration_variables",
        configuration::variables,
        configuration::variables_corpus,
    ),
    Decoder::new(
        "http_requests",
        http_requests::requests,
        http_requests::corpus,
    )
    .of_json(),
    Decoder::new("api_keys", api_keys::secrets, api_keys::corpus),
    Decoder::new("identifiers", identifiers::identifiers, identifiers::corpus),
    Decoder::new("certificates", certificates::pairs, certificates::corpus),
    Decoder::new(
        "authorities",
        certificates::authorities,
        certificates::authorities_corpus,
    ),
    Decoder::new("websocket", websocket::connections, websocket::corpus),
    Decoder::new("store_rows", rows::store, rows::store_corpus),
    Decoder::new("change_rows", rows::changes, rows::changes_corpus),
    Decoder::new("bus_cursors", rows::bus_cursors, rows::bus_cursors_corpus),
    Decoder::new("call_contexts", calls::contexts, calls::contexts_corpus),
    Decoder::new(
        "submit_items",
        calls::submit_items,
        calls::submit_items_corpus,
    ),
    Decoder::new("asked_hosts", calls::hosts, calls::hosts_corpus),
];
