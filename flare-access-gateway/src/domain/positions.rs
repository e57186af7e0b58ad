//! What devices have acknowledged and is not stored yet: the highest per device and conversation.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::Identity;

/// Positions of one device that may wait: as many as its user has groups, unless configured.
pub const MAX_OF_A_DEVICE: usize = 10_000;

/// One device's acknowledgement of one conversation, up to a seq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Whose.
    pub identity: Arc<Identity>,
    /// Of which conversation.
    pub conversation: Arc<str>,
    /// Everything up to here.
    pub seq: u64,
}

/// A bounded collection. Each position stays until it [is stored](Self::stored): whoever stores may fail or be given up.
#[derive(Debug)]
pub struct Positions {
    max: usize,
    devices: HashMap<Arc<Identity>, HashMap<Arc<str>, u64>>,
    count: usize,
}

/// There is no room for a new position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// Of this device.
    #[error("{max} positions of this device wait to be stored", max = MAX_OF_A_DEVICE)]
    OfDevice,
    /// Of all devices.
    #[error("too many positions wait to be stored")]
    InAll,
}

impl Positions {
    /// Holds at most `max`, and of each device at most [`MAX_OF_A_DEVICE`].
    pub fn new(max: usize) -> Self {
        Self {
            max,
            devices: HashMap::new(),
            count: 0,
        }
    }

    /// Notes a position; a lower one changes nothing.
    ///
    /// # Errors
    /// If there is no room for another conversation of the device.
    pub fn note(
        &mut self,
        identity: &Arc<Identity>,
        conversation: &str,
        seq: u64,
    ) -> Result<(), TooMany> {
        let of_device = self.devices.get_mut(identity);
        let mut held = 0;
        if let Some(of_device) = of_device {
            if let Some(known) = of_device.get_mut(conversation) {
                *known = seq.max(*known);
                return Ok(());
            }
            held = of_device.len();
        }
        if held >= MAX_OF_A_DEVICE {
            return Err(TooMany::OfDevice);
        }
        if self.count >= self.max {
            return Err(TooMany::InAll);
        }
        self.devices
            .entry(Arc::clone(identity))
            .or_default()
            .insert(conversation.into(), seq);
        self.count += 1;
        Ok(())
    }

    /// What waits, to be stored.
    pub fn waiting(&self) -> Vec<Acknowledged> {
        let mut waiting = Vec::with_capacity(self.count);
        for (identity, of_device) in &self.devices {
            waiting.extend(of_device.iter().map(|(conversation, seq)| Acknowledged {
                identity: Arc::clone(identity),
                conversation: Arc::clone(conversation),
                seq: *seq,
            }));
        }
        waiting
    }

    /// It is stored. If it has risen meanwhile, it goes on waiting.
    pub fn stored(&mut self, position: &Acknowledged) {
        let Entry::Occupied(mut of_device) = self.devices.entry(Arc::clone(&position.identity))
        else {
            return;
        };
        if of_device.get().get(&position.conversation) == Some(&position.seq) {
            of_device.get_mut().remove(&position.conversation);
            self.count -= 1;
        }
        if of_device.get().is_empty() {
            of_device.remove();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> Arc<Identity> {
        Arc::new(Identity {
            tenant: "default".into(),
            user: "alice".into(),
            device: name.into(),
        })
    }

    #[test]
    fn the_highest_position_of_a_device_and_conversation_stands() {
        let mut positions = Positions::new(10);
        for (name, conversation, seq) in [
            ("phone", "c", 5),
            ("phone", "c", 3),
            ("phone", "d", 1),
            ("laptop", "c", 2),
        ] {
            assert_eq!(positions.note(&device(name), conversation, seq), Ok(()));
        }
        let mut taken: Vec<_> = positions
            .waiting()
            .into_iter()
            .map(|it| {
                (
                    it.identity.device.to_string(),
                    it.conversation.to_string(),
                    it.seq,
                )
            })
            .collect();
        taken.sort();
        let expected = [("laptop", "c", 2), ("phone", "c", 5), ("phone", "d", 1)];
        assert_eq!(
            taken,
            expected.map(|(device, conversation, seq)| (
                device.to_owned(),
                conversation.to_owned(),
                seq
            ))
        );
    }

    #[test]
    fn a_position_stays_until_it_is_stored_as_it_stands() {
        let mut positions = Positions::new(10);
        assert_eq!(positions.note(&device("phone"), "c", 5), Ok(()));
        let given_up = positions.waiting();
        assert_eq!(positions.note(&device("phone"), "c", 6), Ok(()));
        given_up.iter().for_each(|it| positions.stored(it));
        let waiting = positions.waiting();
        assert_eq!(waiting.iter().map(|it| it.seq).collect::<Vec<_>>(), [6]);
        waiting.iter().for_each(|it| positions.stored(it));
        assert!(positions.is_empty() && positions.devices.is_empty());
    }

    #[test]
    fn a_new_position_beyond_the_bound_is_refused_and_a_known_one_rises() {
        let mut positions = Positions::new(1);
        assert_eq!(positions.note(&device("phone"), "c", 5), Ok(()));
        let refused = positions.note(&device("phone"), "d", 5);
        assert_eq!(refused, Err(TooMany::InAll));
        assert_eq!(positions.note(&device("phone"), "c", 6), Ok(()));
        let waiting = positions.waiting();
        assert_eq!(waiting.first().map(|it| it.seq), Some(6));
        waiting.iter().for_each(|it| positions.stored(it));
        assert_eq!(positions.note(&device("phone"), "d", 5), Ok(()));
    }

    #[test]
    fn one_device_leaves_the_others_their_room() {
        let mut positions = Positions::new(2 * MAX_OF_A_DEVICE);
        let note = |positions: &mut Positions, name, index: usize| {
            positions.note(&device(name), &format!("made-up-{index}"), 1)
        };
        for index in 0..MAX_OF_A_DEVICE {
            assert_eq!(note(&mut positions, "phone", index), Ok(()));
        }
        let refused = note(&mut positions, "phone", MAX_OF_A_DEVICE);
        assert_eq!(refused, Err(TooMany::OfDevice));
        assert_eq!(note(&mut positions, "laptop", 0), Ok(()));
    }
}
