//! Plain reads: a conversation, its members, their positions.

use std::{collections::HashMap, sync::Arc};

use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;

use super::{
    access::Access,
    delivered::Delivered,
    delivered_buffer::keep_foremost,
    ports::{MemberPositions, PositionStore},
    positions::Positions,
    refusals::bad_token,
};
use crate::domain::{
    caller::Caller,
    membership::{Belonging, Roster, RosterMember},
    role::Role,
    token::{decode_page, encode_page},
};

const MEMBERS: &str = "members";
const POSITIONS: &str = "positions";

/// Answers plain reads.
pub struct Queries {
    pub(crate) access: Arc<Access>,
    pub(crate) store: Arc<dyn PositionStore>,
    pub(crate) positions: Arc<Positions>,
    pub(crate) delivered: Arc<Delivered>,
}

/// A page of a list, and where the next one begins; empty: it was the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// For the next one.
    pub next: String,
}

/// A page of a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterPage {
    /// The version that the page is taken from.
    pub version: u64,
    /// Whether it is the version that the caller has: then the page is empty.
    pub unchanged: bool,
    /// Members, by user id.
    pub members: Page<(Arc<str>, RosterMember)>,
}

impl Queries {
    /// A conversation that the caller may see, with his role in it.
    pub async fn conversation(
        &self,
        caller: &Caller,
        key: &ConversationKey,
    ) -> Result<(Arc<Roster>, Option<Role>), Refusal> {
        let roster = self.access.visible(caller, key).await?;
        let belonging = match caller.actor.user() {
            Some(user) => self.access.belonging_to(&roster, key, user).await?,
            None => None,
        };
        let role = match belonging {
            Some(Belonging::Active(member)) => Some(member.role),
            Some(Belonging::Former(_)) | None => None,
        };
        Ok((roster, role))
    }

    /// A page of the members of a conversation that the caller may see.
    pub async fn members(
        &self,
        caller: &Caller,
        key: &ConversationKey,
        page_size: usize,
        token: &str,
    ) -> Result<Page<(Arc<str>, RosterMember)>, Refusal> {
        let roster = self.access.visible(caller, key).await?;
        self.page_of(&roster, key, page_size, token).await
    }

    /// A page of a roster, for services. None: there is no such conversation.
    ///
    /// The version of a direct conversation is 1 for ever: its first event names both users.
    pub async fn roster(
        &self,
        key: &ConversationKey,
        known_version: u64,
        page_size: usize,
        token: &str,
    ) -> Result<Option<RosterPage>, Refusal> {
        let Some(roster) = self.access.roster(key).await? else {
            return Ok(None);
        };
        let version = roster.as_of.max(1);
        let unchanged = known_version == version && token.is_empty();
        let members = match unchanged {
            true => Page {
                items: Vec::new(),
                next: String::new(),
            },
            false => self.page_of(&roster, key, page_size, token).await?,
        };
        Ok(Some(RosterPage {
            version,
            unchanged,
            members,
        }))
    }

    /// A page of the members' positions, for members and the system: of each member those of the devices that are kept.
    pub async fn positions(
        &self,
        caller: &Caller,
        key: &ConversationKey,
        page_size: usize,
        token: &str,
    ) -> Result<Page<MemberPositions>, Refusal> {
        let roster = self.access.visible(caller, key).await?;
        let after = after(POSITIONS, key, token)?;
        // Waiting positions are read before the rows: what is written in between shows in those.
        let members = self
            .access
            .members_after(&roster, key, after.as_deref(), page_size);
        let waiting: HashMap<_, _> = members
            .await?
            .iter()
            .map(|(user, _)| {
                let read = self.positions.shown_in(key, user);
                let delivered = self.delivered.waiting_of(key, user);
                (Arc::clone(user), (read, delivered))
            })
            .collect();
        let mut items = self
            .store
            .page(key, after.as_deref(), page_size + 1)
            .await?;
        let more = items.len() > page_size;
        items.truncate(page_size);
        for member in &mut items {
            let Some((read, delivered)) = waiting.get(&member.user) else {
                continue;
            };
            member.read = member.read.max(*read);
            for (device, seq) in delivered {
                match member
                    .delivered
                    .iter_mut()
                    .find(|(known, _)| known == device)
                {
                    Some((_, known)) => *known = *seq.max(known),
                    None => member.delivered.push((Arc::clone(device), *seq)),
                }
            }
            keep_foremost(&mut member.delivered);
        }
        let next = match items.last().filter(|_| more) {
            Some(last) => encode_page(POSITIONS, &key.tenant, &key.conversation, &last.user),
            None => String::new(),
        };
        Ok(Page { items, next })
    }

    async fn page_of(
        &self,
        roster: &Roster,
        key: &ConversationKey,
        page_size: usize,
        token: &str,
    ) -> Result<Page<(Arc<str>, RosterMember)>, Refusal> {
        let after = after(MEMBERS, key, token)?;
        let members = self
            .access
            .members_after(roster, key, after.as_deref(), page_size + 1);
        let mut items = members.await?;
        let more = items.len() > page_size;
        items.truncate(page_size);
        let next = match items.last().filter(|_| more) {
            Some((last, _)) => encode_page(MEMBERS, &key.tenant, &key.conversation, last),
            None => String::new(),
        };
        Ok(Page { items, next })
    }
}

fn after(list: &str, key: &ConversationKey, token: &str) -> Result<Option<Arc<str>>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    let user = decode_page(token, list, &key.tenant, &key.conversation)
        .map_err(bad_token("page_token"))?;
    Ok(Some(user))
}
