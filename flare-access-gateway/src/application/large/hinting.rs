//! Tells clients where heads stand.

use std::sync::Arc;

use flare_core::{
    codec::{Codec, Payload, ServerFrame, encode_server},
    outbound::Outbound,
};
use flare_proto::client::SyncHint;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::LargeConversations;
use crate::domain::large::Hint;

/// Connections that are told without a break.
const AT_ONCE: usize = 1_000;

impl LargeConversations {
    /// Gives hints when they are due, until `closed`.
    pub async fn run_hinting(&self, closed: CancellationToken) {
        closed.run_until_cancelled(self.hint_on()).await;
    }

    async fn hint_on(&self) {
        loop {
            let next_ms = self.directory().next_hint_ms();
            match next_ms {
                None => self.to_hint.notified().await,
                Some(next_ms) => {
                    tokio::select! {
                        () = sleep_until(self.connections.instant(next_ms)) => {}
                        () = self.to_hint.notified() => {}
                    }
                }
            }
            let hints = self.directory().hints(self.connections.now_ms());
            for hint in hints {
                for some in hint.connections.chunks(AT_ONCE) {
                    self.tell(&hint.key.conversation, hint.head_seq, some);
                    tokio::task::yield_now().await;
                }
                self.ask_to_sync(&hint.in_doubt);
            }
        }
    }

    /// Gives hints at once.
    pub(super) fn give(&self, hints: Vec<Hint>) {
        for hint in hints {
            self.tell(&hint.key.conversation, hint.head_seq, &hint.connections);
            self.ask_to_sync(&hint.in_doubt);
        }
    }

    /// Gives one connection a hint.
    pub(super) fn hint_one(&self, connection: u64, conversation: &str, head_seq: u64) {
        self.tell(&Arc::from(conversation), head_seq, &[connection]);
    }

    fn tell(&self, conversation: &Arc<str>, head_seq: u64, connections: &[u64]) {
        let frame = ServerFrame::SyncHint(SyncHint {
            conversation_ids: vec![conversation.to_string()],
            head_seqs: vec![head_seq],
        });
        let mut encoded: [Option<Payload>; Codec::ALL.len()] = Default::default();
        let now_ms = self.connections.now_ms();
        let mut told = 0;
        for connection in connections
            .iter()
            .filter_map(|id| self.connections.get(*id))
        {
            let [proto, json] = &mut encoded;
            let cell = match connection.codec {
                Codec::Proto => proto,
                Codec::Json => json,
            };
            let payload = match cell {
                Some(payload) => payload.clone(),
                None => match encode_server(connection.codec, &frame) {
                    Ok(payload) => cell.insert(payload).clone(),
                    Err(error) => {
                        tracing::error!(%error, "a hint was not encoded");
                        return;
                    }
                },
            };
            let hint = Outbound::Hint {
                conversation_id: Arc::clone(conversation),
                payload,
            };
            told += u64::from(connection.push(hint, now_ms));
        }
        metrics::counter!("flare_access_gateway_head_hints_total").increment(told);
    }

    /// Who may be a member no more is told nothing of the conversation.
    fn ask_to_sync(&self, connections: &[u64]) {
        let open = connections
            .iter()
            .filter_map(|id| self.connections.get(*id));
        self.connections.hint(&open.collect::<Vec<_>>());
    }
}
