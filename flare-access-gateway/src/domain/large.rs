//! Which large conversations the users connected here are in, and who of them views one.
//!
//! # Why nobody gets what he may not
//!
//! A user's place in a conversation is learned from flare-session, as of one of its member events, or from a member event that names him, which push-server
//! sends to wherever he is connected. [`Conversation::as_of`] is the seq up to which all places here have every member event of the conversation. Each
//! event comes with the seq of the last member event before it: if that is above, some were missed. Then every place that may have changed is in
//! doubt: its user is told to sync his inbox and nothing else, until flare-session has said where he is.
//!
//! # Why nobody is left out
//!
//! A user is asked for after his connection is registered with presence. Who joins before is found by that question, which says so where the change has
//! no place yet; who joins after is named to his gateway. Whenever something that was sent here may be lost, all are asked for again.

mod events;
mod hints;
mod interest;
mod questions;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use flare_storage_model::ConversationKey;

pub use self::{
    events::{Change, FanOut, LargeEvent},
    hints::Hint,
    interest::{Changes, MAX_CHANGES},
    questions::{Place, Question},
};
use self::{hints::Pending, interest::Announcers, questions::Questions};

/// A user of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserKey {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The user's id in it.
    pub user: Arc<str>,
}

impl UserKey {
    /// Names a user.
    pub fn new(tenant: &str, user: &str) -> Self {
        Self {
            tenant: tenant.into(),
            user: user.into(),
        }
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Pairs of a user and a large conversation of his.
    pub places: usize,
    /// Conversations that one connection views.
    pub views: usize,
    /// Between two hints at a conversation's head.
    pub hint_ms: u64,
}

/// A connection views as many conversations as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a connection views at most {0} conversations")]
pub struct TooManyViews(pub usize);

/// The users here, their connections, and the large conversations that they are in.
///
/// `by_connection` is `users` turned round; each place stands in `users` and in `conversations`; no conversation is without one.
#[derive(Debug)]
pub struct LargeDirectory {
    bounds: Bounds,
    users: HashMap<Arc<UserKey>, User>,
    by_connection: HashMap<u64, Arc<UserKey>>,
    conversations: HashMap<Arc<ConversationKey>, Conversation>,
    /// What a connection's device shows, whether its user is in it or not.
    views: HashMap<u64, Vec<Arc<ConversationKey>>>,
    /// How many there are in all.
    places: usize,
    questions: Questions,
    /// When hints are due, in milliseconds. What a conversation says of it counts.
    due: BTreeMap<u64, Vec<Arc<ConversationKey>>>,
    announcers: Announcers,
}

#[derive(Debug, Default)]
struct User {
    /// Each with whether its client was let in: it may have synced already.
    connections: BTreeMap<u64, bool>,
    places: HashSet<Arc<ConversationKey>>,
    /// His places are those of an answer to a question above this number. None: they are known.
    unknown_since: Option<u64>,
    /// A connection of his was registered, so he may be asked for.
    is_registered: bool,
}

#[derive(Debug)]
struct Conversation {
    /// Every place has all member events up to this seq.
    as_of: u64,
    members: HashMap<Arc<UserKey>, Member>,
    /// Connections of members that view it.
    viewers: HashMap<u64, Arc<UserKey>>,
    pending: Pending,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    joined_seq: u64,
    /// His place has all member events up to this seq, and up to the conversation's.
    known: u64,
    /// Only an answer to a question above this number says whether he is one.
    doubted_since: Option<u64>,
}

impl LargeDirectory {
    /// Nobody is connected.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            users: HashMap::new(),
            by_connection: HashMap::new(),
            conversations: HashMap::new(),
            views: HashMap::new(),
            places: 0,
            questions: Questions::default(),
            due: BTreeMap::new(),
            announcers: Announcers::default(),
        }
    }

    /// A connection comes, which presence does not know yet.
    pub fn connect(&mut self, user: UserKey, connection: u64) {
        let user = match self.users.get_key_value(&user) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(user),
        };
        let last_question = self.questions.last();
        let entry = self.users.entry(Arc::clone(&user));
        let its = entry.or_insert_with(|| User {
            unknown_since: Some(last_question),
            ..User::default()
        });
        its.connections.insert(connection, false);
        self.by_connection.insert(connection, user);
    }

    /// Presence knows it. True: its user has to be asked for.
    pub fn registered(&mut self, connection: u64) -> bool {
        let last_question = self.questions.last();
        let Some(user) = self.by_connection.get(&connection) else {
            return false;
        };
        let Some(its) = self.users.get_mut(user).filter(|it| !it.is_registered) else {
            return false;
        };
        its.is_registered = true;
        its.unknown_since = Some(last_question);
        self.questions.wants(Arc::clone(user));
        true
    }

    /// Whether all is known of a connection's user; also if it has ended.
    pub fn is_known(&self, connection: u64) -> bool {
        let user = self.by_connection.get(&connection);
        user.and_then(|it| self.users.get(it))
            .is_none_or(|it| it.unknown_since.is_none())
    }

    /// Its client is let in: what it could miss from here on, it is told.
    pub fn begins(&mut self, connection: u64) {
        let user = self.by_connection.get(&connection);
        if let Some(its) = user.and_then(|it| self.users.get_mut(it)) {
            its.connections.insert(connection, true);
        }
    }

    /// A connection has ended.
    pub fn disconnect(&mut self, connection: u64) {
        let Some(user) = self.by_connection.remove(&connection) else {
            return;
        };
        for key in self.views.remove(&connection).into_iter().flatten() {
            if let Some(conversation) = self.conversations.get_mut(&key) {
                conversation.viewers.remove(&connection);
            }
        }
        let Some(its) = self.users.get_mut(&user) else {
            return;
        };
        its.connections.remove(&connection);
        if its.connections.is_empty() {
            for key in its.places.clone() {
                self.leave(&user, &key);
            }
            self.users.remove(&user);
            self.questions.forget(&user);
        }
    }

    /// A connection begins or ends to view a conversation. Answers the head that it is to be told at once: what came shortly before.
    ///
    /// # Errors
    /// It views too many.
    pub fn view(
        &mut self,
        connection: u64,
        conversation: &str,
        active: bool,
    ) -> Result<Option<u64>, TooManyViews> {
        let Some(user) = self.by_connection.get(&connection) else {
            return Ok(None);
        };
        let key = ConversationKey::new(Arc::clone(&user.tenant), conversation);
        if !active {
            self.unview(connection, &key);
            return Ok(None);
        }
        let views = self.views.entry(connection).or_default();
        if !views.iter().any(|it| **it == key) {
            if views.len() >= self.bounds.views {
                return Err(TooManyViews(self.bounds.views));
            }
            views.push(Arc::new(key.clone()));
        }
        let Some(its) = self.conversations.get_mut(&key) else {
            return Ok(None);
        };
        let Some(member) = its.members.get(user) else {
            return Ok(None);
        };
        its.viewers.insert(connection, Arc::clone(user));
        Ok(its.pending.head().filter(|_| member.is_certain()))
    }

    fn unview(&mut self, connection: u64, key: &ConversationKey) {
        if let Some(views) = self.views.get_mut(&connection) {
            views.retain(|it| **it != *key);
            if views.is_empty() {
                self.views.remove(&connection);
            }
        }
        if let Some(its) = self.conversations.get_mut(key) {
            its.viewers.remove(&connection);
        }
    }

    /// How many pairs of a user and a large conversation there are.
    pub fn places(&self) -> usize {
        self.places
    }

    /// How many large conversations there are.
    pub fn conversations(&self) -> usize {
        self.conversations.len()
    }

    /// Gives a user a place, or makes it certain, as of `known`. True: he had none, or it was in doubt.
    ///
    /// # Errors
    /// There is no room; nothing has changed.
    fn join(
        &mut self,
        user: &Arc<UserKey>,
        key: &ConversationKey,
        joined_seq: u64,
        known: u64,
    ) -> Result<bool, NoRoom> {
        let Some(its) = self.users.get_mut(user) else {
            return Ok(false);
        };
        let conversation = self.conversations.get(key);
        let as_of = conversation.map_or(0, |it| it.as_of);
        let before = conversation.and_then(|it| it.members.get(user)).copied();
        let is_outdated = before.is_some_and(|it| match it.is_certain() {
            true => it.known.max(as_of) >= known,
            // What was missed may be later than this.
            false => as_of > known,
        });
        if is_outdated {
            return Ok(false);
        }
        if before.is_none() && self.places >= self.bounds.places {
            return Err(NoRoom);
        }
        let key = match self.conversations.get_key_value(key) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(key.clone()),
        };
        let conversation = self
            .conversations
            .entry(Arc::clone(&key))
            .or_insert_with(|| {
                self.announcers.changed(&key);
                Conversation {
                    as_of: known,
                    members: HashMap::new(),
                    viewers: HashMap::new(),
                    pending: Pending::default(),
                }
            });
        conversation.as_of = conversation.as_of.min(known);
        let member = Member {
            joined_seq,
            known,
            doubted_since: None,
        };
        if conversation
            .members
            .insert(Arc::clone(user), member)
            .is_none()
        {
            self.places += 1;
            for connection in its.connections.keys() {
                let views = self.views.get(connection).into_iter().flatten();
                if views.into_iter().any(|it| *it == key) {
                    conversation.viewers.insert(*connection, Arc::clone(user));
                }
            }
            its.places.insert(key);
        }
        Ok(before.is_none_or(|it| !it.is_certain()))
    }

    /// Takes a user's place away.
    fn leave(&mut self, user: &Arc<UserKey>, key: &ConversationKey) {
        let Some(conversation) = self.conversations.get_mut(key) else {
            return;
        };
        if conversation.members.remove(user).is_none() {
            return;
        }
        self.places -= 1;
        conversation.viewers.retain(|_, whose| whose != user);
        let is_empty = conversation.members.is_empty();
        if let Some(its) = self.users.get_mut(user) {
            its.places.remove(key);
        }
        if is_empty && let Some((key, _)) = self.conversations.remove_entry(key) {
            self.announcers.changed(&key);
        }
    }

    /// Nothing comes of the conversation any more.
    fn end(&mut self, key: &ConversationKey) {
        let members = self.conversations.get(key).map(|it| &it.members);
        let users: Vec<_> = members
            .into_iter()
            .flat_map(HashMap::keys)
            .cloned()
            .collect();
        for user in users {
            self.leave(&user, key);
        }
    }
}

/// There are as many places as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoRoom;

impl Member {
    const fn is_certain(&self) -> bool {
        self.doubted_since.is_none()
    }
}

#[cfg(test)]
mod tests;
