//! Read positions and times of activity that wait to be written: the newest of each key, of a bounded number of keys.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
};

use flare_storage_model::ConversationKey;

use super::ports::{PositionBatch, ReadUpdate};
use crate::domain::{caller::UserKey, inbox::ReadPosition};

/// There is no room for another key until what waits is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many positions wait to be written")]
pub struct Full;

/// Gathers positions. Each stays, and is visible, until it [is written](Self::written): whoever writes may fail or be given up.
#[derive(Debug)]
pub struct PositionBuffer {
    max_keys: usize,
    reads: HashMap<UserKey, BTreeMap<Arc<str>, ReadPosition>>,
    activity: HashMap<ConversationKey, i64>,
    keys: usize,
}

impl PositionBuffer {
    /// Room for so many keys.
    pub fn new(max_keys: usize) -> Self {
        Self {
            max_keys,
            reads: HashMap::new(),
            activity: HashMap::new(),
            keys: 0,
        }
    }

    /// A user has read so far.
    pub fn read(
        &mut self,
        key: &ConversationKey,
        user: &Arc<str>,
        position: ReadPosition,
    ) -> Result<(), Full> {
        let user = whose(key, user);
        if let Some(newest) = self
            .reads
            .get_mut(&user)
            .and_then(|it| it.get_mut(&key.conversation))
        {
            *newest = position.max(*newest);
            return Ok(());
        }
        self.take_room()?;
        let of_user = self.reads.entry(user).or_default();
        of_user.insert(Arc::clone(&key.conversation), position);
        Ok(())
    }

    /// The conversation had an event at this time, in Unix milliseconds.
    pub fn active(&mut self, key: &ConversationKey, time_ms: i64) -> Result<(), Full> {
        if let Some(newest) = self.activity.get_mut(key) {
            *newest = time_ms.max(*newest);
            return Ok(());
        }
        self.take_room()?;
        self.activity.insert(key.clone(), time_ms);
        Ok(())
    }

    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// What waits, to be written.
    pub fn waiting(&self) -> PositionBatch {
        let reads = self.reads.iter().flat_map(|(user, of_user)| {
            of_user.iter().map(|(conversation, position)| ReadUpdate {
                key: ConversationKey::new(Arc::clone(&user.tenant), Arc::clone(conversation)),
                user: Arc::clone(&user.user),
                position: *position,
            })
        });
        let activity = self.activity.iter();
        PositionBatch {
            reads: reads.collect(),
            activity: activity.map(|(key, time)| (key.clone(), *time)).collect(),
            ..PositionBatch::default()
        }
    }

    /// This is in the store. What has risen meanwhile goes on waiting.
    pub fn written(&mut self, batch: &PositionBatch) {
        for update in &batch.reads {
            let Entry::Occupied(mut of_user) = self.reads.entry(whose(&update.key, &update.user))
            else {
                continue;
            };
            let conversation = &update.key.conversation;
            if of_user.get().get(conversation) == Some(&update.position) {
                of_user.get_mut().remove(conversation);
                self.keys -= 1;
            }
            if of_user.get().is_empty() {
                of_user.remove();
            }
        }
        for (key, time_ms) in &batch.activity {
            if self.activity.get(key) == Some(time_ms) {
                self.activity.remove(key);
                self.keys -= 1;
            }
        }
    }

    /// A user's read position that is not in the store yet.
    pub fn read_of(&self, user: &UserKey, conversation: &str) -> Option<ReadPosition> {
        self.reads.get(user)?.get(conversation).copied()
    }

    /// A user's read positions that are not in the store yet, by conversation.
    pub fn reads_of(&self, user: &UserKey) -> BTreeMap<Arc<str>, ReadPosition> {
        self.reads.get(user).cloned().unwrap_or_default()
    }

    /// The time of the conversation's last event, if it is not in the store yet. Unix milliseconds.
    pub fn activity_of(&self, key: &ConversationKey) -> Option<i64> {
        self.activity.get(key).copied()
    }

    fn take_room(&mut self) -> Result<(), Full> {
        if self.keys >= self.max_keys {
            return Err(Full);
        }
        self.keys += 1;
        Ok(())
    }
}

fn whose(key: &ConversationKey, user: &Arc<str>) -> UserKey {
    UserKey {
        tenant: Arc::clone(&key.tenant),
        user: Arc::clone(user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ConversationKey {
        ConversationKey::new("t", "g")
    }

    fn at(seq: u64) -> ReadPosition {
        ReadPosition { seq, ordinal: seq }
    }

    #[test]
    fn positions_gather_into_the_newest_of_each_key() {
        let mut buffer = PositionBuffer::new(10);
        let alice = Arc::from("alice");
        for seq in [3, 7, 5] {
            buffer.read(&key(), &alice, at(seq)).expect("room");
            buffer.active(&key(), 100 + seq as i64).expect("room");
        }
        let batch = buffer.waiting();
        assert_eq!((batch.reads.len(), batch.reads[0].position), (1, at(7)));
        assert_eq!(batch.activity, [(key(), 107)]);
    }

    #[test]
    fn what_is_being_written_stays_until_it_is() {
        let mut buffer = PositionBuffer::new(10);
        let alice = Arc::from("alice");
        let user = UserKey::new("t", "alice");
        buffer.read(&key(), &alice, at(7)).expect("room");
        let given_up = buffer.waiting();
        buffer.read(&key(), &alice, at(4)).expect("room");
        assert_eq!(buffer.read_of(&user, "g"), Some(at(7)));
        assert_eq!(buffer.waiting(), given_up);
        buffer.read(&key(), &alice, at(8)).expect("room");
        buffer.written(&given_up);
        assert_eq!(buffer.read_of(&user, "g"), Some(at(8)));
        buffer.written(&buffer.waiting());
        assert_eq!(buffer.read_of(&user, "g"), None);
        assert!(buffer.is_empty());
    }

    #[test]
    fn the_buffer_is_bounded_until_something_is_written() {
        let mut buffer = PositionBuffer::new(2);
        let (alice, bob) = (Arc::from("alice"), Arc::from("bob"));
        assert_eq!(buffer.read(&key(), &alice, at(1)), Ok(()));
        assert_eq!(buffer.active(&key(), 1), Ok(()));
        assert_eq!(buffer.read(&key(), &bob, at(1)), Err(Full));
        assert_eq!(buffer.read(&key(), &alice, at(2)), Ok(()));
        assert_eq!(buffer.active(&key(), 2), Ok(()));
        buffer.written(&buffer.waiting());
        assert_eq!(buffer.read(&key(), &bob, at(1)), Ok(()));
    }
}
