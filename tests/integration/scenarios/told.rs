//! Who is told what was said, and need not ask.

use std::time::Duration;

use anyhow::{bail, ensure};
use flare_core_sdk::{Sent, Via};
use tokio::time::{Instant, interval};

use crate::person::{Person, SOON};

/// Between two words.
const EVERY: Duration = Duration::from_millis(50);

/// Says something to a user, and something else again, until a `witness` is told of it without having asked; the receipt of that. Then it was handed over to all who were there. Whoever stayed
/// connected through a restart is told of his own accord once his gateway has found out.
pub(super) async fn until_told(
    from: &Person,
    user: &str,
    witness: &Person,
) -> anyhow::Result<Sent> {
    let deadline = Instant::now() + SOON;
    let mut turns = interval(EVERY);
    for number in 0.. {
        turns.tick().await;
        let sent = from.tell(user, &format!("are you told? {number}")).await?;
        let chat = &sent.conversation_id;
        witness.reads_to(chat, sent.seq).await?;
        let via = witness.look(|it| {
            let events = it.events.get(chat)?;
            Some(events.get(&sent.seq)?.via)
        });
        if via == Some(Via::Deliver) {
            return Ok(sent);
        }
        ensure!(
            Instant::now() < deadline,
            "{} is not told: {via:?}",
            witness.user()
        );
    }
    bail!("there are only so many numbers")
}
