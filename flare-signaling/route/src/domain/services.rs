//! SVID → endpoints of a business service.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Refused;

/// Endpoints of one service.
pub const MAX_OF_A_SERVICE: usize = 100;

/// Which business services answer where. A registration stands until it is ended.
#[derive(Debug)]
pub struct ServiceDirectory {
    max: usize,
    /// By SVID; by the registration's number, its endpoint.
    services: HashMap<String, BTreeMap<u64, String>>,
    count: usize,
    last: u64,
}

impl ServiceDirectory {
    /// With room for so many registrations.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            services: HashMap::new(),
            count: 0,
            last: 0,
        }
    }

    /// Answers the registration's number.
    ///
    /// # Errors
    /// There are too many, in all or of the service.
    pub fn register(&mut self, svid: &str, endpoint: &str) -> Result<u64, Refused> {
        let full = |what, limit| Err(Refused::Full { what, limit });
        if self.count >= self.max {
            return full("registrations of services", self.max);
        }
        let of_it = self.services.get(svid).map_or(0, BTreeMap::len);
        if of_it >= MAX_OF_A_SERVICE {
            return full("registrations of the service", MAX_OF_A_SERVICE);
        }
        self.last += 1;
        self.count += 1;
        let its = self.services.entry(svid.to_owned()).or_default();
        its.insert(self.last, endpoint.to_owned());
        Ok(self.last)
    }

    /// Ends a registration.
    pub fn end(&mut self, svid: &str, registration: u64) {
        let Some(its) = self.services.get_mut(svid) else {
            return;
        };
        if its.remove(&registration).is_some() {
            self.count -= 1;
        }
        if its.is_empty() {
            self.services.remove(svid);
        }
    }

    /// Where the service answers: sorted, each once.
    pub fn resolve(&self, svid: &str) -> Vec<String> {
        let its = self
            .services
            .get(svid)
            .into_iter()
            .flat_map(|it| it.values());
        let endpoints: BTreeSet<&String> = its.collect();
        endpoints.into_iter().cloned().collect()
    }

    /// How many registrations stand.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none stands.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_stands_as_long_as_one_of_its_registrations() {
        let mut all = ServiceDirectory::new(10);
        let first = all.register("shop", "http://b").expect("room");
        let again = all.register("shop", "http://b").expect("room");
        let other = all.register("shop", "http://a").expect("room");
        assert_eq!(all.resolve("shop"), ["http://a", "http://b"]);
        all.end("shop", first);
        all.end("shop", first);
        all.end("bank", again);
        assert_eq!(all.resolve("shop"), ["http://a", "http://b"]);
        all.end("shop", again);
        assert_eq!(all.resolve("shop"), ["http://a"]);
        all.end("shop", other);
        assert!(all.resolve("shop").is_empty() && all.is_empty());
    }

    #[test]
    fn registrations_are_bounded_in_all_and_of_one_service() {
        let mut all = ServiceDirectory::new(MAX_OF_A_SERVICE + 1);
        let registered: Vec<_> = (0..MAX_OF_A_SERVICE)
            .map(|_| all.register("shop", "http://a").expect("room"))
            .collect();
        assert!(matches!(
            all.register("shop", "http://a"),
            Err(Refused::Full {
                limit: MAX_OF_A_SERVICE,
                ..
            })
        ));
        all.register("bank", "http://c").expect("room");
        assert!(all.register("mill", "http://d").is_err(), "it is full");
        all.end("shop", registered[0]);
        assert!(all.register("mill", "http://d").is_ok());
        assert_eq!(all.len(), MAX_OF_A_SERVICE + 1);
    }
}
