//! How many events a second an owner decides, encodes, applies and answers on one core, with a log and a store that cost nothing:
//! `cargo bench -p flare-message-orchestrator --bench decide`.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark tells what it measured"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use flare_message_orchestrator::owner::{
    Action, Actor, ActorKind, AppendReport, Command, Input, MemoryLimits, Origin, Output, Owner,
    OwnerConfig, ReadAnswer,
};
use flare_storage_model::{ConversationKey, direct_conversation_id, fingerprint};
use ulid::Ulid;

/// The one that `flare` has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PAIRS: usize = 1_000;
const BATCH: usize = 1_000;
const BATCHES: usize = 600;
const CONTENT_BYTES: usize = 256;
const START_MS: i64 = 1_700_000_000_000;

fn config() -> OwnerConfig {
    OwnerConfig {
        name: "bench".to_owned(),
        memory: MemoryLimits {
            heads: 200_000,
            ids: 1_000_000,
            messages: 200_000,
            part_entries: 50_000,
        },
        memberships: 200_000,
        max_pending_commands: 20_000,
        max_pending_bytes: 64 << 20,
        max_broken_lanes: 100_000,
        max_store_lag_events: usize::MAX,
        max_store_lag: Duration::MAX,
        recall_window: Duration::from_secs(120),
        max_authorise_attempts: 9,
        hooks: false,
        log_is_shared: false,
        waits_for_turns: false,
    }
}

fn command(number: usize, now_ms: i64, body: &Bytes) -> Command {
    let pair = number % PAIRS;
    let both: [Arc<str>; 2] = [
        format!("a-user-{pair}").into(),
        format!("b-user-{pair}").into(),
    ];
    let place = direct_conversation_id("default", &both[0], &both[1]);
    let minted = Ulid::from_parts(u64::try_from(now_ms).unwrap_or_default(), number as u128);
    Command {
        origin: Origin {
            stream: 1,
            correlation: number as u64,
            lane: pair as u64 + 1,
            lane_generation: 0,
        },
        fingerprint: fingerprint(&place, body),
        conversation: ConversationKey::new("default", place),
        actor: Actor {
            kind: ActorKind::User,
            user: Arc::clone(&both[number % 2]),
            device: "phone".into(),
        },
        participants: Some(both),
        client_id: minted.to_string().into(),
        trace_id: Bytes::from_static(&[7; 16]),
        action: Action::Send {
            content: body.slice(3..),
            mentions: Vec::new(),
            mention_all: false,
        },
        body: body.clone(),
        refused: None,
    }
}

/// Does what the owner says; the time that its steps took, and how many commands it placed.
fn drive(owner: &mut Owner, now_ms: i64, input: Input, end: &mut u64) -> (Duration, usize) {
    let (mut took, mut placed) = (Duration::ZERO, 0);
    let mut inputs = vec![input];
    while let Some(input) = inputs.pop() {
        let began = Instant::now();
        let outputs = owner.step(now_ms, input);
        took += began.elapsed();
        for output in outputs {
            match output {
                Output::ReadCursor { fold } => inputs.push(Input::CursorRead {
                    fold,
                    cursor: Default::default(),
                }),
                Output::ReadLog { fold, from } if from == *end => {
                    inputs.push(Input::LogRead {
                        fold,
                        records: Vec::new(),
                        at_end: true,
                    });
                }
                Output::Append {
                    append,
                    record,
                    events,
                } => {
                    *end += 1;
                    inputs.push(Input::Appended {
                        append,
                        report: AppendReport::At(*end - 1),
                    });
                    if events == 0 {
                        // The owner reads its marker next.
                        let Some(Output::ReadLog { fold, .. }) =
                            owner.step(now_ms, inputs.pop().expect("the report")).pop()
                        else {
                            panic!("the marker is not read");
                        };
                        inputs.push(Input::LogRead {
                            fold,
                            records: vec![(*end - 1, record)],
                            at_end: true,
                        });
                    }
                }
                Output::Read { read, request } => {
                    let answer = ReadAnswer {
                        as_of: *end,
                        heads: vec![None; request.heads.len()],
                        receipts: vec![None; request.ids.len()],
                        targets: Vec::new(),
                    };
                    inputs.push(Input::ReadAnswered {
                        read,
                        answer: Some(answer),
                    });
                }
                Output::Reply { result, .. } => placed += usize::from(result.is_ok()),
                _ => {}
            }
        }
    }
    (took, placed)
}

fn main() {
    let mut owner = Owner::new(config(), 1);
    let mut end = 0;
    let mut now_ms = START_MS;
    drive(&mut owner, now_ms, Input::Assigned, &mut end);
    let body = Bytes::from(vec![b'x'; CONTENT_BYTES + 6]);
    let (mut took, mut placed, mut worst) = (Duration::ZERO, 0, Duration::ZERO);
    for batch in 0..BATCHES {
        now_ms += 7;
        let commands = (0..BATCH)
            .map(|it| command(batch * BATCH + it, now_ms, &body))
            .collect();
        let (batch_took, batch_placed) =
            drive(&mut owner, now_ms, Input::Commands(commands), &mut end);
        took += batch_took;
        placed += batch_placed;
        worst = worst.max(batch_took);
        let cursor = owner.log_state();
        drive(&mut owner, now_ms, Input::CursorMoved(cursor), &mut end);
    }
    assert_eq!(placed, BATCH * BATCHES, "every command is placed");
    let per_s = placed as f64 / took.as_secs_f64();
    let per_event = took.as_nanos() / placed as u128;
    println!(
        "{placed} events of {CONTENT_BYTES} bytes in groups of {BATCH}: {per_s:.0} events/s, {per_event} ns each, worst group {worst:?}"
    );
}
