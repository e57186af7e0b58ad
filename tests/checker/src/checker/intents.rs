//! What was meant to be sent, by client id.

use crate::interner::TextId;
use crate::record::Kind;

/// [`crate::Target`] by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetId {
    Conversation(TextId),
    User(TextId),
}

/// One content of one command, as one client meant it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meant {
    pub(super) client: u32,
    pub(super) tenant: TextId,
    pub(super) sender: TextId,
    pub(super) target: TargetId,
    pub(super) body: TextId,
    pub(super) kind: Kind,
}

const NONE: u32 = u32::MAX;

/// Lists of [`Meant`] by client id. Nearly all have one entry, so they are chained through one vector.
#[derive(Debug, Default)]
pub(super) struct Intents {
    heads: Vec<u32>,
    chain: Vec<(Meant, u32)>,
}

impl Intents {
    /// False if the very same was meant before.
    pub(super) fn add(&mut self, client_id: TextId, meant: Meant) -> bool {
        if self.of(client_id).any(|known| *known == meant) {
            return false;
        }
        let at = client_id as usize;
        if self.heads.len() <= at {
            self.heads.resize(at + 1, NONE);
        }
        let link = u32::try_from(self.chain.len()).unwrap_or(NONE);
        self.chain.push((meant, self.heads[at]));
        self.heads[at] = link;
        true
    }

    /// The latest first.
    pub(super) fn of(&self, client_id: TextId) -> impl Iterator<Item = &Meant> {
        let mut next = self.heads.get(client_id as usize).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let (meant, after) = self.chain.get(next as usize)?;
            next = *after;
            Some(meant)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_what_was_meant_by_a_client_id_latest_first() {
        let meant = |body| Meant {
            client: 0,
            tenant: 0,
            sender: 0,
            target: TargetId::User(1),
            body,
            kind: Kind::Message,
        };
        let mut intents = Intents::default();
        assert!(intents.add(5, meant(1)));
        assert!(intents.add(2, meant(9)));
        assert!(intents.add(5, meant(2)));
        assert!(!intents.add(5, meant(1)));
        assert_eq!(
            intents.of(5).map(|meant| meant.body).collect::<Vec<_>>(),
            [2, 1]
        );
        assert_eq!(intents.of(2).count(), 1);
        assert_eq!(intents.of(3).count(), 0);
    }
}
