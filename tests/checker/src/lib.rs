#![doc = include_str!("../README.md")]

mod checker;
mod history_file;
mod interner;
mod record;
mod seq_ranges;
mod verdict;
mod violation;

pub use checker::Checker;
pub use history_file::{Durability, HistoryError, HistoryReader, HistoryWriter, read_histories};
pub use record::{
    Acked, Client, ClientEvent, Delivered, Intent, Kind, MemberChange, Record, Refused,
    ServerEvent, SyncAnswer, Target, Via, body_hash,
};
pub use verdict::{Counts, Rejected, Shortfall, Verdict};
pub use violation::{Promise, Violation, ViolationKind};
