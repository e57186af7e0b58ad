//! What devices have acknowledged and is not stored yet: the highest per device and conversation.

use std::{collections::HashMap, sync::Arc};

use super::Identity;

/// One device's acknowledgement of one conversation, up to a seq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Whose.
    pub identity: Arc<Identity>,
    /// Of which conversation.
    pub conversation: Box<str>,
    /// Everything up to here.
    pub seq: u64,
}

/// A bounded collection.
#[derive(Debug)]
pub struct Positions {
    max: usize,
    devices: HashMap<Arc<Identity>, HashMap<Box<str>, u64>>,
    count: usize,
}

/// There is no room for a new position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many positions wait to be stored")]
pub struct TooMany;

impl Positions {
    /// Holds at most `max`.
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
        if let Some(known) = self
            .devices
            .get_mut(identity)
            .and_then(|it| it.get_mut(conversation))
        {
            *known = seq.max(*known);
            return Ok(());
        }
        if self.count >= self.max {
            return Err(TooMany);
        }
        self.devices
            .entry(Arc::clone(identity))
            .or_default()
            .insert(conversation.into(), seq);
        self.count += 1;
        Ok(())
    }

    /// Takes all.
    pub fn take(&mut self) -> Vec<Acknowledged> {
        self.count = 0;
        std::mem::take(&mut self.devices)
            .into_iter()
            .flat_map(|(identity, conversations)| {
                conversations
                    .into_iter()
                    .map(move |(conversation, seq)| Acknowledged {
                        identity: Arc::clone(&identity),
                        conversation,
                        seq,
                    })
            })
            .collect()
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
            .take()
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
        assert!(positions.is_empty());
    }

    #[test]
    fn a_new_position_beyond_the_bound_is_refused_and_a_known_one_rises() {
        let mut positions = Positions::new(1);
        assert_eq!(positions.note(&device("phone"), "c", 5), Ok(()));
        assert_eq!(positions.note(&device("phone"), "d", 5), Err(TooMany));
        assert_eq!(positions.note(&device("phone"), "c", 6), Ok(()));
        assert_eq!(positions.take().first().map(|it| it.seq), Some(6));
        assert_eq!(positions.note(&device("phone"), "d", 5), Ok(()));
    }
}
