//! What all clients and the server told of one conversation.

use std::collections::BTreeMap;

use hashbrown::HashSet;

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
    /// Messages that somebody recalled.
    pub(super) recalled: HashSet<u64>,
    /// Messages whose content did not come, with the first client that met it.
    pub(super) withheld: BTreeMap<u64, u32>,
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
            recalled: HashSet::new(),
            withheld: BTreeMap::new(),
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
