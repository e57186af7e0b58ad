//! Telling where heads stand.

use std::{collections::HashMap, sync::Arc};

use flare_storage_model::ConversationKey;

use super::{LargeDirectory, UserKey};

/// Connections that are to be told to sync a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Which.
    pub key: Arc<ConversationKey>,
    /// Where its head stands; 0: that is not known here.
    pub head_seq: u64,
    /// Who is told so.
    pub connections: Vec<u64>,
    /// Whose users may be in it no more: they are told to sync their inboxes.
    pub in_doubt: Vec<u64>,
}

/// What is not told yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// When the last hint was given.
    last_ms: Option<u64>,
    /// When the next is, and the newest seq.
    due: Option<(u64, u64)>,
}

impl Pending {
    /// The newest seq that some have not been told.
    pub(super) fn head(&self) -> Option<u64> {
        self.due.map(|(_, head)| head)
    }
}

impl LargeDirectory {
    /// Whoever does not view the conversation is told of the event in time.
    pub(super) fn owe_hint(&mut self, key: &ConversationKey, seq: u64, now_ms: u64) {
        let Some((key, conversation)) = self.conversations.get_key_value(key) else {
            return;
        };
        let key = Arc::clone(key);
        let pending = &conversation.pending;
        let (at, head) = pending.due.unwrap_or_else(|| {
            let next = pending.last_ms.map(|it| it + self.bounds.hint_ms);
            let at = next.unwrap_or_default().max(now_ms);
            self.due.entry(at).or_default().push(Arc::clone(&key));
            (at, 0)
        });
        if let Some(conversation) = self.conversations.get_mut(&key) {
            conversation.pending.due = Some((at, head.max(seq)));
        }
    }

    /// When the next hints are due.
    pub fn next_hint_ms(&self) -> Option<u64> {
        self.due.first_key_value().map(|(at, _)| *at)
    }

    /// The hints that are due.
    pub fn hints(&mut self, now_ms: u64) -> Vec<Hint> {
        let mut hints = Vec::new();
        while let Some(entry) = self.due.first_entry().filter(|it| *it.key() <= now_ms) {
            let (at, keys) = entry.remove_entry();
            for key in keys {
                let Some(conversation) = self.conversations.get_mut(&key) else {
                    continue;
                };
                // It may have ended and begun again meanwhile.
                let Some((_, head_seq)) = conversation.pending.due.filter(|it| it.0 == at) else {
                    continue;
                };
                conversation.pending.due = None;
                conversation.pending.last_ms = Some(now_ms);
                hints.push(self.hint_all(key, head_seq, false));
            }
        }
        hints.retain(|it| !it.connections.is_empty() || !it.in_doubt.is_empty());
        hints
    }

    /// A hint for all members here; those that view it are told only if that is asked for.
    pub(super) fn hint_all(
        &self,
        key: Arc<ConversationKey>,
        head_seq: u64,
        viewers_too: bool,
    ) -> Hint {
        let mut hint = Hint {
            key,
            head_seq,
            connections: Vec::new(),
            in_doubt: Vec::new(),
        };
        let Some(conversation) = self.conversations.get(&hint.key) else {
            return hint;
        };
        for (user, member) in &conversation.members {
            let its = self.users.get(user).map(|it| &it.connections);
            let let_in = its.into_iter().flatten().filter(|(_, begun)| **begun);
            let ids = let_in.map(|(id, _)| *id);
            if !member.is_certain() {
                hint.in_doubt.extend(ids);
            } else if viewers_too {
                hint.connections.extend(ids);
            } else {
                let viewers: &HashMap<u64, _> = &conversation.viewers;
                hint.connections
                    .extend(ids.filter(|it| !viewers.contains_key(it)));
            }
        }
        hint
    }

    /// A hint for a user who was let in before his place was known.
    pub(super) fn hint_at(&self, key: &ConversationKey, user: &UserKey) -> Option<Hint> {
        let (key, _) = self.conversations.get_key_value(key)?;
        let its = self.users.get(user)?.connections.iter();
        let connections: Vec<u64> = its
            .filter(|(_, begun)| **begun)
            .map(|(id, _)| *id)
            .collect();
        (!connections.is_empty()).then(|| Hint {
            key: Arc::clone(key),
            head_seq: 0,
            connections,
            in_doubt: Vec::new(),
        })
    }
}
