//! Rosters in memory.

use std::sync::Arc;

use moka::future::Cache;

use super::ports::{Found, PortError, RosterSource};
use crate::domain::{event::Conversation, roster::Roster};

/// Rosters of conversations seen lately, bounded by their members together. What is in memory was put there by the stream's one reader, who
/// brings it up to date with every member event, and forgets it when he may have missed one.
#[derive(Clone)]
pub struct Rosters {
    source: Arc<dyn RosterSource>,
    kept: Cache<Conversation, Arc<Roster>>,
}

impl Rosters {
    /// Keeps at most so many members.
    pub fn new(source: Arc<dyn RosterSource>, max_members: u64) -> Self {
        let kept = Cache::builder()
            .max_capacity(max_members)
            .weigher(|_, roster: &Arc<Roster>| {
                u32::try_from(roster.len()).unwrap_or(u32::MAX).max(1)
            })
            .build();
        Self { source, kept }
    }

    /// The roster for who only looks. One that was fetched is not kept: by the time it comes, the stream may have put a newer one, and even
    /// have lost it again for want of room, and the changes between the two do not come a second time. None also of a large conversation.
    pub async fn look(
        &self,
        conversation: &Conversation,
    ) -> Result<Option<Arc<Roster>>, PortError> {
        match self.kept.get(conversation).await {
            Some(roster) => Ok(Some(roster)),
            None => Ok(match self.source.find(conversation).await? {
                Some(Found::Members(roster)) => Some(Arc::new(roster)),
                Some(Found::Large { .. }) | None => None,
            }),
        }
    }

    /// The roster for the stream's one reader, from memory or from its source, and from then on in memory.
    pub async fn get(&self, conversation: &Conversation) -> Result<Option<Arc<Roster>>, PortError> {
        if let Some(roster) = self.kept.get(conversation).await {
            return Ok(Some(roster));
        }
        let Some(roster) = self.source.fetch(conversation).await?.map(Arc::new) else {
            return Ok(None);
        };
        self.kept
            .insert(conversation.clone(), Arc::clone(&roster))
            .await;
        Ok(Some(roster))
    }

    /// Puts a roster that a member event changed. Only the stream's one reader calls this.
    pub async fn put(&self, conversation: &Conversation, roster: Arc<Roster>) {
        self.kept.insert(conversation.clone(), roster).await;
    }

    /// The conversation is large from here on. Only the stream's one reader calls this.
    pub async fn forget(&self, conversation: &Conversation) {
        self.kept.invalidate(conversation).await;
    }

    /// Keeps none of them: other readers are given parts of the stream, or were. Only the stream's one reader calls this.
    pub fn forget_all(&self) {
        self.kept.invalidate_all();
    }
}
