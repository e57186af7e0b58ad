//! Conversation → the gateways that have devices for it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{Refused, tellers::Tellers};

/// A conversation of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conversation {
    /// The tenant's id.
    pub tenant: String,
    /// The conversation's id.
    pub conversation: String,
}

/// What a gateway has told.
#[derive(Debug, Default)]
struct Told {
    conversations: HashSet<Arc<Conversation>>,
    /// Its first statement has come to its end.
    is_whole: bool,
}

/// Where a gateway answers that has told all that interests it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gateway {
    /// Made at its start.
    pub incarnation: String,
    /// Empty: in process only.
    pub endpoint: String,
}

/// Which conversations interest which gateways. `by_conversation` is always what the gateways have told, turned round.
#[derive(Debug)]
pub struct InterestDirectory {
    max: usize,
    gateways: Tellers<Told>,
    /// Incarnations.
    by_conversation: HashMap<Arc<Conversation>, BTreeSet<Arc<str>>>,
    /// Pairs of a gateway and a conversation.
    count: usize,
}

impl InterestDirectory {
    /// With room for so many gateways, and so many pairs of a gateway and a conversation.
    pub fn new(max_gateways: usize, max: usize) -> Self {
        Self {
            max,
            gateways: Tellers::new("gateways", max_gateways),
            by_conversation: HashMap::new(),
            count: 0,
        }
    }

    /// A gateway begins to tell. Answers the number of its visit.
    ///
    /// # Errors
    /// There are too many gateways.
    pub fn begin(&mut self, incarnation: &str, endpoint: &str) -> Result<u64, Refused> {
        let (visit, before) = self.gateways.begin(incarnation, endpoint)?;
        self.forget(
            incarnation,
            before.into_iter().flat_map(|it| it.conversations),
        );
        Ok(visit)
    }

    /// Interest begins and ends.
    ///
    /// # Errors
    /// A later visit has begun, or there is no room; what was before the conversation for which there is none has been taken in.
    pub fn tell(
        &mut self,
        incarnation: &str,
        visit: u64,
        begun: Vec<Conversation>,
        ended: Vec<Conversation>,
    ) -> Result<(), Refused> {
        let its = self.gateways.told(incarnation, visit)?;
        let gone: Vec<_> = ended
            .iter()
            .filter_map(|it| its.conversations.take(it))
            .collect();
        self.forget(incarnation, gone.into_iter());
        let gateway: Arc<str> = incarnation.into();
        for conversation in begun {
            let its = self.gateways.told(incarnation, visit)?;
            if its.conversations.contains(&conversation) {
                continue;
            }
            if self.count >= self.max {
                return Err(Refused::Full {
                    what: "interests",
                    limit: self.max,
                });
            }
            let known = self.by_conversation.get_key_value(&conversation);
            let name = known.map_or_else(|| Arc::new(conversation), |(name, _)| Arc::clone(name));
            its.conversations.insert(Arc::clone(&name));
            let gateways = self.by_conversation.entry(name).or_default();
            gateways.insert(Arc::clone(&gateway));
            self.count += 1;
        }
        Ok(())
    }

    /// All that interests the gateway has been told; from here on, what changes.
    ///
    /// # Errors
    /// A later visit has begun.
    pub fn is_whole(&mut self, incarnation: &str, visit: u64) -> Result<(), Refused> {
        self.gateways.told(incarnation, visit)?.is_whole = true;
        Ok(())
    }

    /// A visit ends with a farewell.
    pub fn leave(&mut self, incarnation: &str, visit: u64) {
        let told = self.gateways.leave(incarnation, visit);
        self.forget(
            incarnation,
            told.into_iter().flat_map(|it| it.conversations),
        );
    }

    /// A visit broke off.
    pub fn break_off(&mut self, incarnation: &str, visit: u64, now_ms: u64) {
        self.gateways.break_off(incarnation, visit, now_ms);
    }

    /// When the first of those whose visit broke off did so.
    pub fn first_broken_ms(&self) -> Option<u64> {
        self.gateways.first_broken_ms()
    }

    /// Forgets whose visit broke off so long ago.
    pub fn expire(&mut self, now_ms: u64, grace_ms: u64) {
        for (incarnation, told) in self.gateways.expire(now_ms, grace_ms) {
            self.forget(&incarnation, told.conversations.into_iter());
        }
    }

    /// Where the gateways answer that a conversation interests: sorted, each once.
    pub fn interested(&self, conversation: &Conversation) -> BTreeSet<&str> {
        let gateways = self.by_conversation.get(conversation).into_iter().flatten();
        gateways
            .filter_map(|it| self.gateways.endpoint(it))
            .collect()
    }

    /// The gateways that have told all, and whose visits stand.
    pub fn telling(&self) -> Vec<Gateway> {
        let whole = self.gateways.standing().filter(|(_, it)| it.told.is_whole);
        whole
            .map(|(incarnation, it)| Gateway {
                incarnation: incarnation.to_owned(),
                endpoint: it.endpoint.clone(),
            })
            .collect()
    }

    /// Which of these gateways, by index and in their order, a conversation interests. They are sorted.
    pub fn interested_of(&self, gateways: &[Gateway], conversation: &Conversation) -> Vec<usize> {
        let interested = self.by_conversation.get(conversation).into_iter().flatten();
        interested
            .filter_map(|incarnation| {
                let found = gateways.binary_search_by(|it| (*it.incarnation).cmp(incarnation));
                found.ok()
            })
            .collect()
    }

    /// Pairs of a gateway and a conversation.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing interests anybody.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn forget(
        &mut self,
        incarnation: &str,
        conversations: impl Iterator<Item = Arc<Conversation>>,
    ) {
        for conversation in conversations {
            self.count -= 1;
            if let Some(gateways) = self.by_conversation.get_mut(&conversation) {
                gateways.remove(incarnation);
                if gateways.is_empty() {
                    self.by_conversation.remove(&conversation);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<Conversation> {
        let conversation = |name: &&str| Conversation {
            tenant: "default".to_owned(),
            conversation: (*name).to_owned(),
        };
        names.iter().map(conversation).collect()
    }

    fn interested(all: &InterestDirectory, name: &str) -> Vec<String> {
        let endpoints = all.interested(&named(&[name])[0]);
        endpoints.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn gateways_are_found_by_what_interests_them() {
        let mut all = InterestDirectory::new(10, 100);
        let a = all.begin("a", "http://a").expect("room");
        let b = all.begin("b", "http://b").expect("room");
        all.tell("a", a, named(&["x", "y", "x"]), Vec::new())
            .expect("told");
        all.tell("b", b, named(&["y"]), Vec::new()).expect("told");
        assert_eq!(interested(&all, "y"), ["http://a", "http://b"]);
        assert_eq!(
            (interested(&all, "x"), all.len()),
            (vec!["http://a".to_owned()], 3)
        );
        let elsewhere = Conversation {
            tenant: "other".to_owned(),
            conversation: "y".to_owned(),
        };
        assert!(all.interested(&elsewhere).is_empty());
        all.tell("a", a, Vec::new(), named(&["y", "never"]))
            .expect("told");
        assert_eq!(interested(&all, "y"), ["http://b"]);
        all.leave("b", b);
        assert_eq!((interested(&all, "y").len(), all.len()), (0, 1));
    }

    #[test]
    fn a_gateway_that_comes_again_is_known_by_what_it_tells_then() {
        let mut all = InterestDirectory::new(10, 100);
        let first = all.begin("a", "http://a").expect("room");
        all.tell("a", first, named(&["x", "y"]), Vec::new())
            .expect("told");
        all.break_off("a", first, 0);
        let second = all.begin("a", "http://a").expect("room");
        all.tell("a", second, named(&["y"]), Vec::new())
            .expect("told");
        all.expire(10_000, 1);
        assert!(interested(&all, "x").is_empty());
        assert_eq!(interested(&all, "y"), ["http://a"]);
        assert!(all.tell("a", first, named(&["x"]), Vec::new()).is_err());
        all.break_off("a", second, 20_000);
        all.expire(20_001, 1);
        assert!(all.is_empty() && all.by_conversation.is_empty());
    }

    #[test]
    fn a_gateway_counts_as_telling_from_the_end_of_its_statement_until_it_breaks_off() {
        let telling = |all: &InterestDirectory| -> Vec<String> {
            all.telling().into_iter().map(|it| it.incarnation).collect()
        };
        let mut all = InterestDirectory::new(10, 100);
        let a = all.begin("a", "http://a").expect("room");
        let b = all.begin("b", "http://b").expect("room");
        all.tell("a", a, named(&["x"]), Vec::new()).expect("told");
        all.tell("b", b, named(&["x"]), Vec::new()).expect("told");
        assert!(telling(&all).is_empty());
        all.is_whole("b", b).expect("stands");
        assert_eq!(telling(&all), ["b"]);
        let gateways = all.telling();
        assert_eq!(all.interested_of(&gateways, &named(&["x"])[0]), [0]);
        assert!(all.interested_of(&gateways, &named(&["y"])[0]).is_empty());
        all.is_whole("a", a).expect("stands");
        assert_eq!(all.interested_of(&all.telling(), &named(&["x"])[0]), [0, 1]);
        all.break_off("b", b, 10);
        assert_eq!(telling(&all), ["a"]);
        let again = all.begin("b", "http://b").expect("room");
        assert_eq!(telling(&all), ["a"], "it has to say all again");
        all.is_whole("b", again).expect("stands");
        assert_eq!(telling(&all), ["a", "b"]);
        assert!(all.is_whole("b", b).is_err());
    }

    #[test]
    fn interests_are_bounded() {
        let mut all = InterestDirectory::new(10, 2);
        let a = all.begin("a", "http://a").expect("room");
        let full = all.tell("a", a, named(&["x", "y", "z"]), Vec::new());
        assert_eq!(
            full,
            Err(Refused::Full {
                what: "interests",
                limit: 2
            })
        );
        all.tell("a", a, named(&["z"]), named(&["x"]))
            .expect("room again");
        assert_eq!((interested(&all, "z").len(), all.len()), (1, 2));
    }
}
