//! What one connection sees, for the history checker.

use flare_checker::{Client, ClientEvent, Record};

/// Writes down what one connection sees; nothing for pairs that are not checked.
pub(super) struct Notes {
    client: Option<Client>,
    pub(super) records: Vec<Record>,
}

impl Notes {
    pub(super) fn of(client: Option<Client>) -> Self {
        Self {
            client,
            records: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, event: impl FnOnce() -> ClientEvent) {
        if let Some(client) = &self.client {
            let index = self.records.len() as u64 + 1;
            self.records.push(Record {
                client: client.clone(),
                index,
                time_ms: 0,
                event: event(),
            });
        }
    }
}
