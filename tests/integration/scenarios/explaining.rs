//! An administrator asks where messages went.

use anyhow::{Context, ensure};
use flare_checker::Counts;
use flare_core_sdk::Sent;
use flare_proto::{
    gateway::{ExplainMessageRequest, ExplainMessageResponse},
    message::Event,
    storage::LogPresence,
};
use prost::Message;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    arguments::Arguments,
    authority::Authority,
    deployment::{Kind, Part},
    judge::Minimums,
    person::SOON,
    process,
    scene::Scene,
};

/// By gRPC, by HTTP and by the command: a message's offset in the log, whether it is stored, who has received and read it; the same after a
/// restart, and without its content after its recall.
pub(crate) async fn where_a_message_went(mut scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let key = scene.server.api_key(&["admin"]).await?;
    let alice = scene.arrives("alice", "phone").await?;
    let bob = scene.arrives("bob", "laptop").await?;
    let first = alice.tell("bob", "where is this one?").await?;
    let second = alice.tell("bob", "and that one?").await?;
    bob.reads_to(&first.conversation_id, second.seq).await?;
    bob.client()
        .mark_read(&first.conversation_id, first.seq)
        .await?;

    let way = until_arrived(&scene, &first, "bob", first.seq).await?;
    let offset = way.log_offset.context("it is in the log")?;
    ensure!(way.log() == LogPresence::InLog && way.stored && !way.recalled);
    let later = explain(&scene, &second).await?;
    ensure!(later.log_offset.is_some_and(|it| it > offset));
    let by_http = http(&scene, &key, &first).await?;
    let by_command = command(&scene, &key, &first, &["--json"]).await?;
    let by_command: Value = serde_json::from_str(&by_command)?;
    for shown in [&by_http, &by_command] {
        ensure!(shown["logOffset"] == json!(offset.to_string()), "{shown}");
        ensure!(shown["log"] == json!("IN_LOG"), "{shown}");
        ensure!(shown["stored"] == json!(true), "{shown}");
        ensure!(shown["event"]["body"].is_object(), "{shown}");
    }
    let lines = command(&scene, &key, &first, &[]).await?;
    for line in [
        format!("trace         {}", first.trace_id),
        format!("log           offset {offset}"),
        "stored        yes".to_owned(),
        "bob           read".to_owned(),
        "  laptop      delivered".to_owned(),
    ] {
        ensure!(lines.lines().any(|it| it == line), "{line:?} in {lines}");
    }

    // While the log has it, it is where it was.
    scene.crash(Part::Core).await?;
    alice.in_step().await?;
    ensure!(explain(&scene, &first).await?.log_offset == Some(offset));

    let recall = alice.recall(&first.conversation_id, first.seq).await?;
    bob.reads_to(&first.conversation_id, recall.seq).await?;
    let way = explain(&scene, &first).await?;
    ensure!(way.recalled && way.log_offset == Some(offset));
    ensure!(
        Event::decode(way.event)?.body.is_empty(),
        "recalled content is shown to nobody"
    );
    let lines = command(&scene, &key, &first, &[]).await?;
    ensure!(lines.contains("stored        yes, recalled"), "{lines}");

    // `flare up` has a group of alice and bob, which each of them reads when he comes.
    let demo_group = match scene.server.kind() {
        Kind::Embedded => 2,
        Kind::Split | Kind::Cluster => 0,
    };
    let minimums = Minimums {
        acks: 3,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: 3,
        syncs: demo_group,
        restarts: 1,
        beside: Counts {
            recalls: 1,
            ..Counts::default()
        },
    };
    scene.ends(vec![alice, bob], minimums).await
}

async fn explain(scene: &Scene, sent: &Sent) -> anyhow::Result<ExplainMessageResponse> {
    let request = scene.backend().request(ExplainMessageRequest {
        context: None,
        message_id: sent.message_id.clone(),
    })?;
    let answer = scene.backend().client().explain_message(request).await?;
    Ok(answer.into_inner())
}

/// Positions are gathered for a second before they are stored.
async fn until_arrived(
    scene: &Scene,
    sent: &Sent,
    user: &str,
    seq: u64,
) -> anyhow::Result<ExplainMessageResponse> {
    let deadline = Instant::now() + SOON;
    loop {
        let way = explain(scene, sent).await?;
        let has_arrived = way.positions.iter().any(|it| {
            it.user_id == user && it.read_seq >= seq && it.delivered.iter().any(|it| it.seq >= seq)
        });
        if has_arrived {
            return Ok(way);
        }
        ensure!(Instant::now() < deadline, "{user} never arrives: {way:?}");
        tokio::task::yield_now().await;
    }
}

async fn http(scene: &Scene, key: &str, sent: &Sent) -> anyhow::Result<Value> {
    let api = scene.server.plain_api().await?;
    let url = format!("{api}/api/v1/admin/messages/{}", sent.message_id);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.get(url).header("x-api-key", key).send().await?;
    Ok(serde_json::from_str(&answer.text().await?)?)
}

async fn command(
    scene: &Scene,
    key: &str,
    sent: &Sent,
    further: &[&str],
) -> anyhow::Result<String> {
    let api = scene.server.api()?;
    let words = [
        "explain",
        sent.message_id.as_str(),
        "--api",
        &api,
        "--api-key",
        key,
    ];
    let authority = scene.server.authority().map(Authority::ca);
    let ca = authority.as_ref().and_then(|it| it.to_str());
    let believed: Vec<&str> = ca.into_iter().flat_map(|it| ["--ca", it]).collect();
    process::run(&[&words[..], &believed, further].concat()).await
}
