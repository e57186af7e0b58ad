//! `flare verify`: a stopped server's log against its store, and clients' histories against both.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use flare_checker::{Checker, ClientEvent, read_histories};
use flare_history::Translator;
use flare_server_core::{
    log_file::{AsyncLogOptions, DiskLayer},
    message_log::{EmbeddedMessageLog, MessageLog},
};
use flare_storage_model::{
    Applied, ConversationKey, EmbeddedMessageStore, EmbeddedStoreOptions, LogRecord, LogState,
    MessageStore, apply, record,
};
use serde::Serialize;

use super::progress;
use crate::{cli, output::say};

const PARTITION: u32 = 0;
const READ_BYTES: usize = 4 << 20;
const PAGE: usize = 1_000;

#[derive(Debug, Serialize)]
struct Report {
    log_records: u64,
    log_events: u64,
    skipped_records: u64,
    /// Events that the log has and the store does not have yet: the next start applies them.
    events_above_store: u64,
    conversations: usize,
    histories: usize,
    kept: bool,
    verdict: String,
}

/// Checks, and fails if a promise was broken.
pub async fn run(args: &cli::Verify) -> anyhow::Result<()> {
    let folder = args
        .data
        .folder
        .canonicalize()
        .with_context(|| format!("data folder {}", args.data.folder.display()))?;
    ensure!(
        folder.join("log").is_dir(),
        "{} holds no log",
        folder.display()
    );
    let opening = progress::uncounted("opening the log and the store")?;
    let (log, store) = tokio::task::spawn_blocking(move || open(folder)).await??;
    opening.finish_and_clear();
    let walked = walk(&log, &store).await?;

    let mut conversations = walked.conversations;
    let mut checker = Checker::new();
    checker.declare_store_known();
    let reading = progress::uncounted("reading histories")?;
    for record in read_histories(&args.history) {
        let record = record?;
        if let Some(conversation) = conversation_of(&record.event) {
            conversations.insert(ConversationKey::new(
                record.client.tenant.as_str(),
                conversation,
            ));
        }
        checker.add(&record);
    }
    reading.finish_and_clear();
    let judging = progress::counted("conversations", conversations.len() as u64)?;
    let mut translator = Translator::default();
    for key in &conversations {
        checker.add_server_floor(&key.tenant, &key.conversation, store.floor(key).await?);
        let above = walked.above_store.get(key).cloned().unwrap_or_default();
        for event in stored(&store, key).await?.into_iter().chain(above) {
            checker.add_server_event(&translator.event(event)?);
        }
        judging.inc(1);
    }
    let verdict = checker.verdict();
    judging.finish_and_clear();
    let report = Report {
        log_records: walked.records,
        log_events: walked.events,
        skipped_records: walked.skipped,
        events_above_store: walked.above_store.values().map(|it| it.len() as u64).sum(),
        conversations: conversations.len(),
        histories: args.history.len(),
        kept: verdict.is_kept(),
        verdict: verdict.to_string(),
    };
    log.close();
    if args.json {
        say!("{}", serde_json::to_string(&report)?);
    } else {
        say!(
            "log: {} records, {} events, {} records without effect; {} events wait for the store",
            report.log_records,
            report.log_events,
            report.skipped_records,
            report.events_above_store
        );
        say!(
            "{} conversations, {} histories",
            report.conversations,
            report.histories
        );
        say!("{}", report.verdict);
    }
    ensure!(report.kept, "a promise was broken");
    Ok(())
}

fn open(folder: PathBuf) -> anyhow::Result<(EmbeddedMessageLog, EmbeddedMessageStore)> {
    let log = EmbeddedMessageLog::open(
        Arc::new(DiskLayer),
        &folder.join("log"),
        AsyncLogOptions::default(),
    )?;
    let store = EmbeddedMessageStore::open(&folder.join("store"), EmbeddedStoreOptions::default())?;
    Ok((log, store))
}

/// What the log says, event by event the same as the store where both have it.
#[derive(Default)]
struct Walked {
    records: u64,
    events: u64,
    skipped: u64,
    conversations: BTreeSet<ConversationKey>,
    above_store: BTreeMap<ConversationKey, Vec<Bytes>>,
}

async fn walk(log: &dyn MessageLog, store: &dyn MessageStore) -> anyhow::Result<Walked> {
    let mut walked = Walked::default();
    let cursor = store.cursor(PARTITION).await?;
    let end = log.durable_end(PARTITION).await?;
    ensure!(
        end >= cursor.next_offset,
        "the log ends at offset {end}, the store's cursor is {}",
        cursor.next_offset
    );
    let mut next = log.floor(PARTITION).await?;
    let walking = progress::counted("records of the log", end - next)?;
    let mut state: Option<LogState> = None;
    while next < end {
        for (offset, bytes) in log.read(PARTITION, next, READ_BYTES).await?.records {
            next = offset + 1;
            walked.records += 1;
            walking.inc(1);
            let decoded =
                record::decode(bytes).with_context(|| format!("record at offset {offset}"))?;
            let state = state.get_or_insert_with(|| beginning_with(offset, &decoded));
            match apply(state, offset, &decoded) {
                Applied::Takeover => {}
                Applied::Skipped(_) => walked.skipped += 1,
                Applied::Group(events) => {
                    for event in events {
                        walked.events += 1;
                        walked.conversations.insert(event.key().clone());
                        if offset >= cursor.next_offset {
                            walked
                                .above_store
                                .entry(event.key().clone())
                                .or_default()
                                .push(event.event().clone());
                            continue;
                        }
                        let kept = store.event(event.key(), event.seq()).await?;
                        if kept.as_ref() != Some(event.event())
                            && event.seq() >= store.floor(event.key()).await?
                        {
                            bail!(
                                "{} seq {}: the log has {}, the store {}",
                                event.key(),
                                event.seq(),
                                event.message_id(),
                                if kept.is_some() {
                                    "another event"
                                } else {
                                    "nothing"
                                }
                            );
                        }
                    }
                }
            }
        }
    }
    walking.finish_and_clear();
    Ok(walked)
}

/// A log that was trimmed begins in the middle of an epoch: its first group is valid.
fn beginning_with(offset: u64, first: &LogRecord) -> LogState {
    let mut state = LogState {
        next_offset: offset,
        ..LogState::default()
    };
    if let LogRecord::Group { epoch, n, .. } = first {
        state.epoch = *epoch;
        state.n = *n;
    }
    state
}

async fn stored(store: &dyn MessageStore, key: &ConversationKey) -> anyhow::Result<Vec<Bytes>> {
    let mut events = Vec::new();
    let mut after = store.floor(key).await?.saturating_sub(1);
    loop {
        let page = store.range(key, after, PAGE, READ_BYTES).await?;
        if page.is_empty() {
            return Ok(events);
        }
        after += page.len() as u64;
        events.extend(page);
    }
}

fn conversation_of(event: &ClientEvent) -> Option<&str> {
    match event {
        ClientEvent::Acked(acked) => Some(&acked.conversation),
        ClientEvent::Delivered(delivered) => Some(&delivered.conversation),
        ClientEvent::End { conversation, .. } => Some(conversation),
        _ => None,
    }
}
