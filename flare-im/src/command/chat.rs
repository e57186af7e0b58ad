//! `flare chat`: line by line, for people at a terminal.

use std::io::{BufRead as _, stdin};

use anyhow::bail;
use flare_core_sdk::{Client, Event, FirstSight, SendError, Sending, Sent, Target};
use flare_storage_model::direct_conversation_id;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::mpsc;

use self::screen::Screen;
use super::{send, sign_in};
use crate::cli;

pub(super) mod screen;

/// The messages that are shown at the beginning.
const SHOWN_AT_FIRST: u32 = 20;
/// Lines typed ahead.
const MAX_TYPED: usize = 64;
const HELP: &str = "/recall NUMBER takes back a message, /members lists who is here, /quit ends; two slashes begin a message with one";

/// Chats until the end of input, or `/quit`.
pub async fn run(args: &cli::Chat) -> anyhow::Result<()> {
    let mut options = sign_in::options(&args.client)?;
    options.first_sight = FirstSight::Snapshot(SHOWN_AT_FIRST);
    let (client, mut events) = Client::connect(options);
    let mut chat = Chat {
        target: send::target(&args.target)?,
        conversation_id: args.target.conversation.clone(),
        client,
        screen: Screen::of_terminal(),
        on_their_way: FuturesUnordered::new(),
        is_ready: false,
    };
    if let Some(id) = &chat.conversation_id {
        // Of a large one, what comes is shown as it comes.
        chat.client.view(id, true).await;
    }
    let mut lines = typed_lines();
    let mut is_open = true;
    loop {
        tokio::select! {
            line = lines.recv(), if is_open && chat.is_ready => match line {
                Some(line) => is_open = chat.typed(&line).await,
                None => is_open = false,
            },
            event = events.next() => match event {
                Some(event) => chat.happened(event)?,
                None => bail!("the client has ended"),
            },
            Some(sent) = chat.on_their_way.next() => chat.sent(sent),
        }
        if !is_open && chat.on_their_way.is_empty() {
            chat.client.close().await;
            return Ok(());
        }
    }
}

/// Read on a thread of its own: a read that waits for a key would keep the process from ending.
fn typed_lines() -> mpsc::Receiver<String> {
    let (typed, lines) = mpsc::channel(MAX_TYPED);
    std::thread::spawn(move || {
        for line in stdin().lock().lines() {
            let Ok(line) = line else { break };
            if typed.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}

struct Chat {
    target: Target,
    /// Of a direct one known when it is known who chats.
    conversation_id: Option<String>,
    client: Client,
    screen: Screen,
    on_their_way: FuturesUnordered<Sending>,
    /// It is known who chats, and what was there before.
    is_ready: bool,
}

impl Chat {
    /// Whether more is to be typed.
    async fn typed(&mut self, line: &str) -> bool {
        let line = line.trim_end();
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "" => {}
            "/quit" => return false,
            "/members" => self.members().await,
            "/recall" => match (rest.trim().parse::<u64>(), &self.conversation_id) {
                (Ok(seq), Some(id)) if seq > 0 => {
                    self.on_their_way.push(self.client.recall(id, seq))
                }
                _ => self.screen.note("which? /recall NUMBER"),
            },
            unknown if unknown.starts_with('/') && !unknown.starts_with("//") => {
                self.screen.note(HELP)
            }
            _ => {
                let text = line.strip_prefix('/').unwrap_or(line);
                self.on_their_way
                    .push(self.client.send_text(self.target.clone(), text));
            }
        }
        true
    }

    async fn members(&mut self) {
        let Some(id) = self.conversation_id.clone() else {
            return;
        };
        let mut page_token = String::new();
        loop {
            match self.client.members(&id, page_token).await {
                Ok(page) => {
                    for member in &page.members {
                        self.screen.member(member);
                    }
                    page_token = page.next_page_token;
                    if page_token.is_empty() {
                        return;
                    }
                }
                Err(error) => {
                    self.screen.note(&error.to_string());
                    return;
                }
            }
        }
    }

    fn happened(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Connected(me) => {
                if let Target::User(peer) = &self.target {
                    self.conversation_id =
                        Some(direct_conversation_id(&me.tenant_id, &me.user_id, peer));
                }
                self.screen.connected(
                    &me.user_id,
                    self.conversation_id.as_deref().unwrap_or_default(),
                );
            }
            Event::InboxSynced => self.is_ready = true,
            Event::Disconnected {
                reason,
                retry_in: None,
            } => bail!("{reason}"),
            Event::Disconnected {
                reason,
                retry_in: Some(pause),
            } => {
                self.screen.note(&format!(
                    "{reason}; trying again in {:.1} s",
                    pause.as_secs_f64()
                ));
            }
            Event::Snapshot {
                conversation_id,
                messages,
                ..
            } if self.is_here(&conversation_id) => {
                for message in messages {
                    self.screen.earlier(message);
                }
            }
            Event::Conversation(event) if self.is_here(&event.header.conversation_id) => {
                self.screen.event(&event)
            }
            Event::Unreadable {
                conversation_id,
                refusal,
            } if self.is_here(&conversation_id) => {
                bail!("{conversation_id} cannot be read: {refusal}");
            }
            _ => {}
        }
        Ok(())
    }

    fn is_here(&self, conversation_id: &str) -> bool {
        self.conversation_id.as_deref() == Some(conversation_id)
    }

    fn sent(&mut self, sent: Result<Sent, SendError>) {
        match sent {
            Ok(sent) => self.screen.kept(&sent),
            Err(error) => self.screen.note(&error.to_string()),
        }
    }
}
