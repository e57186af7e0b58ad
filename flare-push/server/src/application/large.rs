//! Large conversations seen lately.

use std::sync::Arc;

use moka::future::Cache;

use super::ports::{Found, PortError, RosterSource};
use crate::domain::event::{Conversation, Event};

/// Of large conversations, the seq of the last member event. What is kept was put there by the stream's one reader, who brings it up to date with every
/// event, and forgets it when he may have missed one.
pub struct LargeConversations {
    source: Arc<dyn RosterSource>,
    kept: Cache<Conversation, u64>,
}

impl LargeConversations {
    /// Keeps so many.
    pub fn new(source: Arc<dyn RosterSource>, max: u64) -> Self {
        Self {
            source,
            kept: Cache::new(max),
        }
    }

    /// The seq of the last member event before this one. Where the stream's reader has not seen it: of the last one that is committed, which may come
    /// after the event.
    ///
    /// # Errors
    /// The source does not answer.
    pub async fn member_seq_before(&self, event: &Event) -> Result<u64, PortError> {
        if event.seq == 1 {
            return Ok(0);
        }
        if let Some(kept) = self.kept.get(&event.conversation).await {
            return Ok(kept);
        }
        let found = self.source.find(&event.conversation).await?;
        let seq = match found {
            Some(Found::Large { member_seq }) => member_seq,
            Some(Found::Members(roster)) => roster.version(),
            None => 0,
        };
        self.kept.insert(event.conversation.clone(), seq).await;
        Ok(seq)
    }

    /// The event has gone by.
    pub async fn passed(&self, event: &Event) {
        if event.large.is_some_and(|it| it.changes_members) {
            let known = self.kept.get(&event.conversation).await.unwrap_or_default();
            let seq = known.max(event.seq);
            self.kept.insert(event.conversation.clone(), seq).await;
        }
    }

    /// Keeps none of them: other readers are given parts of the stream, or were.
    pub fn forget_all(&self) {
        self.kept.invalidate_all();
    }
}
