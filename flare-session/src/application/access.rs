//! Who stands where: answers for the services that check sends and reads, and for this service's own use cases.

use std::{collections::HashSet, ops::Bound, sync::Arc};

use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;

use super::{
    heads::Heads,
    outbox::Outbox,
    ports::{DirectConversation, InboxStore, LargeMemberships, RosterStore, StreamEffects},
};
use crate::domain::{
    caller::{Actor, Caller, UserKey},
    ids::is_direct,
    membership::{Belonging, Membership, Roster, RosterMember, Standing},
    rule::Rule,
};

/// Memberships and rosters.
pub struct Access {
    rosters: Arc<dyn RosterStore>,
    inboxes: Arc<dyn InboxStore>,
    heads: Arc<Heads>,
    outbox: Arc<Outbox>,
    /// Places in large conversations that one answer names.
    max_large: usize,
}

/// Where a user asks to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The conversation.
    pub key: ConversationKey,
    /// The user.
    pub user: Arc<str>,
}

impl Access {
    /// Answers from these, of at most `max_large` places in large conversations at once.
    pub fn new(
        rosters: Arc<dyn RosterStore>,
        inboxes: Arc<dyn InboxStore>,
        heads: Arc<Heads>,
        outbox: Arc<Outbox>,
        max_large: usize,
    ) -> Self {
        Self {
            rosters,
            inboxes,
            heads,
            outbox,
            max_large,
        }
    }

    /// Answers in the order of the questions.
    pub async fn authorize(&self, questions: &[Question]) -> Result<Vec<Membership>, Refusal> {
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            answers.push(self.membership(&question.key, &question.user).await?);
        }
        metrics::counter!("flare_session_authorized_total").increment(answers.len() as u64);
        Ok(answers)
    }

    /// Where the user stands.
    pub async fn membership(
        &self,
        key: &ConversationKey,
        user: &str,
    ) -> Result<Membership, Refusal> {
        let Some(roster) = self.roster(key).await? else {
            return Ok(Membership::UNKNOWN);
        };
        let belonging = self.belonging_to(&roster, key, user).await?;
        Ok(Membership::of(&roster, belonging))
    }

    /// What the user is or was to a conversation with this roster.
    pub async fn belonging_to(
        &self,
        roster: &Roster,
        key: &ConversationKey,
        user: &str,
    ) -> Result<Option<Belonging>, Refusal> {
        let held = roster.members.as_ref().and_then(|it| it.get(user));
        if let Some(member) = held {
            return Ok(Some(Belonging::Active(*member)));
        }
        let user = Arc::from(user);
        let mut found = self
            .rosters
            .belonging(key, std::slice::from_ref(&user))
            .await?;
        Ok(found.remove(&user))
    }

    /// Which of the users are in the conversation.
    pub async fn active_among(
        &self,
        key: &ConversationKey,
        users: &[Arc<str>],
    ) -> Result<HashSet<Arc<str>>, Refusal> {
        let Some(roster) = self.roster(key).await? else {
            return Ok(HashSet::new());
        };
        if let Some(members) = &roster.members {
            let active = users.iter().filter(|it| members.contains_key(*it));
            return Ok(active.cloned().collect());
        }
        let found = self.rosters.belonging(key, users).await?;
        let active = found
            .into_iter()
            .filter(|(_, it)| matches!(it, Belonging::Active(_)));
        Ok(active.map(|(user, _)| user).collect())
    }

    /// A page of the members of a conversation with this roster, by user id.
    pub async fn members_after(
        &self,
        roster: &Roster,
        key: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Arc<str>, RosterMember)>, Refusal> {
        let Some(members) = &roster.members else {
            return Ok(self.rosters.members_after(key, after, limit).await?);
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = members
            .range::<str, _>((from, Bound::Unbounded))
            .take(limit);
        Ok(page
            .map(|(user, member)| (Arc::clone(user), *member))
            .collect())
    }

    /// In which large conversations some users are.
    pub async fn large_memberships(&self, users: &[UserKey]) -> Result<LargeMemberships, Refusal> {
        let found = self.rosters.large_memberships(users, self.max_large);
        Ok(found.await?)
    }

    /// The conversation's roster; None: there is no such conversation.
    ///
    /// A direct one whose first event has not come by is asked for at storage-reader: it exists by being written to.
    pub async fn roster(&self, key: &ConversationKey) -> Result<Option<Arc<Roster>>, Refusal> {
        self.outbox.settled(key).await;
        if let Some(roster) = self.rosters.roster(key).await? {
            return Ok(Some(roster));
        }
        if !is_direct(&key.conversation) {
            return Ok(None);
        }
        let Some(stored) = self.heads.committed(key).await? else {
            return Ok(None);
        };
        let Ok(participants) = <[Arc<str>; 2]>::try_from(stored.participants) else {
            return Ok(None);
        };
        let direct = DirectConversation {
            key: key.clone(),
            participants,
            time_ms: stored.head.time_ms,
        };
        self.inboxes
            .record(&StreamEffects {
                directs: vec![direct],
                ..StreamEffects::default()
            })
            .await?;
        self.rosters.forget(key);
        Ok(self.rosters.roster(key).await?)
    }

    /// The roster for a caller who may see the conversation: a member of it, or the system.
    ///
    /// A stranger is answered as if there were no such conversation, so that he learns nothing by asking; one who left knows that there is
    /// one, and is told that he is no member.
    pub async fn visible(
        &self,
        caller: &Caller,
        key: &ConversationKey,
    ) -> Result<Arc<Roster>, Refusal> {
        let not_found = || {
            Refusal::from(Rule::NotFound {
                conversation: Arc::clone(&key.conversation),
            })
        };
        let roster = self.roster(key).await?.ok_or_else(not_found)?;
        let Actor::User { id, .. } = &caller.actor else {
            return Ok(roster);
        };
        match self.belonging_to(&roster, key, id).await? {
            Some(Belonging::Active(_)) => Ok(roster),
            Some(Belonging::Former(_)) => Err(Rule::NotAMember {
                user: Arc::clone(id),
                conversation: Arc::clone(&key.conversation),
            }
            .into()),
            None => Err(not_found()),
        }
    }

    /// The membership of a user who is or was in the conversation; others learn nothing.
    pub async fn member_or_former(
        &self,
        key: &ConversationKey,
        user: &Arc<str>,
    ) -> Result<Membership, Refusal> {
        let membership = self.membership(key, user).await?;
        match membership.standing {
            Standing::Active(_) | Standing::Former => Ok(membership),
            Standing::Unknown | Standing::Stranger => Err(Rule::NotFound {
                conversation: Arc::clone(&key.conversation),
            }
            .into()),
        }
    }
}
