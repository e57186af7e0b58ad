//! The client against a scripted server, over sockets.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fake_server;
mod following;
mod sending;
mod tokens;

use flare_core_sdk::{ConversationEvent, Event, Events, Target};
use tokio::time::timeout;

use self::fake_server::SOON;

fn group() -> Target {
    Target::conversation("g")
}

async fn next(events: &mut Events) -> Option<Event> {
    timeout(SOON, events.next()).await.unwrap()
}

/// The next event of a conversation.
async fn next_told(events: &mut Events) -> ConversationEvent {
    loop {
        if let Event::Conversation(event) = next(events).await.unwrap() {
            return *event;
        }
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.unwrap()
}
