//! Where a message's time goes: spans at a collector, and log lines of what failed or was slow.

mod gathered;
mod http;

use anyhow::ensure;
use flare_checker::Counts;
use flare_core_sdk::{Draft, Target};
use flare_proto::message::HistoryVisibility;

pub(crate) use self::http::SLOW;
use self::{gathered::Gathered, http::Api};
use crate::{
    arguments::Arguments,
    deployment::{Kind, Part},
    judge::Minimums,
    scene::Scene,
};

/// From the owner's taking a command in to the stream's last consumer.
const STAGES: [&str; 9] = [
    "orchestrator.command",
    "orchestrator.decide",
    "orchestrator.append",
    "storage_writer.commit",
    "push_server.audience",
    "push_server.presence",
    "push_server.hand_over",
    "access_gateway.deliver",
    "session.stream",
];
/// Those of an owner's questions and decisions: parts of its span.
const OF_THE_COMMAND: [&str; 4] = [
    "orchestrator.decide",
    "orchestrator.append",
    "orchestrator.read_store",
    "orchestrator.authorise",
];
const BY_FRAME: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const BY_HTTP: &str = "0af7651916cd43dd8448eb211c80319c";
const MAKING: &str = "9d2c8f6b1a3e4c7fb05d2e6a71c4f893";
const READING: &str = "5b8aa5a2d2c872e8321cf37308d69df2";

/// Every message's every stage has its span, under the trace id that its ack bears: the sender's own, if he gives one. None waits longer than the server lives.
pub(crate) async fn every_stage_of_a_message(
    mut scene: Scene,
    _: &Arguments,
) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let ben = scene.arrives("ben", "phone").await?;
    let group = ann
        .create_group("Traced", &["ben"], HistoryVisibility::All)
        .await?;
    let direct = ann.tell("ben", "to you").await?;
    let in_group = ann.post(&group, "to all").await?;
    let draft = Draft::text(Target::conversation(&group), "by a frame").with_trace_id(BY_FRAME);
    let by_frame = ann.client().send(draft).await?;
    ensure!(
        by_frame.trace_id == BY_FRAME,
        "acked under {:?}",
        by_frame.trace_id
    );
    let api = Api::new(&scene, "ann").await?;
    let answer = api.create("Made", MAKING).await?;
    ensure!(
        answer.trace_id == MAKING && answer.status == 200,
        "{answer:?}"
    );
    let answer = api.send(&group, "by http", BY_HTTP).await?;
    ensure!(
        answer.trace_id == BY_HTTP && answer.status == 200,
        "{answer:?}"
    );
    let answer = api.history(&group, READING).await?;
    ensure!(
        answer.trace_id == READING && answer.status == 200,
        "{answer:?}"
    );
    let last = ben.hears(&group, "by http").await?;
    // What a new device is told, flare-session has taken in.
    let tablet = scene.arrives("ben", "tablet").await?;
    tablet.reads_to(&group, last).await?;

    let collector = scene.take_collector()?;
    let minimums = Minimums {
        acks: 4,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: 12,
        syncs: 2,
        restarts: 0,
        beside: Counts {
            clients: 4,
            conversations: 3,
            ends: 7,
            server_events: 6,
            ..Counts::default()
        },
    };
    scene.is_judged(vec![ann, ben, tablet], minimums).await?;
    scene.server.stop_all().await?;
    let gathered = Gathered::all_of(collector);
    gathered.are_whole()?;
    let mut processes = scene.server.roles();
    // It is asked of everybody beforehand, by streams that stay, and of no message.
    processes.retain(|it| it != "flare-signaling-route");
    gathered.are_of(&processes)?;

    for sent in [&direct, &in_group, &by_frame] {
        let trace = gathered.trace(&sent.trace_id);
        trace.has("access_gateway.command")?;
        for stage in STAGES {
            trace.has(stage)?;
        }
        for stage in [
            "storage_writer.commit",
            "push_server.hand_over",
            "access_gateway.deliver",
            "session.stream",
        ] {
            trace.names_event(stage, &sent.conversation_id, sent.seq, &sent.message_id)?;
        }
        for part in OF_THE_COMMAND {
            trace.hangs_on(part, "orchestrator.command")?;
        }
    }
    gathered
        .trace(&direct.trace_id)
        .has("orchestrator.read_store")?;
    gathered
        .trace(&in_group.trace_id)
        .has("orchestrator.authorise")?;

    // A group that is made goes the way of a message.
    for trace in [BY_HTTP, MAKING] {
        let by_http = gathered.trace(trace);
        by_http.has("core_gateway.request")?;
        for stage in STAGES {
            by_http.has(stage)?;
        }
    }
    let reading = gathered.trace(READING);
    reading.serves(
        "flare.storage.v1.StorageReaderService/History",
        "core_gateway.request",
    )?;
    // storage-reader asks in turn how far ann may read.
    reading.serves("flare.session.v1.SessionService/Authorize", "rpc")?;
    gathered.calls_are_served("access_gateway.call")
}

/// Nothing is told of a message that is neither sampled nor slow; a request that is slow or fails has its span and log line under its trace id.
pub(crate) async fn only_what_failed_or_was_slow(
    mut scene: Scene,
    _: &Arguments,
) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let ben = scene.arrives("ben", "phone").await?;
    let chat = ann.tell("ben", "one").await?.conversation_id;
    for text in ["two", "three", "four"] {
        ann.post(&chat, text).await?;
    }
    ben.hears(&chat, "four").await?;
    let api = Api::new(&scene, "ann").await?;
    let answer = api.send_slowly(&chat, "five", BY_HTTP).await?;
    ensure!(answer.status == 200, "{answer:?}");
    ben.hears(&chat, "five").await?;
    let minimums = Minimums {
        acks: 5,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: 6,
        syncs: 0,
        restarts: 0,
        beside: Counts {
            clients: 3,
            conversations: 1,
            ends: 2,
            server_events: 5,
            ..Counts::default()
        },
    };
    scene.is_judged(vec![ann, ben], minimums).await?;
    let collector = scene.take_collector()?;
    let kind = scene.server.kind();
    if kind == Kind::Split {
        scene.server.stop(Part::Core).await?;
        let answer = api.history(&chat, READING).await?;
        ensure!(
            answer.trace_id == READING && answer.status == 503,
            "{answer:?}"
        );
    }
    scene.server.stop_all().await?;

    let gathered = Gathered::all_of(collector);
    gathered.all_failed_or_took(SLOW)?;
    gathered.trace(BY_HTTP).has("core_gateway.request")?;
    let logs = scene.logs()?;
    let says = |trace: &str, what: &str| {
        let mut lines = logs.lines().filter(|it| it.contains(trace));
        lines.any(|it| it.contains(what) && it.contains("core_gateway.request"))
    };
    ensure!(says(BY_HTTP, "slow"), "no line about the slow request");
    if kind == Kind::Split {
        gathered.trace(READING).has_failed("core_gateway.request")?;
        ensure!(says(READING, "failed"), "no line about the failed request");
    }
    Ok(())
}
