//! Commands as frames.

use flare_core::{check, codec::ClientFrame};
use flare_proto::{client, common::ErrorCode};

use super::Core;
use crate::{
    draft::Target,
    error::{Refusal, SendError},
    observer::{Action, Intent},
    outbox::Command,
    requests::Asked,
};

impl Core {
    /// A command leaves, for the first time or once more.
    pub(super) fn send(&mut self, key: u64, now_ms: u64) {
        let id = self.requests.next_id();
        let minted = self.clock.mint(now_ms);
        let Some(entry) = self.outbox.entry(key) else {
            return;
        };
        let (Some(minted), Some(online)) = (minted, &self.online) else {
            return;
        };
        let client_id = entry.command.client_id.get_or_insert(minted).clone();
        let mut frame = command_frame(id, &entry.command, client_id.clone());
        if !entry.was_sent
            && let Err(refusal) = check::client_frame(&frame, &online.limits)
        {
            self.refuse_unsent(key, client_id, refusal.into());
            return;
        }
        if entry.was_sent {
            self.observer.resent(&client_id);
        } else {
            self.observer.intent(&Intent {
                client_id: &client_id,
                target: &entry.command.target,
                action: &entry.command.action,
            });
        }
        if let Some(given_up) = self.outbox.leave(key) {
            match &mut frame {
                ClientFrame::Send(it) => it.abandons = given_up,
                ClientFrame::Operate(it) => it.abandons = given_up,
                _ => {}
            }
        }
        match self.put(&frame) {
            Ok(()) => self.ask(id, Asked::Command(key), now_ms),
            Err(reason) => {
                let refusal = Refusal {
                    code: ErrorCode::InvalidArgument,
                    message: reason,
                    field: String::new(),
                    retry_after: None,
                    server_time_ms: None,
                };
                self.refuse_unsent(key, client_id, refusal);
            }
        }
    }

    fn refuse_unsent(&mut self, key: u64, client_id: String, refusal: Refusal) {
        if let Some(mut entry) = self.outbox.remove(key) {
            entry.tell(Err(SendError::Refused { client_id, refusal }));
        }
    }
}

fn command_frame(id: u32, command: &Command, client_id: String) -> ClientFrame {
    let (conversation_id, user_id) = match &command.target {
        Target::Conversation(conversation) => (conversation.clone(), String::new()),
        Target::User(user) => (String::new(), user.clone()),
    };
    let trace_id = command.trace_id.clone();
    match &command.action {
        Action::Send(content) => ClientFrame::Send(client::Send {
            id,
            conversation_id,
            user_id,
            client_id,
            content: content.clone(),
            abandons: String::new(),
            trace_id,
        }),
        Action::Recall(seq) => ClientFrame::Operate(client::Operate {
            id,
            conversation_id,
            client_id,
            operation: Some(client::operate::Operation::Recall(client::Recall {
                seq: *seq,
            })),
            abandons: String::new(),
            trace_id,
        }),
    }
}
