//! What stands in etcd of processes, as this one knows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Health;

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Where the process answers.
    pub(super) endpoint: String,
    /// How it is.
    pub(super) health: Health,
}

/// The key of a process as one service, behind the registry's prefix.
pub(super) fn key_of(service: &str, endpoint: &str) -> String {
    format!("{service}/{endpoint}")
}

/// Entries by key.
#[derive(Debug, Default)]
pub(super) struct Table {
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    entry: Entry,
    /// It was not there when all was read again: it may be about to register anew, and is believed until then.
    doubted: Option<Instant>,
}

impl Table {
    /// A key was written. One that says nothing sensible is as good as none.
    pub(super) fn put(&mut self, key: &str, value: &[u8]) {
        match serde_json::from_slice(value) {
            Ok(entry) => {
                let doubted = None;
                self.known.insert(key.to_owned(), Known { entry, doubted });
            }
            Err(error) => {
                tracing::warn!(%key, %error, "an entry of the registry is left out");
                self.known.remove(key);
            }
        }
    }

    /// A key is gone, by its owner's word or with its lease.
    pub(super) fn delete(&mut self, key: &str) {
        self.known.remove(key);
    }

    /// All that is there was read. What is missing is believed for as long as its owner may need to come back: a registry that was away has
    /// ended the leases of those that live. Whoever drained has gone.
    pub(super) fn replace<'a>(
        &mut self,
        all: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        now: Instant,
        grace: Duration,
    ) {
        for known in self.known.values_mut() {
            known.doubted = Some(now + grace);
        }
        for (key, value) in all {
            self.put(key, value);
        }
        self.known
            .retain(|_, known| known.doubted.is_none() || known.entry.health != Health::Draining);
    }

    /// Forgets those that have not come back by now.
    pub(super) fn settle(&mut self, now: Instant) {
        self.known
            .retain(|_, known| known.doubted.is_none_or(|until| now < until));
    }

    /// When there is something to settle.
    pub(super) fn next_doubt(&self) -> Option<Instant> {
        self.known.values().filter_map(|known| known.doubted).min()
    }

    /// Where a service is served, each endpoint once, in their order.
    pub(super) fn endpoints(&self, service: &str) -> Vec<String> {
        let prefix = key_of(service, "");
        let endpoints: BTreeSet<&str> = self
            .known
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter(|(_, known)| known.entry.health == Health::Serving)
            .map(|(_, known)| known.entry.endpoint.as_str())
            .collect();
        endpoints.into_iter().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn value(endpoint: &str, health: Health) -> Vec<u8> {
        let endpoint = endpoint.to_owned();
        serde_json::to_vec(&Entry { endpoint, health }).unwrap()
    }

    #[test]
    fn only_who_serves_the_service_is_found() {
        let mut table = Table::default();
        table.put("a/1", &value("1", Health::Serving));
        table.put("a/2", &value("2", Health::Registering));
        table.put("a/3", &value("3", Health::Draining));
        table.put("ab/4", &value("4", Health::Serving));
        table.put("a/5", b"{}");
        assert_eq!(table.endpoints("a"), ["1"]);
        table.put("a/1", &value("1", Health::Draining));
        assert_eq!(table.endpoints("a"), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_missing_when_all_is_read_again_is_believed_for_a_while() {
        let mut table = Table::default();
        let (serving, draining) = (value("x", Health::Serving), value("y", Health::Draining));
        let begin = Instant::now();
        for key in ["a/comes", "a/goes"] {
            table.put(key, &serving);
        }
        table.put("a/drains", &draining);
        table.replace([], begin, GRACE);
        assert_eq!(table.known.len(), 2, "whoever drained has gone");
        table.put("a/comes", &serving);
        table.settle(begin + GRACE / 2);
        assert_eq!(table.known.len(), 2);
        assert_eq!(table.next_doubt(), Some(begin + GRACE));
        table.settle(begin + GRACE);
        assert_eq!(table.known.keys().collect::<Vec<_>>(), ["a/comes"]);
        table.delete("a/comes");
        assert_eq!(table.endpoints("a"), [""; 0]);
    }
}
