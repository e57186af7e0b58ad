//! A disk that fills.

use anyhow::{Context, ensure};
use flare_checker::Counts;
use flare_core_sdk::Target;
use flare_proto::{
    client::{ErrorFrame, SendAck},
    common::ErrorCode,
    gateway::SendMessageRequest,
    storage::{HistoryRequest, history_request::Position},
};
use serde::Serialize;
use tokio::time::Instant;
use tonic::Code;

use super::{load::Load, told::until_told};
use crate::{
    arguments::Arguments,
    deployment::Part,
    judge::Minimums,
    person::{Person, SOON},
    raw::{Raw, text},
    scene::{Needs, Scene, SmallDisk},
};

const MIB: u64 = 1 << 20;
/// `log.min_free_bytes`.
const LEAST: u64 = 64 * MIB;
/// What may be written before that is all that is left: some segments, and what the store makes of them.
const TO_WRITE: u64 = 24 * MIB;
/// Whatever is written before, no reader is too slow for it.
const PATIENT: &str = "access_gateway.outbound_bytes=67108864";
pub(super) const SMALL_DISK: &Needs = &Needs {
    settings: &[
        "log.segment_bytes=4194304",
        "log.min_free_bytes=67108864",
        PATIENT,
    ],
    disk: Some(SmallDisk {
        below: "",
        bytes: 320 * MIB,
    }),
    ..Needs::NONE
};
pub(super) const NO_ROOM_FOR_THE_LOG: &Needs = &without_a_look("log");
pub(super) const NO_ROOM_FOR_THE_STORE: &Needs = &without_a_look("store");
/// Nobody looks how much room there is on a disk that only one of those who write has.
const fn without_a_look(below: &'static str) -> Needs {
    Needs {
        settings: &["log.segment_bytes=4194304", "log.min_free_bytes=0", PATIENT],
        disk: Some(SmallDisk {
            below,
            bytes: 64 * MIB,
        }),
        ..Needs::NONE
    }
}
/// Receipts of each writer before and after.
const BETWEEN: u64 = 10;
/// What a writer has on its way fits into what may wait for a reader.
const LARGE: usize = 20_000;
const REFUSALS: [&str; 2] = ["flare_orchestrator_refusals_total", "RESOURCE_EXHAUSTED"];

/// What `--json` keeps.
#[derive(Debug, Serialize)]
struct Report {
    free_bytes_when_refused: u64,
    retry_after_ms: i64,
    /// From the moment at which there was room to the first receipt.
    recovered_after_s: f64,
    refusals: f64,
}

/// Below `log.min_free_bytes` sends are refused, and all else goes on; with room they are taken again, by the same process.
pub(crate) async fn room_runs_out(scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let ben = scene.arrives("ben", "phone").await?;
    let mut eve = Eve {
        device: scene.raw("eve", "phone").await?,
        sent: 0,
    };
    let first = ann.tell("ben", "there is room").await?;
    let chat = first.conversation_id;
    let mut load = Load::new();
    load.add(ann.client(), Target::user("ben"), &"a".repeat(LARGE));
    load.add(ben.client(), Target::user("ann"), &"b".repeat(LARGE));
    load.goes_on(BETWEEN).await?;
    let process = scene.server.id(Part::Core)?;
    scene.disk()?.leave(LEAST + TO_WRITE)?;

    let refusal = eve.sends_until_refused().await?;
    let free_bytes_when_refused = scene.disk()?.free()?;
    let retry_after_ms = is_for_want_of_room(&refusal)?;
    ensure!(
        free_bytes_when_refused < 2 * LEAST,
        "refused with {free_bytes_when_refused} bytes free"
    );
    let reader = all_else_goes_on(&scene, &ann, &chat).await?;
    let again = eve.sends_again().await?;
    is_for_want_of_room(&again.err().context("taken without room")?)?;
    let refusals = scene.server.metric_of(Part::Core, &REFUSALS).await?;
    ensure!(refusals >= 1.0, "{REFUSALS:?} is {refusals}");
    for person in [&ann, &ben] {
        let ends = person.look(|it| it.ends.clone());
        ensure!(ends.is_empty(), "{} was cut off: {ends:?}", person.user());
    }

    scene.disk()?.relieve()?;
    let relieved = Instant::now();
    eve.sends_until_taken().await?;
    let recovered_after_s = relieved.elapsed().as_secs_f64();
    load.goes_on(BETWEEN).await?;
    ensure!(
        scene.server.id(Part::Core)? == process,
        "another process has taken them"
    );

    let acked = load.ends().await?;

    let minimums = Minimums {
        acks: acked + u64::from(eve.sent),
        refusals: 2,
        retries: 1,
        duplicates: 0,
        deliveries: acked,
        syncs: 3,
        restarts: 0,
        beside: Counts {
            clients: 4,
            conversations: 2,
            ends: 3,
            ..Counts::default()
        },
    };
    scene.ends(vec![ann, ben, reader], minimums).await?;
    arguments.report(&Report {
        free_bytes_when_refused,
        retry_after_ms,
        recovered_after_s,
        refusals,
    })
}

/// An append to the log that fails all the same ends the process; what it acked is there when it comes back to a disk with room.
pub(crate) async fn log_finds_no_room(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    a_write_fails(scene, "the log can no longer be trusted").await
}

/// So does a write of the store, which learns from the log what it lacks.
pub(crate) async fn store_finds_no_room(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    a_write_fails(scene, "store has failed").await
}

async fn a_write_fails(mut scene: Scene, why: &str) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let ben = scene.arrives("ben", "phone").await?;
    let mut load = Load::new();
    load.add(ann.client(), Target::user("ben"), &"a".repeat(LARGE));
    load.add(ben.client(), Target::user("ann"), &"b".repeat(LARGE));
    load.goes_on(BETWEEN).await?;
    scene.disk()?.fill()?;
    scene.server.fails(Part::Core).await?;
    let logs = scene.logs()?;
    let fatal = logs
        .lines()
        .find(|it| it.contains("fatal: the process ends"));
    ensure!(
        fatal.is_some_and(|it| it.contains(why) && it.contains("No space left")),
        "it has not ended because {why}: {fatal:?}"
    );
    scene.disk()?.relieve()?;
    scene.comes_back(Part::Core).await?;
    load.goes_on(BETWEEN).await?;
    let acked = load.ends().await?;
    until_told(&ann, "ben", &ben).await?;
    until_told(&ben, "ann", &ann).await?;
    let minimums = Minimums {
        acks: acked,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: acked,
        // Who has missed nothing when he is back need not ask.
        syncs: 0,
        restarts: 1,
        beside: Counts {
            clients: 3,
            conversations: 1,
            ends: 2,
            ..Counts::default()
        },
    };
    scene.ends(vec![ann, ben], minimums).await
}

/// Who looks at every answer.
struct Eve {
    device: Raw,
    sent: u32,
}

impl Eve {
    async fn sends_until_refused(&mut self) -> anyhow::Result<ErrorFrame> {
        let deadline = Instant::now() + SOON;
        loop {
            self.sent += 1;
            if let Err(error) = self.puts(false).await? {
                return Ok(error);
            }
            ensure!(
                Instant::now() < deadline,
                "{} messages were taken, and there was no end of room",
                self.sent
            );
        }
    }

    /// The last one, once more.
    async fn sends_again(&mut self) -> anyhow::Result<Result<SendAck, ErrorFrame>> {
        self.puts(true).await
    }

    async fn sends_until_taken(&mut self) -> anyhow::Result<()> {
        let (id, said) = self.words();
        let sent = self.device.send_until_kept("ben", &id, &said, true, SOON);
        sent.await.map(drop)
    }

    async fn puts(&mut self, again: bool) -> anyhow::Result<Result<SendAck, ErrorFrame>> {
        let (id, said) = self.words();
        self.device.send("ben", &id, &said, again).await?;
        self.device.answer().await
    }

    /// The last message's client id, and what it says.
    fn words(&self) -> (String, String) {
        (
            format!("eve-{}", self.sent),
            format!("number {}", self.sent),
        )
    }
}

/// As the documents have it; when to try again.
fn is_for_want_of_room(refusal: &ErrorFrame) -> anyhow::Result<i64> {
    let error = refusal.error.as_ref().context("no error")?;
    ensure!(
        error.code() == ErrorCode::ResourceExhausted && error.retry_after_ms > 0,
        "refused with {error:?}"
    );
    Ok(error.retry_after_ms)
}

/// Who comes is let in and reads everything, pages are turned, positions are moved; a backend reads, too, and its messages are refused like anybody's. Who came.
async fn all_else_goes_on(scene: &Scene, ann: &Person, chat: &str) -> anyhow::Result<Person> {
    let tablet = scene.arrives("ben", "tablet").await?;
    let head = scene.backend().head(chat).await?;
    tablet.reads_to(chat, head).await?;
    let page = HistoryRequest {
        conversation_id: chat.to_owned(),
        position: Some(Position::BeforeSeq(head + 1)),
        page_size: Some(1),
        ..HistoryRequest::default()
    };
    let page = ann.client().history(page).await?;
    ensure!(
        page.messages.len() == 1,
        "a page of {} messages",
        page.messages.len()
    );
    tablet.client().mark_read(chat, head).await?;
    let request = SendMessageRequest {
        user_id: "ben".to_owned(),
        client_id: "backend-1".to_owned(),
        content: text("from a backend").into(),
        sender_id: "backend".to_owned(),
        ..SendMessageRequest::default()
    };
    let request = scene.backend().request(request)?;
    match scene.backend().client().send_message(request).await {
        Err(status) if status.code() == Code::ResourceExhausted => Ok(tablet),
        other => anyhow::bail!("a backend's message without room: {other:?}"),
    }
}
