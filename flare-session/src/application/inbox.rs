//! What a user has of his conversations, and what of it changed since he last asked.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;

use super::{
    heads::Heads,
    ports::{InboxStore, RosterStore, StorageReader, StreamProgress},
    positions::Positions,
    reads::recalled_above,
    refusals::bad_token,
};
use crate::domain::{
    caller::{Actor, Caller, UserKey},
    head::Head,
    inbox::{Entry, InboxRow, ReadPosition, effective_read},
    rule::Rule,
    token::{InboxToken, Mark},
};

/// When to ask again if a row lacks a member event.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// What an entry takes beside its last message, roughly, in bytes.
const ENTRY_BYTES: usize = 512;

/// Answers `SyncInbox`.
///
/// # Why no change is missed
///
/// What an entry shows comes from two places: the *head* of the conversation, which moves with each event of the stream and then gets the
/// stream's next position; and the user's *row* (membership, settings, read position), whose every change gets the user's next version.
/// A [`Mark`] (position, version) claims: whoever holds it was handed every entry in a state at least as new as that position
/// and that version. By induction over the answers:
///
/// - *What stands is in it.* push-server may have been given an event before this service has taken it in, and found the caller's device offline; so
///   the answer waits until the stream is taken in as far as it stood when the request came ([`StreamProgress`]).
/// - *One answer.* The mark is read first, the position before the version, and only then rows and heads. Both only get newer, so the
///   answer is at least as new as the mark. A change in between is above the mark: it comes again, which is harmless.
/// - *Changes since a mark* (p, v) are the rows with a version above v, and the heads with a position above p. Memory names all the latter as
///   long as p is not below its horizon, of the conversations in which the user is; and if he joined after v, his row has a version above v.
/// - *Several pages of changes* go by conversation id, each page over the changes since the first token, and end with the mark taken at the first page. A
///   conversation that changes behind the cursor changes above that mark.
/// - *Everything, newest first* goes by (time of last activity, id) and ends with the mark taken at the first page. Activity moves only with
///   the stream (or with a row, which has a version), and only up: so a conversation that jumps over the cursor does it above that mark.
/// - *Nobody else.* A row is read before its head, so it may say that somebody is a member whom an event of the head has removed: a row that is older
///   than the head's last member event is read again.
/// - *One who left* is told of what came by up to his leaving, but not of moves: his row changes when he leaves, and once more when that
///   event comes by.
/// - *Mentions* and read positions by own sends are there before the head moves ([`super::stream::Stream::take`]). Read positions that wait in memory are put over the
///   rows, and get their version when they are written.
/// - *Restarts.* A mark of another epoch, or below the horizon, is not trusted: the user gets everything again.
///
/// # Where other processes serve the same users
///
/// Each follows the whole stream for its heads, while one of them, which may be another, writes the rows of an event. Positions are those of the stream, the
/// same to all; so a mark is good wherever it comes to, as long as memory reaches back to it. Then,
///
/// - the position is read *before* the answer waits for the stream, and the wait is for the rows as well: what lies before the mark has its rows and its
///   positions written, those of changes included, whichever process did it. What comes in between may be shown without, and comes again;
/// - *nothing is shown that only this process knows*: positions that wait are written, not put over the rows. So none goes back when the next answer
///   is another process's.
pub struct Inbox {
    pub(crate) inboxes: Arc<dyn InboxStore>,
    pub(crate) rosters: Arc<dyn RosterStore>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) reader: Arc<dyn StorageReader>,
    /// What users mark.
    pub(crate) positions: Arc<Positions>,
    /// What the stream brings: the same, but where others are asked as well.
    pub(crate) gathered: Arc<Positions>,
    pub(crate) progress: Arc<dyn StreamProgress>,
    /// A page ends where its entries would take more than this.
    pub(crate) max_page_bytes: usize,
}

/// A part of a user's inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxPage {
    /// What changed, each conversation once.
    pub entries: Vec<Entry>,
    /// To go on with.
    pub token: String,
    /// Whether more is there already.
    pub has_more: bool,
}

/// A request, as its parts need it.
struct Asked<'a> {
    user: &'a UserKey,
    now: Mark,
    memberships: u64,
    page_size: usize,
    /// Read positions that were not in the store when the request began.
    waiting: BTreeMap<Arc<str>, ReadPosition>,
}

impl Inbox {
    /// What changed for the caller since the token, or everything, newest first.
    pub async fn sync(
        &self,
        caller: &Caller,
        token: &str,
        page_size: usize,
    ) -> Result<InboxPage, Refusal> {
        let Actor::User { id, .. } = &caller.actor else {
            return Err(Rule::NoUser.into());
        };
        let user = &UserKey {
            tenant: Arc::clone(&caller.tenant),
            user: Arc::clone(id),
        };
        let token = match token {
            "" => None,
            text => Some(
                InboxToken::decode(text, &user.tenant, &user.user).map_err(bad_token("token"))?,
            ),
        };
        let is_shared = self.positions.is_at_once();
        let before = is_shared.then(|| self.heads.stream().frontier);
        self.progress.caught_up().await?;
        if is_shared && !self.gathered.reads_of(user).is_empty() {
            self.gathered.flush().await?;
        }
        let remembered = self.heads.stream();
        let version = self.inboxes.version(user).await?;
        let now = Mark {
            epoch: remembered.epoch,
            frontier: before.unwrap_or_else(|| remembered.frontier.clone()),
            version: version.version,
        };
        let good = |mark: &Mark| {
            remembered.reaches(mark.epoch, &mark.frontier) && mark.version <= version.version
        };
        // Before any row is read: what is written in between shows in the rows.
        let waiting = self.positions.shown_of(user);
        let asked = Asked {
            user,
            now: now.clone(),
            memberships: version.memberships,
            page_size,
            waiting,
        };
        let changes = match token {
            Some(InboxToken::Since(from)) if good(&from) => {
                self.changes(&asked, from, now.clone(), None).await?
            }
            Some(InboxToken::Changes { from, mark, after }) if good(&from) => {
                self.changes(&asked, from, mark, Some(after)).await?
            }
            Some(InboxToken::Walk {
                mark,
                after_ms,
                after,
            }) if good(&mark) => {
                return self.walk(&asked, mark, Some((after_ms, after))).await;
            }
            _ => None,
        };
        match changes {
            Some(page) => Ok(page),
            None => self.walk(&asked, now, None).await,
        }
    }

    /// What changed since `from`, by conversation id. None: memory does not reach back that far any more.
    async fn changes(
        &self,
        asked: &Asked<'_>,
        from: Mark,
        mark: Mark,
        after: Option<Arc<str>>,
    ) -> Result<Option<InboxPage>, Refusal> {
        let user = asked.user;
        let mine = self
            .rosters
            .conversations_of(user, asked.memberships)
            .await?;
        let Some(moved) = self.heads.moved_since(&user.tenant, &mine, &from.frontier) else {
            return Ok(None);
        };
        let mut changed: BTreeSet<Arc<str>> = moved.into_iter().cloned().collect();
        changed.extend(self.inboxes.changed_since(user, from.version).await?);
        changed.extend(asked.waiting.keys().cloned());
        let from_there = (
            after.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        );
        let left: Vec<_> = changed.range::<Arc<str>, _>(from_there).cloned().collect();
        metrics::counter!("flare_session_inbox_syncs_total", "kind" => "changes").increment(1);

        let (entries, taken) = self.entries(asked, &left).await?;
        let token = match left
            .get(..taken)
            .and_then(<[_]>::last)
            .filter(|_| taken < left.len())
        {
            Some(last) => InboxToken::Changes {
                from,
                mark,
                after: Arc::clone(last),
            },
            None => InboxToken::Since(mark),
        };
        Ok(Some(asked.page(entries, &token)))
    }

    /// Everything, newest first.
    async fn walk(
        &self,
        asked: &Asked<'_>,
        mark: Mark,
        after: Option<(i64, Arc<str>)>,
    ) -> Result<InboxPage, Refusal> {
        let user = asked.user;
        let mine = self
            .rosters
            .conversations_of(user, asked.memberships)
            .await?;
        let waiting = self.gathered.activity_of(&user.tenant, &mine);
        let mut left: Vec<(i64, Arc<str>)> = self
            .inboxes
            .activity(user)
            .await?
            .into_iter()
            .map(|(id, stored_ms)| {
                (
                    waiting
                        .get(&id)
                        .copied()
                        .unwrap_or(stored_ms)
                        .max(stored_ms),
                    id,
                )
            })
            .filter(|place| after.as_ref().is_none_or(|after| place < after))
            .collect();
        left.sort_unstable_by(|one, other| other.cmp(one));
        metrics::counter!("flare_session_inbox_syncs_total", "kind" => "walk").increment(1);

        let ids: Vec<_> = left
            .iter()
            .take(asked.page_size)
            .map(|(_, id)| Arc::clone(id))
            .collect();
        let (entries, taken) = self.entries(asked, &ids).await?;
        let token = match left
            .get(..taken)
            .and_then(<[_]>::last)
            .filter(|_| taken < left.len())
        {
            Some((after_ms, last)) => InboxToken::Walk {
                mark,
                after_ms: *after_ms,
                after: Arc::clone(last),
            },
            None => InboxToken::Since(mark),
        };
        Ok(asked.page(entries, &token))
    }

    /// Entries of the first of these conversations, and of how many: as many as a page takes.
    async fn entries(
        &self,
        asked: &Asked<'_>,
        ids: &[Arc<str>],
    ) -> Result<(Vec<Entry>, usize), Refusal> {
        let user = asked.user;
        let ids = &ids[..ids.len().min(asked.page_size)];
        let mut rows: HashMap<Arc<str>, InboxRow> = self
            .inboxes
            .rows(user, ids)
            .await?
            .into_iter()
            .map(|row| (Arc::clone(&row.conversation), row))
            .collect();
        let mut heads = HashMap::new();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for (index, id) in ids.iter().enumerate() {
            let Some(mut row) = rows.remove(id) else {
                continue;
            };
            if row.farewell.is_none() && !heads.contains_key(id) {
                let is_active = |it: &&Arc<str>| {
                    *it == id || rows.get(*it).is_some_and(|row| row.farewell.is_none())
                };
                let rest: Vec<_> = ids[index..].iter().filter(is_active).cloned().collect();
                heads = self.heads.whole(&user.tenant, &rest).await?;
            }
            let head = &heads.remove(id).unwrap_or_default();
            if row.is_outdated(head) {
                row = self.later_row(user, id, head).await?;
            }
            self.complete_farewell(user, &mut row).await?;
            let waiting = asked.waiting.get(id).copied().unwrap_or_default();
            let read = effective_read(&row, waiting, head, &user.user);
            let is_ahead = row.farewell.is_none() && read > row.read;
            let key = ConversationKey::new(Arc::clone(&user.tenant), Arc::clone(id));
            let recalled =
                recalled_above(&*self.inboxes, &key, head, row.farewell.as_ref(), read.seq).await?;
            let entry = row.entry(head, read, recalled);
            bytes += ENTRY_BYTES + entry.last_message.len();
            if bytes > self.max_page_bytes && !entries.is_empty() {
                metrics::counter!("flare_session_inbox_pages_cut_total").increment(1);
                return Ok((entries, index));
            }
            if is_ahead && self.positions.is_at_once() {
                // By his last message, which may be the last no more when he asks next.
                self.positions.read(&key, &user.user, read).await?;
            }
            entries.push(entry);
        }
        Ok((entries, ids.len()))
    }

    /// The row once more, which an event of the head has changed, or is about to. Nothing is placed behind a member event before this service
    /// has taken that in, so a head that ends with it shows nobody more than he may see.
    async fn later_row(
        &self,
        user: &UserKey,
        id: &Arc<str>,
        head: &Head,
    ) -> Result<InboxRow, Refusal> {
        let rows = self.inboxes.rows(user, std::slice::from_ref(id)).await?;
        let may_see = |row: &InboxRow| !row.is_outdated(head) || head.seq == head.member_seq;
        let row = rows.into_iter().next().filter(may_see);
        row.ok_or_else(|| {
            let message = format!(
                "the members of {id} as of seq {} come soon",
                head.member_seq
            );
            Refusal::unavailable(message, RETRY_AFTER)
        })
    }

    /// The last message of one who left is asked for once, and kept until something is taken back.
    async fn complete_farewell(&self, user: &UserKey, row: &mut InboxRow) -> Result<(), Refusal> {
        if let Some(farewell) = row.farewell.as_mut().filter(|it| it.last_message.is_none()) {
            let last = self
                .reader
                .last_message(user, &row.conversation, farewell.seq)
                .await?;
            self.inboxes
                .keep_farewell(user, &row.conversation, &last)
                .await?;
            farewell.last_message = Some(last);
        }
        Ok(())
    }
}

impl Asked<'_> {
    /// More is there if the token stands in the middle, or at a mark of an earlier page: something may have changed since that.
    fn page(&self, entries: Vec<Entry>, token: &InboxToken) -> InboxPage {
        InboxPage {
            entries,
            token: token.encode(&self.user.tenant, &self.user.user),
            has_more: *token != InboxToken::Since(self.now.clone()),
        }
    }
}
