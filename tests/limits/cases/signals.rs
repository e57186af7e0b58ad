//! Signals: lost rather than waited for, within the server.

use anyhow::{bail, ensure};
use flare_core::codec::ServerFrame;
use futures::future::try_join_all;
use serde_json::json;

use crate::{
    answer::Answer,
    case::{Case, Series},
    ground::Ground,
    http::Proof,
    link::{Link, ping},
    until::until,
};

const DROPPED: Series = Series::new("flare_push_signals_dropped_total", "", "");
/// Sent at once.
const BURST: u32 = 100;
/// Groups that are read at once.
const GROUPS: usize = 8;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "Signals of a session that wait to be handed to push-server",
            |it| Box::pin(many_read_marks(it)),
        )
        .set(&["session.max_waiting_signals=1"])
        .seen("flare_session_signals_lost_total", "queue_full"),
        Case::new("Signals on their way in push-server", |it| {
            Box::pin(much_typing(it))
        })
        .set(&[
            "push_server.signal_queue=1",
            "access_gateway.signals_per_s=1000",
            "access_gateway.frames_per_s=1000000",
        ])
        .seen("flare_push_signals_dropped_total", ""),
    ]
}

/// Read marks of groups go out once a second: of several at once all are kept, and one waits to be told.
async fn many_read_marks(ground: &Ground) -> anyhow::Result<()> {
    let (token, key) = (ground.token("ann")?, ground.key().await?);
    let proof = Proof::Token(&token);
    let groups: Vec<String> = (0..GROUPS).map(|it| format!("group-{it}")).collect();
    for id in &groups {
        let group = json!({"clientId": id, "conversationId": id, "title": id});
        ground.post(proof, "/conversations", &group).await?.done()?;
        let notice =
            json!({"conversationId": id, "clientId": id, "content": {"notice": {"text": "hear"}}});
        let sent = ground.post(Proof::Key(&key), "/messages", &notice).await?;
        sent.done()?;
    }
    // The session has taken all in, when it answers this.
    ground.get(proof, "/inbox").await?.done()?;
    let marks = groups.iter().map(async |id| {
        let read = json!({"conversationId": id, "seq": "2"});
        ground.call(proof, "MarkRead", &read).await
    });
    for answer in try_join_all(marks).await? {
        ensure!(matches!(answer, Answer::Done(_)), "a position was not kept");
    }
    Ok(())
}

/// More at once than push-server passes on: what is too much is dropped, and nobody is refused or closed for it.
async fn much_typing(ground: &Ground) -> anyhow::Result<()> {
    let mut link = Link::of(ground, "alice").await?;
    let typing = json!({"signal": {"conversationId": "welcome", "typing": {"active": true}}});
    until("a signal is dropped", async || {
        for _ in 0..BURST {
            link.send(&typing).await?;
        }
        Ok((ground.metric(&DROPPED).await? > 0.0).then_some(()))
    })
    .await?;
    link.send(&ping(2)).await?;
    loop {
        match link.next().await? {
            ServerFrame::Pong(pong) if pong.id == 2 => return Ok(()),
            ServerFrame::Kicked(kicked) => bail!("{kicked:?}"),
            _ => {}
        }
    }
}
