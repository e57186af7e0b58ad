//! `flare tail`.

use anyhow::bail;
use flare_core::json;
use flare_core_sdk::{Client, ConversationEvent, Event, FirstSight};

use super::{chat::screen, sign_in};
use crate::{
    cli,
    output::{self, say},
};

/// Prints what happens from now on.
pub async fn run(args: &cli::Tail) -> anyhow::Result<()> {
    let mut options = sign_in::options(&args.client)?;
    // Only to know where "from now on" begins.
    options.first_sight = FirstSight::Snapshot(1);
    let (client, mut events) = Client::connect(options);
    if let Some(id) = &args.conversation {
        client.view(id, true).await;
    }
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut is_ready = false;
    while left > 0 && !output::is_closed() {
        let Some(event) = events.next().await else {
            break;
        };
        match event {
            Event::Conversation(event) => {
                let id = &event.header.conversation_id;
                if args.conversation.as_ref().is_none_or(|it| it == id) {
                    say!("{}", line(&event, args.json)?);
                    left -= 1;
                }
            }
            Event::InboxSynced if !is_ready => {
                is_ready = true;
                let who = client.identity().map(|it| it.user_id).unwrap_or_default();
                eprintln!("following the conversations of {who}");
            }
            Event::Unreadable {
                conversation_id,
                refusal,
            } if args.conversation.as_ref() == Some(&conversation_id) => {
                bail!("{conversation_id}: {refusal}");
            }
            Event::Disconnected {
                reason,
                retry_in: None,
            } => bail!("{reason}"),
            Event::Disconnected {
                reason,
                retry_in: Some(pause),
            } => {
                eprintln!("{reason}; trying again in {:.1} s", pause.as_secs_f64());
            }
            _ => {}
        }
    }
    client.close().await;
    Ok(())
}

fn line(event: &ConversationEvent, as_json: bool) -> anyhow::Result<String> {
    if as_json {
        let bytes = json::message_to_json("flare.message.v1.Event", &event.raw)?;
        return Ok(String::from_utf8(bytes)?);
    }
    let header = &event.header;
    let what = screen::what_happened(event);
    let sender = screen::plain(&header.sender_id);
    Ok(format!(
        "{} {} #{} {sender}: {what}",
        screen::time_of_day(header.time_ms),
        header.conversation_id,
        header.seq
    ))
}
