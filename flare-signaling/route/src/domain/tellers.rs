//! Processes that tell something for as long as they stand.

use std::collections::BTreeMap;

use super::Refused;

/// Who tells, and what. Of two visits of one incarnation the later counts.
#[derive(Debug)]
pub struct Tellers<T> {
    /// What they are called, where there are too many.
    what: &'static str,
    max: usize,
    by_incarnation: BTreeMap<String, Teller<T>>,
    last_visit: u64,
}

/// One process.
#[derive(Debug)]
pub struct Teller<T> {
    /// Where it answers; empty: in process.
    pub endpoint: String,
    /// What it told.
    pub told: T,
    visit: u64,
    /// When its stream broke.
    broken_ms: Option<u64>,
}

impl<T: Default> Tellers<T> {
    /// At most `max` of them, called `what`.
    pub fn new(what: &'static str, max: usize) -> Self {
        Self {
            what,
            max,
            by_incarnation: BTreeMap::new(),
            last_visit: 0,
        }
    }

    /// A process begins to tell. What it told before is given back, and forgotten.
    ///
    /// # Errors
    /// There are too many.
    pub fn begin(
        &mut self,
        incarnation: &str,
        endpoint: &str,
    ) -> Result<(u64, Option<T>), Refused> {
        let is_known = self.by_incarnation.contains_key(incarnation);
        if !is_known && self.by_incarnation.len() >= self.max {
            return Err(Refused::Full {
                what: self.what,
                limit: self.max,
            });
        }
        self.last_visit += 1;
        let teller = Teller {
            endpoint: endpoint.to_owned(),
            told: T::default(),
            visit: self.last_visit,
            broken_ms: None,
        };
        let before = self.by_incarnation.insert(incarnation.to_owned(), teller);
        Ok((self.last_visit, before.map(|it| it.told)))
    }

    /// What the visit has told.
    ///
    /// # Errors
    /// A later visit has begun.
    pub fn told(&mut self, incarnation: &str, visit: u64) -> Result<&mut T, Refused> {
        let teller = self.by_incarnation.get_mut(incarnation);
        match teller.filter(|it| it.visit == visit) {
            Some(teller) => Ok(&mut teller.told),
            None => Err(Refused::Replaced {
                incarnation: incarnation.to_owned(),
            }),
        }
    }

    /// A visit ends with a farewell. What it told is forgotten, and given back; None: a later one has begun.
    pub fn leave(&mut self, incarnation: &str, visit: u64) -> Option<T> {
        self.told(incarnation, visit).ok()?;
        self.by_incarnation.remove(incarnation).map(|it| it.told)
    }

    /// A visit broke off: what it told stands until [`expire`](Self::expire) finds it too old.
    pub fn break_off(&mut self, incarnation: &str, visit: u64, now_ms: u64) {
        let teller = self.by_incarnation.get_mut(incarnation);
        if let Some(teller) = teller.filter(|it| it.visit == visit) {
            teller.broken_ms = Some(now_ms);
        }
    }

    /// When the first of those whose visit broke off did so.
    pub fn first_broken_ms(&self) -> Option<u64> {
        let broken = self.by_incarnation.values().filter_map(|it| it.broken_ms);
        broken.min()
    }

    /// Forgets whose visit broke off `grace_ms` ago, and gives back what they told.
    pub fn expire(&mut self, now_ms: u64, grace_ms: u64) -> Vec<(String, T)> {
        let is_over = |it: &Teller<T>| {
            it.broken_ms
                .is_some_and(|at| at.saturating_add(grace_ms) <= now_ms)
        };
        let gone = self.by_incarnation.extract_if(.., |_, it| is_over(it));
        gone.map(|(incarnation, it)| (incarnation, it.told))
            .collect()
    }

    /// Who is known and has not broken off, by incarnation.
    pub fn standing(&self) -> impl Iterator<Item = (&str, &Teller<T>)> {
        let all = self.by_incarnation.iter();
        all.filter(|(_, it)| it.broken_ms.is_none())
            .map(|(incarnation, it)| (incarnation.as_str(), it))
    }

    /// Who is known, by incarnation.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Teller<T>)> {
        self.by_incarnation
            .iter()
            .map(|(incarnation, it)| (incarnation.as_str(), it))
    }

    /// Where an incarnation answers.
    pub fn endpoint(&self, incarnation: &str) -> Option<&str> {
        let teller = self.by_incarnation.get(incarnation)?;
        Some(&teller.endpoint)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_incarnation.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_incarnation.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tellers() -> Tellers<Vec<u32>> {
        Tellers::new("announcers", 2)
    }

    #[test]
    fn a_later_visit_replaces_an_earlier_one_whichever_ends_first() {
        let mut all = tellers();
        let (first, _) = all.begin("a", "http://a").expect("room");
        all.told("a", first).expect("stands").push(7);
        let (second, before) = all.begin("a", "http://a2").expect("known already");
        assert_eq!(before, Some(vec![7]));
        assert!(matches!(
            all.told("a", first),
            Err(Refused::Replaced { .. })
        ));
        all.break_off("a", first, 10);
        assert_eq!(all.leave("a", first), None);
        assert_eq!(all.first_broken_ms(), None, "the second stands");
        all.told("a", second).expect("stands").push(8);
        assert_eq!(all.endpoint("a"), Some("http://a2"));
        assert_eq!(all.leave("a", second), Some(vec![8]));
        assert!(all.is_empty());
    }

    #[test]
    fn what_broke_off_stands_for_the_grace_unless_it_comes_back() {
        let mut all = tellers();
        let (a, _) = all.begin("a", "").expect("room");
        let (b, _) = all.begin("b", "").expect("room");
        all.break_off("a", a, 100);
        all.break_off("b", b, 50);
        assert_eq!(all.first_broken_ms(), Some(50));
        assert!(all.expire(149, 100).is_empty());
        all.begin("a", "").expect("known already");
        let gone: Vec<_> = all.expire(1_000, 100).into_iter().map(|it| it.0).collect();
        assert_eq!(gone, ["b"]);
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn there_are_no_more_than_may_be() {
        let mut all = tellers();
        all.begin("a", "").expect("room");
        all.begin("b", "").expect("room");
        let full = Refused::Full {
            what: "announcers",
            limit: 2,
        };
        assert_eq!(all.begin("c", "").expect_err("full"), full);
        assert!(all.begin("b", "").is_ok(), "it is one of the two");
    }
}
