//! What the server has: heads and events, members, positions, and each user's inbox.

use std::collections::BTreeMap;

use anyhow::Context;
use flare_proto::{
    session::{InboxEntry, ListMembersRequest, ListPositionsRequest, SyncInboxRequest},
    storage::{ReadRange, ReadRangesRequest},
};

use super::backend::Backend;

/// More than any conversation here has.
const MANY: u32 = 200;

/// A picture of it all, to be compared with a later one.
pub(crate) struct State {
    parts: BTreeMap<String, String>,
    /// By conversation.
    pub(crate) heads: BTreeMap<String, u64>,
    /// What each user's inbox has.
    pub(crate) entries: Vec<(String, InboxEntry)>,
}

impl State {
    /// Asks for everything, as the system and as each user.
    pub(crate) async fn read(
        backend: &Backend,
        conversations: &[String],
        users: &[impl AsRef<str>],
    ) -> anyhow::Result<Self> {
        let mut state = Self {
            parts: BTreeMap::new(),
            heads: BTreeMap::new(),
            entries: Vec::new(),
        };
        for it in conversations {
            state
                .read_conversation(backend, it)
                .await
                .with_context(|| format!("conversation {it}"))?;
        }
        for user in users.iter().map(AsRef::as_ref) {
            state
                .read_inbox(backend, user)
                .await
                .with_context(|| format!("the inbox of {user}"))?;
        }
        Ok(state)
    }

    async fn read_conversation(&mut self, backend: &Backend, id: &str) -> anyhow::Result<()> {
        let mut client = backend.client();
        let ranges = vec![ReadRange {
            conversation_id: id.to_owned(),
            after_seq: 0,
            limit: Some(MANY),
        }];
        let request = backend.as_system(ReadRangesRequest {
            ranges,
            ..ReadRangesRequest::default()
        });
        let mut answer = client.read_ranges(request).await?.into_inner();
        let range = answer.ranges.pop().context("no range")?;
        self.heads.insert(id.to_owned(), range.head_seq);
        self.parts
            .insert(format!("the events of {id}"), format!("{range:?}"));

        let request = ListMembersRequest {
            conversation_id: id.to_owned(),
            page_size: Some(MANY),
            ..ListMembersRequest::default()
        };
        let members = client
            .list_members(backend.as_system(request))
            .await?
            .into_inner();
        self.parts
            .insert(format!("the members of {id}"), format!("{members:?}"));

        let request = ListPositionsRequest {
            conversation_id: id.to_owned(),
            page_size: Some(MANY),
            ..ListPositionsRequest::default()
        };
        let positions = client
            .list_positions(backend.as_system(request))
            .await?
            .into_inner();
        self.parts
            .insert(format!("the positions of {id}"), format!("{positions:?}"));
        Ok(())
    }

    async fn read_inbox(&mut self, backend: &Backend, user: &str) -> anyhow::Result<()> {
        let request = SyncInboxRequest {
            page_size: Some(MANY),
            ..SyncInboxRequest::default()
        };
        let inbox = backend
            .client()
            .sync_inbox(backend.as_user(user, request))
            .await?
            .into_inner();
        for entry in inbox.entries {
            let id = entry
                .conversation
                .as_ref()
                .map(|it| it.conversation_id.clone())
                .unwrap_or_default();
            self.parts
                .insert(format!("what {user} has of {id}"), format!("{entry:?}"));
            self.entries.push((user.to_owned(), entry));
        }
        Ok(())
    }

    /// What differs in a later picture.
    pub(crate) fn differences(&self, later: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<_> =
            self.parts.keys().chain(later.parts.keys()).collect();
        let differ = names
            .into_iter()
            .filter(|it| self.parts.get(*it) != later.parts.get(*it));
        differ
            .map(|it| {
                format!(
                    "{it}: from {:?} to {:?}",
                    self.parts.get(it),
                    later.parts.get(it)
                )
            })
            .collect()
    }
}
