//! Who stands where: answers for the services that check sends and reads, and for this service's own use cases.

use std::sync::Arc;

use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;

use super::{
    heads::Heads,
    outbox::Outbox,
    ports::{DirectConversation, InboxStore, RosterStore, StreamEffects},
};
use crate::domain::{
    caller::{Actor, Caller},
    ids::is_direct,
    membership::{Membership, Roster, Standing},
    rule::Rule,
};

/// Memberships and rosters.
pub struct Access {
    rosters: Arc<dyn RosterStore>,
    inboxes: Arc<dyn InboxStore>,
    heads: Arc<Heads>,
    outbox: Arc<Outbox>,
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
    /// Answers from these.
    pub fn new(
        rosters: Arc<dyn RosterStore>,
        inboxes: Arc<dyn InboxStore>,
        heads: Arc<Heads>,
        outbox: Arc<Outbox>,
    ) -> Self {
        Self {
            rosters,
            inboxes,
            heads,
            outbox,
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
        let former = match roster.members.contains_key(user) {
            true => None,
            false => self.rosters.former(key, user).await?,
        };
        Ok(Membership::of(&roster, user, former))
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
        if roster.members.contains_key(id) {
            return Ok(roster);
        }
        Err(match self.rosters.former(key, id).await? {
            Some(_) => Rule::NotAMember {
                user: Arc::clone(id),
                conversation: Arc::clone(&key.conversation),
            }
            .into(),
            None => not_found(),
        })
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
