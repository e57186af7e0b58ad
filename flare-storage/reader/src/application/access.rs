//! What of which conversations a reader may see.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, Head, MessageStore};

use super::ports::{RETRY_AFTER, Shown, Visibility, Visible, store_refusal};
use crate::domain::{recalled::Recalled, view::View};

/// How often flare-session is asked again for an answer that includes the last member event.
const ASKED_AGAIN: usize = 8;
/// Before it is asked again for the first time; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

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
    /// What the reader sees of each conversation, in their order. One read of heads, one question to flare-session; more where its answer does not
    /// include the last member event that is stored: it still shows his former part to whoever was added again, and all to whoever was removed.
    ///
    /// # Errors
    /// `UNAVAILABLE`, with a time to retry.
    pub async fn open(
        &self,
        reader: &Reader,
        keys: Vec<ConversationKey>,
    ) -> Result<Vec<Result<Open, Refusal>>, Refusal> {
        let groups: Vec<ConversationKey> = match reader {
            Reader::User(_) => keys.iter().filter(|key| !is_direct(key)).cloned().collect(),
            Reader::System => Vec::new(),
        };
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_times(ASKED_AGAIN)
            .build();
        let (shown, heads) = loop {
            let (shown, heads) = self.look(reader, &keys, &groups).await?;
            if groups.is_empty() || !is_outdated(&shown, &keys, &heads) {
                break (shown, heads);
            }
            let Some(pause) = pauses.next() else {
                let why = "what the user may read is not known as of the last change of members";
                return Err(Refusal::unavailable(why, RETRY_AFTER));
            };
            tokio::time::sleep(pause).await;
        };
        let mut visible = shown.into_iter().map(|it| it.visible);
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

    /// What flare-session says of the groups, and then the heads of all, which so are not older.
    async fn look(
        &self,
        reader: &Reader,
        keys: &[ConversationKey],
        groups: &[ConversationKey],
    ) -> Result<(Vec<Shown>, Vec<Option<Head>>), Refusal> {
        let shown = match reader {
            Reader::User(user) if !groups.is_empty() => {
                self.visibility.visible(user, groups).await?
            }
            _ => Vec::new(),
        };
        let heads = self
            .store
            .heads(keys)
            .await
            .map_err(|error| store_refusal(&error))?;
        Ok((shown, heads))
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

/// Whether an answer lacks a member event that its group's head has. A group that flare-session does not know is as good as none.
fn is_outdated(shown: &[Shown], keys: &[ConversationKey], heads: &[Option<Head>]) -> bool {
    let groups = keys.iter().zip(heads).filter(|(key, _)| !is_direct(key));
    shown.iter().zip(groups).any(|(shown, (_, head))| {
        let member_seq = head.as_ref().map_or(0, |it| it.member_seq);
        shown.visible != Visible::Unknown && shown.as_of < member_seq
    })
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
