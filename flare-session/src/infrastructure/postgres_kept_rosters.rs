//! Rosters of PostgreSQL, kept in memory while several processes change them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use flare_storage_model::ConversationKey;
use moka::sync::Cache;

use super::{
    kept_lists::{KeptLists, weight},
    postgres::PostgresSession,
    postgres_rosters::Revision,
};
use crate::{
    application::ports::{LargeMemberships, RosterStore, StoreError},
    domain::{
        caller::UserKey,
        membership::{Belonging, Roster, RosterMember},
    },
};

/// A bounded cache that asks the database, each time, whether what it keeps still stands: no process tells the others what it has changed.
///
/// A roster is as of the last change that was settled, whose seq stands in the conversation's row; so an answer costs the look at that row,
/// and members are read where it has moved. The version that a list of conversations is good for is the database's, so one that is good for it lacks no
/// process's changes.
pub struct PostgresKeptRosters {
    store: Arc<PostgresSession>,
    rosters: Cache<ConversationKey, Revision>,
    lists: KeptLists,
}

impl PostgresKeptRosters {
    /// Keeps rosters with up to `max_members` members in all, and lists of conversations with as many entries.
    pub fn new(store: Arc<PostgresSession>, max_members: u64) -> Self {
        Self {
            store,
            rosters: Cache::builder()
                .max_capacity(max_members)
                .weigher(|_, (_, roster): &Revision| {
                    weight(roster.members.as_ref().map_or(0, BTreeMap::len))
                })
                .build(),
            lists: KeptLists::new(max_members),
        }
    }
}

#[async_trait]
impl RosterStore for PostgresKeptRosters {
    async fn roster(&self, key: &ConversationKey) -> Result<Option<Arc<Roster>>, StoreError> {
        let known = self.rosters.get(key);
        let was_as_of = known.as_ref().map(|it| it.0);
        let Some(newest) = self.store.newest_roster(key, known).await? else {
            return Ok(None);
        };
        let roster = Arc::clone(&newest.1);
        if was_as_of != Some(newest.0) {
            metrics::counter!("flare_session_rosters_loaded_total").increment(1);
            // Whatever is kept is looked at again: an older one does no harm.
            self.rosters.insert(key.clone(), newest);
        }
        Ok(Some(roster))
    }

    async fn belonging(
        &self,
        key: &ConversationKey,
        users: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Belonging>, StoreError> {
        self.store.belonging(key, users).await
    }

    async fn members_after(
        &self,
        key: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Arc<str>, RosterMember)>, StoreError> {
        self.store.members_after(key, after, limit).await
    }

    async fn large_memberships(
        &self,
        users: &[UserKey],
        max: usize,
    ) -> Result<LargeMemberships, StoreError> {
        self.store.large_memberships(users, max).await
    }

    async fn conversations_of(
        &self,
        user: &UserKey,
        memberships: u64,
    ) -> Result<Arc<[Arc<str>]>, StoreError> {
        self.lists.of(&*self.store, user, memberships).await
    }

    fn forget(&self, _key: &ConversationKey) {
        // What is kept is asked about each time.
    }
}
