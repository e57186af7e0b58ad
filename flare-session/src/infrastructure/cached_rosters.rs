//! Rosters of active conversations, kept in memory.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use flare_storage_model::ConversationKey;
use moka::sync::Cache;

use super::kept_lists::{KeptLists, weight};
use crate::{
    application::ports::{LargeMemberships, RosterStore, StoreError},
    domain::{
        caller::UserKey,
        membership::{Belonging, Roster, RosterMember},
    },
};

const SHARDS: usize = 256;

/// A bounded cache over a roster store.
///
/// A roster that was loaded before a [`forget`](RosterStore::forget) is never kept after it: forgetting raises the shard's generation, and a load keeps its
/// answer only if the generation is still the one it began with.
/// Absence is not cached, nor is the past of former members.
pub struct CachedRosters {
    store: Arc<dyn RosterStore>,
    rosters: Cache<ConversationKey, Arc<Roster>>,
    lists: KeptLists,
    generations: Box<[Mutex<u64>]>,
    hasher: RandomState,
}

impl CachedRosters {
    /// Keeps rosters with up to `max_members` members in all, and lists of conversations with as many entries.
    pub fn new(store: Arc<dyn RosterStore>, max_members: u64) -> Self {
        Self {
            store,
            rosters: Cache::builder()
                .max_capacity(max_members)
                .weigher(|_, roster: &Arc<Roster>| {
                    weight(roster.members.as_ref().map_or(0, BTreeMap::len))
                })
                .build(),
            lists: KeptLists::new(max_members),
            generations: (0..SHARDS).map(|_| Mutex::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    fn generation(&self, key: &ConversationKey) -> MutexGuard<'_, u64> {
        // Below SHARDS whatever the width of usize.
        let shard = (self.hasher.hash_one(key) % SHARDS as u64) as usize;
        self.generations[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RosterStore for CachedRosters {
    async fn roster(&self, key: &ConversationKey) -> Result<Option<Arc<Roster>>, StoreError> {
        if let Some(roster) = self.rosters.get(key) {
            return Ok(Some(roster));
        }
        metrics::counter!("flare_session_rosters_loaded_total").increment(1);
        let began = *self.generation(key);
        let roster = self.store.roster(key).await?;
        if let Some(roster) = &roster {
            let generation = self.generation(key);
            if *generation == began {
                self.rosters.insert(key.clone(), Arc::clone(roster));
            }
        }
        Ok(roster)
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

    fn forget(&self, key: &ConversationKey) {
        let mut generation = self.generation(key);
        *generation += 1;
        self.rosters.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::Notify;

    use super::*;
    use crate::domain::{
        membership::Summary,
        role::{Class, History},
    };

    /// Answers with a number that rises, and can be held up.
    #[derive(Default)]
    struct Source {
        as_of: AtomicU64,
        held: Mutex<Option<Arc<Notify>>>,
        asked: Notify,
    }

    #[async_trait]
    impl RosterStore for Source {
        async fn roster(&self, _: &ConversationKey) -> Result<Option<Arc<Roster>>, StoreError> {
            let as_of = self.as_of.load(Ordering::SeqCst);
            let held = self.held.lock().expect("not poisoned").take();
            self.asked.notify_one();
            if let Some(held) = held {
                held.notified().await;
            }
            Ok(Some(Arc::new(Roster {
                summary: Summary {
                    class: Class::Group,
                    title: String::new(),
                    owner: "o".into(),
                    member_count: 0,
                    created_ms: 0,
                    participants: Vec::new(),
                },
                history: History::All,
                as_of,
                disbanded: false,
                members: Some(Default::default()),
            })))
        }

        async fn belonging(
            &self,
            _: &ConversationKey,
            _: &[Arc<str>],
        ) -> Result<HashMap<Arc<str>, Belonging>, StoreError> {
            Ok(HashMap::new())
        }

        async fn members_after(
            &self,
            _: &ConversationKey,
            _: Option<&str>,
            _: usize,
        ) -> Result<Vec<(Arc<str>, RosterMember)>, StoreError> {
            Ok(Vec::new())
        }

        async fn large_memberships(
            &self,
            _: &[UserKey],
            _: usize,
        ) -> Result<LargeMemberships, StoreError> {
            Ok(LargeMemberships::default())
        }

        async fn conversations_of(
            &self,
            _: &UserKey,
            memberships: u64,
        ) -> Result<Arc<[Arc<str>]>, StoreError> {
            Ok([Arc::from(memberships.to_string())].into())
        }

        fn forget(&self, _: &ConversationKey) {}
    }

    fn key() -> ConversationKey {
        ConversationKey::new("t", "g")
    }

    #[tokio::test]
    async fn a_roster_is_kept_until_it_is_forgotten() {
        let source = Arc::new(Source::default());
        let cached = CachedRosters::new(Arc::clone(&source) as _, 100);
        let as_of = async || {
            cached
                .roster(&key())
                .await
                .expect("answers")
                .expect("there")
                .as_of
        };
        assert_eq!(as_of().await, 0);
        source.as_of.store(5, Ordering::SeqCst);
        assert_eq!(as_of().await, 0);
        cached.forget(&key());
        assert_eq!(as_of().await, 5);
    }

    #[tokio::test]
    async fn what_was_loaded_before_a_change_is_not_kept_after_it() {
        let source = Arc::new(Source::default());
        let cached = Arc::new(CachedRosters::new(Arc::clone(&source) as _, 100));
        let held = Arc::new(Notify::new());
        *source.held.lock().expect("not poisoned") = Some(Arc::clone(&held));
        let loading = tokio::spawn({
            let cached = Arc::clone(&cached);
            async move { cached.roster(&key()).await }
        });
        source.asked.notified().await;
        source.as_of.store(5, Ordering::SeqCst);
        cached.forget(&key());
        held.notify_one();
        loading.await.expect("ends").expect("answers");
        assert_eq!(
            cached
                .roster(&key())
                .await
                .expect("answers")
                .expect("there")
                .as_of,
            5
        );
    }

    #[tokio::test]
    async fn a_list_is_as_new_as_it_is_asked_for() {
        let cached = CachedRosters::new(Arc::new(Source::default()), 100);
        let user = UserKey::new("t", "alice");
        let list = async |memberships| {
            cached
                .conversations_of(&user, memberships)
                .await
                .expect("answers")[0]
                .to_string()
        };
        assert_eq!(list(3).await, "3");
        assert_eq!(list(2).await, "3");
        assert_eq!(list(4).await, "4");
    }
}
