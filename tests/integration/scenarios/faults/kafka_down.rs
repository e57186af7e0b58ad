//! Kafka is away.

use std::time::Duration;

use anyhow::{bail, ensure};
use flare_proto::storage::HistoryRequest;
use flare_server_core::error::is_retryable;
use tokio::time::{Instant, sleep_until};

use super::town::Town;
use crate::{
    arguments::Arguments,
    infra::{Infra, Server},
    person::{Person, SOON},
    scene::Scene,
};

/// Longer than a gateway waits for the fate of a command, `access_gateway.command_ms`.
const AWAY: Duration = Duration::from_secs(15);
/// With `--campaign`.
const LONG_AWAY: Duration = Duration::from_secs(60);
const SENDER: &str = "witness";
const READER: &str = "p";

/// All of Kafka is killed and comes back after a while: meanwhile sends are refused with a reason, to be sent again, and what was kept is read; afterwards all
/// goes on, and what was refused is kept once it is sent again.
pub(crate) async fn kafka_down(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let infra = Infra::find()?;
    let away = if arguments.campaign { LONG_AWAY } else { AWAY };
    let mut town = Town::settles(&mut scene).await?;
    let mut witness = scene.raw(SENDER, "phone").await?;
    witness.send(READER, "before", "all is well", false).await?;
    let known = witness.receipt().await?;
    let (conversation, seq) = (&known.conversation_id, known.seq);
    let tablet = scene.arrives(SENDER, "tablet").await?;
    tablet.reads_to(conversation, seq).await?;

    town.mark();
    infra.kill(Server::Kafka).await?;
    let begun = Instant::now();
    witness
        .send(READER, "during", "is anybody there?", false)
        .await?;
    let (code, after) = match witness.answer().await? {
        Ok(ack) => bail!("Kafka is away, and there is a receipt: {ack:?}"),
        Err(frame) => {
            let error = frame.error.unwrap_or_default();
            ensure!(is_retryable(error.code()), "refused for good: {error:?}");
            (error.code().as_str_name(), begun.elapsed())
        }
    };
    let acked = town.outage().acked;
    scene.backend().read(conversation, seq).await?;
    ensure!(
        looks_back(&tablet, conversation).await? == [seq],
        "a page of history shows something else"
    );
    // Nobody can tell it whether there is more until Kafka is back.
    let newcomer = Person::arrive(
        scene.device(READER, "new").await?,
        scene.recorder(READER, "new")?,
    );
    sleep_until(begun + away).await;
    ensure!(
        town.outage().acked == acked,
        "Kafka was away, and receipts came"
    );

    let back = Instant::now();
    infra.comes_back(Server::Kafka).await?;
    // He was silent for long.
    witness.reconnect().await?;
    witness
        .send_until_kept(READER, "during", "is anybody there?", true, SOON)
        .await?;
    town.goes_on().await?;
    let outage = town.outage();
    newcomer.in_step().await?;
    ensure!(outage.silence >= away, "nobody missed Kafka: {outage:?}");
    let bit = format!(
        "a send was refused with {code} after {:.1} s, and a backend and a device read what was there; all wrote {:.1} s after the start of Kafka",
        after.as_secs_f64(),
        back.elapsed().as_secs_f64()
    );
    let fault = format!("Kafka killed, away for {} s", away.as_secs());
    arguments.adds(&outage.line("kafka_down", &fault, &bit))?;
    for person in [tablet, newcomer] {
        town.joins(person);
    }
    town.ends(scene, 0).await
}

/// The seqs of the last page of a conversation.
async fn looks_back(person: &Person, conversation: &str) -> anyhow::Result<Vec<u64>> {
    let request = HistoryRequest {
        conversation_id: conversation.to_owned(),
        ..HistoryRequest::default()
    };
    let page = person.client().history(request).await?;
    let events = page.messages.iter().map(|it| &it.event);
    Ok(events.filter_map(|it| person.saw_in_history(it)).collect())
}
