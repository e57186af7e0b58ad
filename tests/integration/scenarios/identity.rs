//! Who is sent away.

use std::time::Duration;

use anyhow::{bail, ensure};
use flare_checker::Counts;
use flare_core_sdk::{DisconnectReason, TokenSource};
use flare_proto::{client::CloseReason, gateway::AdminDeviceRequest};
use flare_server_core::clock::{Clock, SystemClock};
use tokio::time::Instant;

use super::told::until_told;
use crate::{
    arguments::Arguments,
    deployment::{Kind, Part},
    judge::Minimums,
    person::{Person, SOON},
    scene::Scene,
};

/// "At once", on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

fn device_of(user: &str, device: &str) -> AdminDeviceRequest {
    AdminDeviceRequest {
        user_id: user.to_owned(),
        device_id: device.to_owned(),
        reason: "the test says so".to_owned(),
        ..AdminDeviceRequest::default()
    }
}

/// Waits until a device's client has ended, and says why.
async fn is_sent_away(person: &Person) -> anyhow::Result<CloseReason> {
    let reason = person
        .sees_within(AT_ONCE, "its end", |view| {
            view.has_ended.then(|| view.ends.back().cloned())?
        })
        .await?;
    match reason {
        DisconnectReason::Closed { reason, .. } => Ok(reason),
        other => bail!("it ended because {other}"),
    }
}

/// The socket closes at once; the other devices stay, and the token stays good.
pub(crate) async fn kick(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let phone = scene.arrives("ben", "phone").await?;
    let laptop = scene.arrives("ben", "laptop").await?;
    let chat = ann.tell("ben", "before").await?.conversation_id;
    phone.hears(&chat, "before").await?;

    let request = scene.backend().request(device_of("ben", "phone"))?;
    let closed = scene
        .backend()
        .client()
        .kick(request)
        .await?
        .into_inner()
        .closed_connections;
    ensure!(closed == 1, "{closed} connections were closed");
    let reason = is_sent_away(&phone).await?;
    ensure!(reason == CloseReason::Kicked, "closed with {reason:?}");
    ann.tell("ben", "meanwhile").await?;
    laptop.hears(&chat, "meanwhile").await?;
    let phone = phone.leave().await?.back();
    phone.hears(&chat, "meanwhile").await?;

    let minimums = Minimums {
        acks: 2,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: 4,
        syncs: 1,
        restarts: 0,
        beside: Counts {
            clients: 3,
            kicks: 1,
            connections: 4,
            disconnections: 1,
            ends: 3,
            ..Counts::default()
        },
    };
    scene.ends(vec![ann, phone, laptop], minimums).await
}

/// All of a user's tokens die: sockets close at once, and the tokens stay dead after a crash. New ones are good.
pub(crate) async fn revoke(mut scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let witness = scene.arrives("ann", "laptop").await?;
    let phone = scene.arrives("ben", "phone").await?;
    let laptop = scene.arrives("ben", "laptop").await?;
    let chat = ann.tell("ben", "before").await?.conversation_id;
    for device in [&witness, &phone, &laptop] {
        device.hears(&chat, "before").await?;
    }
    let request = scene.backend().request(device_of("ben", ""))?;
    let answer = scene.backend().client().revoke(request).await?.into_inner();
    ensure!(answer.closed_connections == 2, "{answer:?}");
    for device in [&phone, &laptop] {
        let reason = is_sent_away(device).await?;
        ensure!(
            matches!(reason, CloseReason::Unauthenticated | CloseReason::Kicked),
            "closed with {reason:?}"
        );
    }
    let phone = is_refused(phone.leave().await?.back()).await?;
    scene.crash(Part::Core).await?;
    ann.in_step().await?;
    let phone = is_refused(phone.leave().await?.back()).await?;

    // Whoever is back before it is handed over is told, and need not ask.
    let meanwhile = until_told(&ann, "ben", &witness).await?;
    let laptop = laptop.leave().await?;
    let token = good_token(&scene, "ben", answer.not_before_s).await?;
    let phone = phone
        .leave()
        .await?
        .back_with(|it| it.token = TokenSource::Fixed(token.clone()));
    let laptop = laptop.back_with(|it| it.token = TokenSource::Fixed(token));
    for device in [&phone, &laptop] {
        device.reads_to(&chat, meanwhile.seq).await?;
    }
    // In one process, the crash breaks all connections.
    let broken = match scene.server.kind() {
        Kind::Embedded => 2,
        Kind::Split | Kind::Cluster => 0,
    };
    let minimums = Minimums {
        acks: 2,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: 6,
        syncs: 2,
        restarts: 1,
        beside: Counts {
            clients: 4,
            kicks: 2,
            connections: 6 + broken,
            ends: 4,
            ..Counts::default()
        },
    };
    scene
        .ends(vec![ann, witness, phone, laptop], minimums)
        .await
}

/// A device that comes with a dead token is told so, and ends.
async fn is_refused(person: Person) -> anyhow::Result<Person> {
    let reason = person
        .sees("its end", |view| {
            view.has_ended.then(|| view.ends.back().cloned())?
        })
        .await?;
    match &reason {
        DisconnectReason::Refused(refusal) if refusal.code.as_str_name() == "TOKEN_REVOKED" => {
            Ok(person)
        }
        other => bail!("a dead token got {other}"),
    }
}

/// A token that was made after this second.
async fn good_token(scene: &Scene, user: &str, not_before_s: i64) -> anyhow::Result<String> {
    let deadline = Instant::now() + SOON;
    loop {
        let now_s = SystemClock.now_ms() / 1_000;
        let token = scene.server.new_token(user, None).await?;
        // Made later than that, whatever the time it took.
        if now_s > not_before_s {
            return Ok(token);
        }
        ensure!(Instant::now() < deadline, "the clock stands still");
    }
}
