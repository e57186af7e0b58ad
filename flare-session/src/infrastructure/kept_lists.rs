//! Lists of users' conversations, kept in memory.

use std::sync::Arc;

use moka::sync::Cache;

use crate::{
    application::ports::{RosterStore, StoreError},
    domain::caller::UserKey,
};

/// A list of a user's conversations, with the version of his memberships that it is good for.
type List = (u64, Arc<[Arc<str>]>);

/// A bounded cache of lists, each with the version that it is good for: one that is too old is read again, and none takes the place of a newer one.
pub(super) struct KeptLists(Cache<UserKey, List>);

impl KeptLists {
    /// Keeps lists with up to `max_entries` conversations in all.
    pub(super) fn new(max_entries: u64) -> Self {
        let lists = Cache::builder()
            .max_capacity(max_entries)
            .weigher(|_, (_, list): &List| weight(list.len()));
        Self(lists.build())
    }

    /// The list of `store`, at least as new as `memberships`.
    pub(super) async fn of(
        &self,
        store: &dyn RosterStore,
        user: &UserKey,
        memberships: u64,
    ) -> Result<Arc<[Arc<str>]>, StoreError> {
        if let Some((good_for, list)) = self.0.get(user)
            && good_for >= memberships
        {
            return Ok(list);
        }
        let list = store.conversations_of(user, memberships).await?;
        self.0
            .entry(user.clone())
            .and_upsert_with(|kept| match kept.map(|it| it.into_value()) {
                Some(newer) if newer.0 > memberships => newer,
                _ => (memberships, Arc::clone(&list)),
            });
        Ok(list)
    }
}

/// What a list or a roster with so many entries counts for.
pub(super) fn weight(entries: usize) -> u32 {
    u32::try_from(entries + 4).unwrap_or(u32::MAX)
}
