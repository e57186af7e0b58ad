//! What all clients and the server told of one conversation.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::membership::Membership;
use super::slot_table::SlotTable;
use crate::interner::TextId;

/// One conversation of one tenant.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) tenant: TextId,
    pub(super) name: TextId,
    pub(super) slots: SlotTable,
    pub(super) membership: Membership,
    /// The lowest seq that the store is to hold: 1, or where retention left it.
    pub(super) floor: u64,
    /// The highest head that the server named to a client.
    pub(super) named_head: u64,
    /// The highest seq in the store.
    pub(super) stored_head: u64,
    /// Messages that somebody recalled, with the seq of the first recall.
    pub(super) recalled: HashMap<u64, u64>,
    /// Messages whose content did not come, with the first client that met it; None: the store.
    pub(super) withheld: BTreeMap<u64, Option<u32>>,
    /// Messages whose content came by a sync, with the highest head that such an answer named, and to whom.
    pub(super) shown: BTreeMap<u64, Shown>,
}

/// How a message was shown.
#[derive(Debug)]
pub(super) struct Shown {
    /// The head that was named with it: what it had taken back was to be withheld.
    pub(super) as_of: u64,
    pub(super) client: u32,
}

impl Conversation {
    pub(super) fn new(tenant: TextId, name: TextId) -> Self {
        Self {
            tenant,
            name,
            slots: SlotTable::default(),
            membership: Membership::default(),
            floor: 1,
            named_head: 0,
            stored_head: 0,
            recalled: HashMap::new(),
            withheld: BTreeMap::new(),
            shown: BTreeMap::new(),
        }
    }

    /// An answer to a sync that named this head held the contents of these messages.
    pub(super) fn showed(&mut self, seqs: &[u64], as_of: u64, client: u32) {
        // Nothing that came after the head can have taken it back.
        for seq in seqs.iter().filter(|seq| **seq < as_of) {
            let shown = self.shown.entry(*seq).or_insert(Shown { as_of, client });
            if shown.as_of < as_of {
                *shown = Shown { as_of, client };
            }
        }
    }

    /// The committed head, as far as it can be known.
    pub(super) fn head(&self, store_is_known: bool) -> u64 {
        if store_is_known {
            self.stored_head
        } else {
            self.slots.max_seq().max(self.named_head)
        }
    }
}
