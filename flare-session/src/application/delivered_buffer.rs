//! Delivered positions that wait to be judged and written: the newest of each device and conversation, of a bounded number.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
};

use flare_storage_model::ConversationKey;

use super::ports::{DeliveredUpdate, KEPT_DEVICES};
use crate::domain::caller::UserKey;

/// One user's positions take at most this part of the room: what his devices tell is not judged yet, and may be made up.
const PART_OF_A_USER: usize = 10;

/// There is no room for another position until what waits is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// For none of this user's.
    User,
    /// For nobody's.
    All,
}

/// Gathers delivered positions. Each stays until it [is done with](Self::done): whoever writes may fail or be given up.
#[derive(Debug)]
pub struct DeliveredBuffer {
    max: usize,
    count: usize,
    users: HashMap<UserKey, OfUser>,
}

#[derive(Debug, Default)]
struct OfUser {
    count: usize,
    /// By conversation, then device.
    seqs: HashMap<Arc<str>, BTreeMap<Arc<str>, u64>>,
}

impl DeliveredBuffer {
    /// Room for so many positions.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            count: 0,
            users: HashMap::new(),
        }
    }

    /// A device has received so far.
    pub fn note(&mut self, update: &DeliveredUpdate) -> Result<(), Full> {
        let (whose, conversation) = (whose(update), &update.key.conversation);
        let of_user = self.users.get_mut(&whose);
        let mut taken = 0;
        if let Some(of_user) = of_user {
            let devices = of_user.seqs.get_mut(conversation);
            if let Some(seq) = devices.and_then(|it| it.get_mut(&update.device)) {
                *seq = update.seq.max(*seq);
                return Ok(());
            }
            taken = of_user.count;
        }
        if self.count >= self.max {
            return Err(Full::All);
        }
        if taken >= (self.max / PART_OF_A_USER).max(1) {
            return Err(Full::User);
        }
        self.count += 1;
        let of_user = self.users.entry(whose).or_default();
        of_user.count += 1;
        let devices = of_user.seqs.entry(Arc::clone(conversation)).or_default();
        devices.insert(Arc::clone(&update.device), update.seq);
        Ok(())
    }

    /// What waits, in no order.
    pub fn waiting(&self) -> Vec<DeliveredUpdate> {
        let mut waiting = Vec::with_capacity(self.count);
        for (whose, of_user) in &self.users {
            for (conversation, devices) in &of_user.seqs {
                let key = ConversationKey::new(Arc::clone(&whose.tenant), Arc::clone(conversation));
                waiting.extend(devices.iter().map(|(device, seq)| DeliveredUpdate {
                    key: key.clone(),
                    user: Arc::clone(&whose.user),
                    device: Arc::clone(device),
                    seq: *seq,
                }));
            }
        }
        waiting
    }

    /// These are in the store, or never will be. What has risen meanwhile goes on waiting.
    pub fn done(&mut self, updates: &[DeliveredUpdate]) {
        for update in updates {
            let Entry::Occupied(mut of_user) = self.users.entry(whose(update)) else {
                continue;
            };
            let OfUser { count, seqs } = of_user.get_mut();
            let Entry::Occupied(mut devices) = seqs.entry(Arc::clone(&update.key.conversation))
            else {
                continue;
            };
            if devices.get().get(&update.device) != Some(&update.seq) {
                continue;
            }
            devices.get_mut().remove(&update.device);
            if devices.get().is_empty() {
                devices.remove();
            }
            *count -= 1;
            self.count -= 1;
            if of_user.get().count == 0 {
                of_user.remove();
            }
        }
    }

    /// How far the foremost of a user's devices have received of the conversation up to `newest`, as far as it is not in the store yet.
    pub fn of(&self, key: &ConversationKey, user: &Arc<str>, newest: u64) -> Vec<(Arc<str>, u64)> {
        let whose = UserKey {
            tenant: Arc::clone(&key.tenant),
            user: Arc::clone(user),
        };
        let of_user = self.users.get(&whose);
        let devices = of_user.and_then(|it| it.seqs.get(&key.conversation));
        let mut devices: Vec<_> = devices
            .into_iter()
            .flatten()
            .filter(|(_, seq)| **seq <= newest)
            .map(|(device, seq)| (Arc::clone(device), *seq))
            .collect();
        keep_foremost(&mut devices);
        devices
    }
}

/// Leaves those of a member's devices that are kept, by device id.
pub fn keep_foremost(devices: &mut Vec<(Arc<str>, u64)>) {
    if devices.len() > KEPT_DEVICES {
        devices.sort_unstable_by(|(one, seq), (other, other_seq)| {
            (Reverse(seq), one).cmp(&(Reverse(other_seq), other))
        });
        devices.truncate(KEPT_DEVICES);
    }
    devices.sort_unstable();
}

fn whose(update: &DeliveredUpdate) -> UserKey {
    UserKey {
        tenant: Arc::clone(&update.key.tenant),
        user: Arc::clone(&update.user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(user: &str, device: &str, conversation: &str, seq: u64) -> DeliveredUpdate {
        DeliveredUpdate {
            key: ConversationKey::new("t", conversation),
            user: user.into(),
            device: device.into(),
            seq,
        }
    }

    #[test]
    fn positions_gather_into_the_newest_of_each_device_and_stay_until_they_are_done_with() {
        let mut buffer = DeliveredBuffer::new(100);
        for seq in [3, 7, 5] {
            assert_eq!(buffer.note(&at("alice", "phone", "g", seq)), Ok(()));
        }
        let given_up = buffer.waiting();
        assert_eq!(given_up, [at("alice", "phone", "g", 7)]);
        assert_eq!(buffer.note(&at("alice", "phone", "g", 8)), Ok(()));
        buffer.done(&given_up);
        assert_eq!(buffer.waiting(), [at("alice", "phone", "g", 8)]);
        buffer.done(&buffer.waiting());
        assert_eq!((buffer.count, buffer.users.len()), (0, 0));
    }

    #[test]
    fn a_user_has_a_part_of_the_room_and_all_together_have_the_whole() {
        let mut buffer = DeliveredBuffer::new(20);
        let user = |index: usize| format!("user-{index}");
        for index in 0..10 {
            for conversation in ["g", "h"] {
                let note = at(&user(index), "phone", conversation, 1);
                assert_eq!(buffer.note(&note), Ok(()));
            }
            let full = if index < 9 { Full::User } else { Full::All };
            assert_eq!(buffer.note(&at(&user(index), "phone", "i", 1)), Err(full));
        }
        assert_eq!(buffer.note(&at("user-0", "phone", "g", 2)), Ok(()));
        assert_eq!(buffer.note(&at("alice", "phone", "g", 1)), Err(Full::All));
        buffer.done(&[at("user-0", "phone", "h", 1)]);
        assert_eq!(buffer.note(&at("alice", "phone", "g", 1)), Ok(()));
    }

    #[test]
    fn no_more_devices_are_told_of_than_are_kept() {
        let mut buffer = DeliveredBuffer::new(1_000);
        for seq in 1..=20 {
            let note = at("alice", &format!("device-{seq:02}"), "g", seq);
            assert_eq!(buffer.note(&note), Ok(()));
        }
        let key = ConversationKey::new("t", "g");
        let told = buffer.of(&key, &"alice".into(), 15);
        let seqs: Vec<_> = told.iter().map(|(_, seq)| *seq).collect();
        assert_eq!(seqs, (6..=15).collect::<Vec<_>>());
    }
}
