//! What of which conversations a reader may see.

use std::sync::Arc;

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, Head, MessageStore};

use super::ports::{Visibility, Visible, store_refusal};
use crate::domain::{recalled::Recalled, view::View};

/// Who reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A user of the tenant.
    User(String),
    /// The tenant's backend, or a service: reads all of the tenant.
    System,
}

/// A conversation as a reader may see it.
#[derive(Clone, Debug)]
pub struct Open {
    /// The conversation.
    pub key: ConversationKey,
    /// Its part that he sees.
    pub view: View,
    /// What was taken back of it.
    pub recalled: Recalled,
}

/// Decides who sees what.
#[derive(Clone)]
pub struct Access {
    /// Heads and floors.
    pub store: Arc<dyn MessageStore>,
    /// Groups' members.
    pub visibility: Arc<dyn Visibility>,
}

fn not_found(key: &ConversationKey) -> Refusal {
    Refusal::new(
        ErrorCode::ConversationNotFound,
        format!("no conversation {:?} that you are in", key.conversation),
    )
    .with_field("conversation_id")
}

/// Direct conversations are known by their id.
fn is_direct(key: &ConversationKey) -> bool {
    key.conversation.starts_with("d_")
}

impl Access {
    /// What the reader sees of each conversation, in their order. One read of heads, one question to flare-session.
    pub async fn open(
        &self,
        reader: &Reader,
        keys: Vec<ConversationKey>,
    ) -> Result<Vec<Result<Open, Refusal>>, Refusal> {
        let groups: Vec<ConversationKey> = match reader {
            Reader::User(_) => keys.iter().filter(|key| !is_direct(key)).cloned().collect(),
            Reader::System => Vec::new(),
        };
        let mut visible = match reader {
            Reader::User(user) if !groups.is_empty() => {
                self.visibility.visible(user, &groups).await?
            }
            _ => Vec::new(),
        }
        .into_iter();
        // After flare-session's answer: the heads are not older than it.
        let heads = self
            .store
            .heads(&keys)
            .await
            .map_err(|error| store_refusal(&error))?;
        let mut opened = Vec::with_capacity(keys.len());
        for (key, head) in keys.into_iter().zip(heads) {
            let visible = match reader {
                Reader::User(_) if !is_direct(&key) => visible.next().unwrap_or(Visible::Unknown),
                Reader::User(user) => direct(user, head.as_ref()),
                Reader::System => Visible::Between { from: 0, to: 0 },
            };
            let floor = self
                .store
                .floor(&key)
                .await
                .map_err(|error| store_refusal(&error))?;
            opened.push(match (visible, head) {
                (Visible::Between { from, to }, head) if head.is_some() || !is_direct(&key) => {
                    let head = head.unwrap_or_default();
                    let committed = head.seq;
                    if committed == 0 && *reader == Reader::System {
                        Err(not_found(&key))
                    } else {
                        Ok(Open {
                            view: View::new(floor, committed, from, to),
                            recalled: Recalled {
                                seqs: head.recalled,
                                complete_from: head.recalled_complete_from,
                            },
                            key,
                        })
                    }
                }
                _ => Err(not_found(&key)),
            });
        }
        Ok(opened)
    }

    /// The same for one conversation.
    pub async fn open_one(&self, reader: &Reader, key: ConversationKey) -> Result<Open, Refusal> {
        let missing = not_found(&key);
        self.open(reader, vec![key])
            .await?
            .pop()
            .unwrap_or(Err(missing))
    }
}

fn direct(user: &str, head: Option<&Head>) -> Visible {
    match head {
        Some(head) if head.participants.iter().any(|it| it == user) => {
            Visible::Between { from: 0, to: 0 }
        }
        Some(_) => Visible::Nothing,
        None => Visible::Unknown,
    }
}
