//! Asking where users are.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use flare_storage_model::ConversationKey;

use super::{Hint, LargeDirectory, UserKey};

/// Whom to ask for, and which question was the last.
#[derive(Debug, Default)]
pub(super) struct Questions {
    last: u64,
    waiting: HashSet<Arc<UserKey>>,
    /// Their answer was not complete: they are asked for again after a pause.
    again: HashSet<Arc<UserKey>>,
    /// The last question had no answer.
    failed: bool,
}

/// A question for some users' places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Rising.
    pub number: u64,
    /// Whose.
    pub users: Vec<Arc<UserKey>>,
}

/// A user's place in a large conversation, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into the question's users.
    pub user: usize,
    /// The conversation's id.
    pub conversation: Arc<str>,
    /// Since when.
    pub joined_seq: u64,
    /// The last member event that the answer includes.
    pub as_of: u64,
}

/// What an answer leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// To be told: what came since the users were let in, and who is in a conversation no more.
    pub hints: Vec<Hint>,
    /// Connections of users for whose places there is no room.
    pub no_room: Vec<u64>,
}

impl Questions {
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn wants(&mut self, user: Arc<UserKey>) {
        self.again.remove(&user);
        self.waiting.insert(user);
    }

    pub(super) fn forget(&mut self, user: &UserKey) {
        self.waiting.remove(user);
        self.again.remove(user);
    }
}

impl LargeDirectory {
    /// The next question, for at most `max` users; None: nobody is to be asked for.
    pub fn ask(&mut self, max: usize) -> Option<Question> {
        let questions = &mut self.questions;
        let users: Vec<_> = questions.waiting.iter().take(max).cloned().collect();
        if users.is_empty() {
            return None;
        }
        for user in &users {
            questions.waiting.remove(user);
        }
        questions.last += 1;
        Some(Question {
            number: questions.last,
            users,
        })
    }

    /// A pause is over: who had no complete answer is asked for again.
    pub fn ask_again(&mut self) {
        let questions = &mut self.questions;
        questions.waiting.extend(questions.again.drain());
    }

    /// Whether somebody is to be asked for after a pause.
    pub fn has_incomplete(&self) -> bool {
        !self.questions.again.is_empty()
    }

    /// Whether the last question had no answer.
    pub fn has_failed(&self) -> bool {
        self.questions.failed
    }

    /// There is no answer: they are asked for again after a pause.
    pub fn failed(&mut self, question: Question) {
        self.questions.failed = true;
        let users = question.users.into_iter();
        let here = users.filter(|it| self.users.contains_key(it));
        self.questions.again.extend(here);
    }

    /// All are asked for again: something that was sent here may be lost.
    pub fn doubt_all(&mut self) {
        let last = self.questions.last;
        for (user, its) in &mut self.users {
            if its.is_registered {
                its.unknown_since = Some(last);
                self.questions.wants(Arc::clone(user));
            }
        }
    }

    /// The answer to a question: all places of its users but of those who are `incomplete`.
    pub fn answer(
        &mut self,
        question: &Question,
        places: Vec<Place>,
        incomplete: &[usize],
    ) -> Answered {
        self.questions.failed = false;
        let mut answered = Answered::default();
        let mut told: HashMap<usize, HashSet<Arc<str>>> = HashMap::new();
        let mut outdated: HashSet<usize> = incomplete.iter().copied().collect();
        for place in places {
            let Some(user) = question.users.get(place.user) else {
                continue;
            };
            let key =
                ConversationKey::new(Arc::clone(&user.tenant), Arc::clone(&place.conversation));
            let known = self.conversations.get(&key);
            let has_place = known.is_some_and(|it| {
                let member = it.members.get(user);
                member.is_some_and(|it| it.is_certain())
            });
            if known.is_some_and(|it| place.as_of < it.as_of) && !has_place {
                // He may have left by an event that has come since.
                outdated.insert(place.user);
                continue;
            }
            told.entry(place.user)
                .or_default()
                .insert(Arc::clone(&place.conversation));
            match self.join(user, &key, place.joined_seq, place.as_of) {
                Ok(true) => answered.hints.extend(self.hint_at(&key, user)),
                Ok(false) => {}
                Err(_) => {
                    let its = self.users.get(user);
                    let connections = its.into_iter().flat_map(|it| it.connections.keys());
                    answered.no_room.extend(connections);
                }
            }
        }
        for (index, user) in question.users.iter().enumerate() {
            let told = told.remove(&index).unwrap_or_default();
            let is_outdated = outdated.contains(&index);
            let gone = self.settle(user, question.number, is_outdated, &told);
            answered.hints.extend(gone);
        }
        answered
    }

    /// His places are those that were told, if the question was put late enough and its answer is complete. Answers what he is told of those that he has no more.
    fn settle(
        &mut self,
        user: &Arc<UserKey>,
        number: u64,
        is_outdated: bool,
        told: &HashSet<Arc<str>>,
    ) -> Vec<Hint> {
        let Some(its) = self.users.get_mut(user) else {
            return Vec::new();
        };
        let Some(since) = its.unknown_since else {
            return Vec::new();
        };
        if is_outdated {
            self.questions.again.insert(Arc::clone(user));
            return Vec::new();
        }
        if number <= since {
            self.questions.wants(Arc::clone(user));
            return Vec::new();
        }
        its.unknown_since = None;
        let in_doubt = its.places.iter().filter(|key| {
            let member = self.conversations.get(*key);
            let member = member.and_then(|it| it.members.get(user));
            let is_doubted = member.is_some_and(|it| !it.is_certain());
            is_doubted && !told.contains(&key.conversation)
        });
        let gone: Vec<_> = in_doubt.cloned().collect();
        let hints = gone.iter().filter_map(|key| {
            let hint = self.hint_at(key, user)?;
            Some(Hint {
                connections: Vec::new(),
                in_doubt: hint.connections,
                ..hint
            })
        });
        let hints = hints.collect();
        for key in gone {
            self.leave(user, &key);
        }
        hints
    }
}
