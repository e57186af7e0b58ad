//! What an event of a large conversation does here.

use std::{collections::BTreeSet, sync::Arc};

use flare_storage_model::ConversationKey;

use super::{LargeDirectory, UserKey};

/// What an event changes of who is a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nobody comes or goes.
    None,
    /// These join.
    Joined(Vec<Box<str>>),
    /// This one leaves or is removed.
    Gone(Box<str>),
    /// Nothing follows any more.
    Ended,
}

/// An event of a large conversation, as it comes to this gateway.
#[derive(Clone, Copy, Debug)]
pub struct LargeEvent<'a> {
    /// Where.
    pub key: &'a ConversationKey,
    /// Its place.
    pub seq: u64,
    /// Who comes and goes by it.
    pub change: &'a Change,
    /// It counts as a member event: who joins, goes, or may do something else.
    pub changes_members: bool,
    /// The seq of the last member event before it, or of a later one.
    pub member_seq: u64,
    /// Connections to which it goes in any case.
    pub connections: &'a [u64],
    /// They are those of all members: the conversation is large from here on.
    pub named_all: bool,
}

/// Who gets an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FanOut {
    /// Connections, each once.
    pub connections: Vec<u64>,
    /// Connections of users for whose places there is no room.
    pub no_room: Vec<u64>,
    /// Nobody here is in the conversation.
    pub is_unwanted: bool,
}

impl LargeDirectory {
    /// An event comes. Who does not get it is told of the new head by a hint, in time.
    pub fn event(&mut self, event: &LargeEvent<'_>, now_ms: u64) -> FanOut {
        let mut connections: BTreeSet<u64> = event.connections.iter().copied().collect();
        let named = self.named_here(event);
        let of_named = named.iter().filter_map(|it| self.users.get(it));
        connections.extend(of_named.flat_map(|it| it.connections.keys()));
        if self
            .conversations
            .get(event.key)
            .is_some_and(|it| !event.named_all && event.member_seq > it.as_of)
        {
            self.doubt(event.key, event.member_seq);
        }
        connections.extend(self.viewers(event));
        let no_room = self.apply(event, &named);
        let is_unwanted = !self.conversations.contains_key(event.key);
        if is_unwanted {
            self.announcers.unwanted(event.key);
        } else {
            self.owe_hint(event.key, event.seq, now_ms);
        }
        FanOut {
            connections: connections.into_iter().collect(),
            no_room,
            is_unwanted,
        }
    }

    /// The users connected here whom the event names.
    fn named_here(&self, event: &LargeEvent<'_>) -> Vec<Arc<UserKey>> {
        let named: &[Box<str>] = match event.change {
            Change::Joined(users) => users,
            Change::Gone(user) => std::slice::from_ref(user),
            Change::None | Change::Ended => &[],
        };
        let here = named.iter().filter_map(|user| {
            let key = UserKey {
                tenant: Arc::clone(&event.key.tenant),
                user: (**user).into(),
            };
            self.users.get_key_value(&key)
        });
        here.map(|(user, _)| Arc::clone(user)).collect()
    }

    /// Connections that view the conversation, of users who were in it at the event.
    fn viewers(&self, event: &LargeEvent<'_>) -> Vec<u64> {
        let Some(conversation) = self.conversations.get(event.key) else {
            return Vec::new();
        };
        let viewers = conversation.viewers.iter().filter(|(_, user)| {
            let member = conversation.members.get(*user);
            member.is_some_and(|it| it.is_certain() && it.joined_seq <= event.seq)
        });
        viewers.map(|(connection, _)| *connection).collect()
    }

    /// Member events were missed, the last of them at `member_seq`: whoever's place does not have it may be one no more.
    fn doubt(&mut self, key: &ConversationKey, member_seq: u64) {
        let last_question = self.questions.last();
        let Some(conversation) = self.conversations.get_mut(key) else {
            return;
        };
        conversation.as_of = member_seq;
        let outdated = conversation
            .members
            .iter_mut()
            .filter(|(_, it)| it.known < member_seq);
        for (user, member) in outdated {
            member.doubted_since = Some(last_question);
            if let Some(its) = self.users.get_mut(user) {
                its.unknown_since = Some(last_question);
                self.questions.wants(Arc::clone(user));
            }
        }
    }

    /// Takes in who comes and goes. Answers the connections of users for whom there is no room.
    fn apply(&mut self, event: &LargeEvent<'_>, named: &[Arc<UserKey>]) -> Vec<u64> {
        let (key, seq) = (event.key, event.seq);
        let mut no_room = Vec::new();
        let mut join = |directory: &mut Self, user: &Arc<UserKey>, joined_seq| {
            if directory.join(user, key, joined_seq, seq).is_err() {
                let its = directory.users.get(user);
                no_room.extend(its.into_iter().flat_map(|it| it.connections.keys()));
            }
        };
        match event.change {
            Change::Joined(_) => {
                for user in named {
                    join(self, user, seq);
                }
            }
            Change::Gone(_) => {
                for user in named {
                    let is_news = self.conversations.get(key).is_some_and(|it| {
                        let member = it.members.get(user);
                        // One who has come back since stays.
                        member.is_some_and(|member| member.known.max(it.as_of) < seq)
                    });
                    if is_news {
                        self.leave(user, key);
                    }
                }
            }
            Change::Ended => self.end(key),
            Change::None => {}
        }
        if event.named_all {
            let users = event
                .connections
                .iter()
                .filter_map(|it| self.by_connection.get(it));
            let users: Vec<_> = users.cloned().collect();
            for user in users.iter().filter(|it| !named.contains(it)) {
                // Since when he is one matters no more: nothing before this event comes as one of a large conversation.
                join(self, user, 0);
            }
        }
        if event.changes_members
            && let Some(conversation) = self.conversations.get_mut(key)
        {
            conversation.as_of = conversation.as_of.max(seq);
        }
        no_room
    }
}
