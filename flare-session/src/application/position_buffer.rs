//! Positions that wait to be written: the newest of each key, of a bounded number of keys.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
};

use flare_storage_model::ConversationKey;

use super::ports::{DeliveredUpdate, PositionBatch, ReadUpdate};
use crate::domain::{caller::UserKey, inbox::ReadPosition};

/// There is no room for another key until what waits is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many positions wait to be written")]
pub struct Full;

/// Gathers positions; what is being written stays visible until it is.
#[derive(Debug)]
pub struct PositionBuffer {
    max_keys: usize,
    waiting: Gathered,
    writing: Gathered,
}

#[derive(Debug, Default)]
struct Gathered {
    reads: HashMap<UserKey, BTreeMap<Arc<str>, ReadPosition>>,
    delivered: HashMap<(ConversationKey, Arc<str>), BTreeMap<Arc<str>, u64>>,
    activity: HashMap<ConversationKey, i64>,
    keys: usize,
}

impl PositionBuffer {
    /// Room for so many keys.
    pub fn new(max_keys: usize) -> Self {
        Self {
            max_keys,
            waiting: Gathered::default(),
            writing: Gathered::default(),
        }
    }

    /// A user has read so far.
    pub fn read(
        &mut self,
        key: &ConversationKey,
        user: &Arc<str>,
        position: ReadPosition,
    ) -> Result<(), Full> {
        self.room()?;
        self.waiting.read(key, user, position);
        Ok(())
    }

    /// A device has received so far.
    pub fn delivered(
        &mut self,
        key: &ConversationKey,
        user: &Arc<str>,
        device: &Arc<str>,
        seq: u64,
    ) -> Result<(), Full> {
        self.room()?;
        self.waiting.deliver(key, user, device, seq);
        Ok(())
    }

    /// The conversation had an event at this time, in Unix milliseconds.
    pub fn active(&mut self, key: &ConversationKey, time_ms: i64) -> Result<(), Full> {
        self.room()?;
        self.waiting.activate(key, time_ms);
        Ok(())
    }

    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.waiting.keys == 0
    }

    /// Takes what waits, to be written. It stays visible until [`written`](Self::written) or [`failed`](Self::failed) is called.
    pub fn take(&mut self) -> PositionBatch {
        self.writing = mem::take(&mut self.waiting);
        let writing = &self.writing;
        PositionBatch {
            reads: writing
                .reads
                .iter()
                .flat_map(|(user, of_user)| {
                    of_user.iter().map(|(conversation, position)| ReadUpdate {
                        key: ConversationKey::new(
                            Arc::clone(&user.tenant),
                            Arc::clone(conversation),
                        ),
                        user: Arc::clone(&user.user),
                        position: *position,
                    })
                })
                .collect(),
            delivered: writing
                .delivered
                .iter()
                .flat_map(|((key, user), devices)| {
                    devices.iter().map(|(device, seq)| DeliveredUpdate {
                        key: key.clone(),
                        user: Arc::clone(user),
                        device: Arc::clone(device),
                        seq: *seq,
                    })
                })
                .collect(),
            activity: writing
                .activity
                .iter()
                .map(|(key, time_ms)| (key.clone(), *time_ms))
                .collect(),
        }
    }

    /// What was taken is in the store.
    pub fn written(&mut self) {
        self.writing = Gathered::default();
    }

    /// What was taken is not in the store: it waits again.
    pub fn failed(&mut self) {
        let writing = mem::take(&mut self.writing);
        for (user, of_user) in writing.reads {
            for (conversation, position) in of_user {
                let key = ConversationKey::new(Arc::clone(&user.tenant), conversation);
                self.waiting.read(&key, &user.user, position);
            }
        }
        for ((key, user), devices) in writing.delivered {
            for (device, seq) in devices {
                self.waiting.deliver(&key, &user, &device, seq);
            }
        }
        for (key, time_ms) in writing.activity {
            self.waiting.activate(&key, time_ms);
        }
    }

    /// A user's read position that is not in the store yet.
    pub fn read_of(&self, user: &UserKey, conversation: &str) -> Option<ReadPosition> {
        let of = |it: &Gathered| {
            it.reads
                .get(user)
                .and_then(|of_user| of_user.get(conversation))
                .copied()
        };
        of(&self.waiting).max(of(&self.writing))
    }

    /// A user's read positions that are not in the store yet, by conversation.
    pub fn reads_of(&self, user: &UserKey) -> BTreeMap<Arc<str>, ReadPosition> {
        let mut reads = self.writing.reads.get(user).cloned().unwrap_or_default();
        for (conversation, position) in self.waiting.reads.get(user).into_iter().flatten() {
            let newest = reads.entry(Arc::clone(conversation)).or_default();
            *newest = (*newest).max(*position);
        }
        reads
    }

    /// Delivered positions of a user's devices that are not in the store yet.
    pub fn delivered_of(&self, key: &ConversationKey, user: &Arc<str>) -> BTreeMap<Arc<str>, u64> {
        let whose = (key.clone(), Arc::clone(user));
        let mut devices = self
            .writing
            .delivered
            .get(&whose)
            .cloned()
            .unwrap_or_default();
        for (device, seq) in self.waiting.delivered.get(&whose).into_iter().flatten() {
            let newest = devices.entry(Arc::clone(device)).or_default();
            *newest = (*newest).max(*seq);
        }
        devices
    }

    /// The time of the conversation's last event, if it is not in the store yet. Unix milliseconds.
    pub fn activity_of(&self, key: &ConversationKey) -> Option<i64> {
        self.waiting
            .activity
            .get(key)
            .max(self.writing.activity.get(key))
            .copied()
    }

    fn room(&self) -> Result<(), Full> {
        if self.waiting.keys >= self.max_keys {
            Err(Full)
        } else {
            Ok(())
        }
    }
}

impl Gathered {
    fn read(&mut self, key: &ConversationKey, user: &Arc<str>, position: ReadPosition) {
        let of_user = self
            .reads
            .entry(UserKey {
                tenant: Arc::clone(&key.tenant),
                user: Arc::clone(user),
            })
            .or_default();
        let newest = of_user
            .entry(Arc::clone(&key.conversation))
            .or_insert_with(|| {
                self.keys += 1;
                position
            });
        *newest = (*newest).max(position);
    }

    fn deliver(&mut self, key: &ConversationKey, user: &Arc<str>, device: &Arc<str>, seq: u64) {
        let devices = self
            .delivered
            .entry((key.clone(), Arc::clone(user)))
            .or_default();
        let newest = devices.entry(Arc::clone(device)).or_insert_with(|| {
            self.keys += 1;
            seq
        });
        *newest = (*newest).max(seq);
    }

    fn activate(&mut self, key: &ConversationKey, time_ms: i64) {
        let newest = self.activity.entry(key.clone()).or_insert_with(|| {
            self.keys += 1;
            time_ms
        });
        *newest = (*newest).max(time_ms);
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
        let (alice, phone) = (Arc::from("alice"), Arc::from("phone"));
        for seq in [3, 7, 5] {
            buffer.read(&key(), &alice, at(seq)).expect("room");
            buffer.delivered(&key(), &alice, &phone, seq).expect("room");
            buffer.active(&key(), 100 + seq as i64).expect("room");
        }
        let batch = buffer.take();
        assert_eq!((batch.reads.len(), batch.reads[0].position), (1, at(7)));
        assert_eq!((batch.delivered.len(), batch.delivered[0].seq), (1, 7));
        assert_eq!(batch.activity, [(key(), 107)]);
    }

    #[test]
    fn what_is_being_written_stays_visible_until_it_is() {
        let mut buffer = PositionBuffer::new(10);
        let alice = Arc::from("alice");
        let user = UserKey::new("t", "alice");
        buffer.read(&key(), &alice, at(7)).expect("room");
        buffer.take();
        buffer.read(&key(), &alice, at(4)).expect("room");
        assert_eq!(buffer.read_of(&user, "g"), Some(at(7)));
        buffer.failed();
        assert_eq!(buffer.take().reads[0].position, at(7));
        buffer.written();
        assert_eq!(buffer.read_of(&user, "g"), None);
        assert!(buffer.is_empty());
    }

    #[test]
    fn the_buffer_is_bounded() {
        let mut buffer = PositionBuffer::new(2);
        let alice = Arc::from("alice");
        assert!(buffer.read(&key(), &alice, at(1)).is_ok());
        assert!(buffer.active(&key(), 1).is_ok());
        assert_eq!(buffer.delivered(&key(), &alice, &"d".into(), 1), Err(Full));
        buffer.take();
        assert!(buffer.delivered(&key(), &alice, &"d".into(), 1).is_ok());
    }
}
