//! What the use cases need of the outside.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::{error::Refusal, telemetry::TraceId};
use flare_storage_model::ConversationKey;

use crate::domain::{
    caller::UserKey,
    change::Change,
    command::Fingerprint,
    conversation::Conversation,
    head::Head,
    inbox::{InboxRow, ReadPosition, Settings, SettingsPatch},
    membership::{Belonging, Roster, RosterMember},
};

/// Why a store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A user would be in too many groups. Nothing was written.
    #[error("user {user} is in {max} conversations already")]
    TooManyConversations {
        /// The user.
        user: Arc<str>,
        /// The limit that was given.
        max: u32,
    },
    /// The group is not as it was when the change was decided, or another change of it waits. Nothing was written.
    #[error("conversation {0} has changed meanwhile")]
    Moved(ConversationKey),
    /// The store cannot work at the moment: no room, a disk that fails, another who has it. Whether it wrote is not known.
    #[error("session store: {0}")]
    Unavailable(String),
    /// The store holds, or was asked for, what cannot be.
    #[error("session store: {0}")]
    Failed(String),
}

/// A change on its way into the conversation's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxLine {
    /// A ULID: lines of a conversation are submitted in its order.
    pub line: String,
    /// The conversation.
    pub key: ConversationKey,
    /// The acting user; empty: the system.
    pub sender: Arc<str>,
    /// What happens.
    pub change: Change,
    /// The trace of the request that asked for it.
    pub trace_id: Option<TraceId>,
}

/// The command behind a line, kept to answer it when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandId {
    /// Chosen by the sender, unique among his commands to the conversation.
    pub client_id: Arc<str>,
    /// What the command says.
    pub fingerprint: Fingerprint,
}

/// A command that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What it said.
    pub fingerprint: Fingerprint,
    /// The seq that it got; 0: nothing had to change; None: its line still waits.
    pub seq: Option<u64>,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its number in the conversation.
    pub seq: u64,
    /// Countable events up to it.
    pub ordinal: u64,
    /// Unix milliseconds.
    pub time_ms: i64,
}

/// Groups, and the outbox through which they change.
///
/// Obligations:
/// - **One transaction** per method: all of it is durable when it returns Ok, none of it after an error that says so.
/// - **Rows count by seq.** What `commit` writes shows in no other answer before `settle` writes the event's seq to it, but for the
///   count of a user's groups.
/// - **Idempotent**: `settle` and `withdraw` of a line that is settled or gone change nothing.
/// - **Decided on what is.** Of all processes that share the store, one at a time changes a group: a line is written only if no other one of
///   the group waits, and none was settled after what it was decided on.
#[async_trait]
pub trait ConversationStore: Send + Sync + 'static {
    /// The group as far as its events are settled, with its owner and those of its members whom `about` names.
    async fn conversation(
        &self,
        key: &ConversationKey,
        about: &[Arc<str>],
    ) -> Result<Option<Conversation>, StoreError>;
    /// Whether the id is taken, by a settled conversation or by a line that waits.
    async fn exists(&self, key: &ConversationKey) -> Result<bool, StoreError>;
    /// The command that the sender sent under this client id.
    async fn answered(
        &self,
        key: &ConversationKey,
        sender: &str,
        client_id: &str,
    ) -> Result<Option<Answered>, StoreError>;
    /// Writes the line, with rows for who joins by it. It was decided on the group as of the change `decided_on`, which is 0 for one that
    /// is to be. `max_conversations` bounds the groups of each who joins. [`StoreError::Moved`]: it is to be decided again.
    async fn commit(
        &self,
        line: &OutboxLine,
        command: &CommandId,
        decided_on: u64,
        max_conversations: u32,
    ) -> Result<(), StoreError>;
    /// Remembers that the command had nothing to change. [`StoreError::Moved`]: another process has answered it.
    async fn commit_nothing(
        &self,
        key: &ConversationKey,
        sender: &str,
        line: &str,
        command: &CommandId,
    ) -> Result<(), StoreError>;
    /// Applies the line's change to the rows, which count from here on, and notes the seq with the line.
    async fn settle(&self, line: &OutboxLine, placed: &Placed) -> Result<(), StoreError>;
    /// Takes the line and its rows back: the log has refused it for good.
    async fn withdraw(&self, line: &OutboxLine) -> Result<(), StoreError>;
    /// The conversation's lines without a seq, oldest first.
    async fn pending(&self, key: &ConversationKey) -> Result<Vec<OutboxLine>, StoreError>;
    /// Conversations that have lines without a seq; where there are very many, those with the oldest lines.
    async fn pending_conversations(&self) -> Result<Vec<ConversationKey>, StoreError>;
}

/// In which large conversations users are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LargeMemberships {
    /// Of active members, in conversations that are not disbanded.
    pub memberships: Vec<LargeMembership>,
    /// By index, the users of whom more may be to tell: there was no room, or a line of a conversation of theirs waits for its place.
    pub incomplete: Vec<usize>,
}

/// A user's place in a large conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeMembership {
    /// The user's index.
    pub user: usize,
    /// The conversation.
    pub conversation: Arc<str>,
    /// The seq of the event by which he last joined.
    pub joined_seq: u64,
    /// The seq of the conversation's last member event that this includes.
    pub as_of: u64,
}

/// Rosters, to read.
///
/// Obligations:
/// - An answer includes every change for which [`forget`](Self::forget) was called before the question was asked, also from a cache.
/// - What is answered of members by name or in pages is at least as new as a roster that was answered before.
/// - **No event without its member.** Of a user who joins a large conversation, or whose group becomes one, by an event that somebody has seen,
///   [`large_memberships`](Self::large_memberships) answers either that, or that his answer is incomplete.
#[async_trait]
pub trait RosterStore: Send + Sync + 'static {
    /// The conversation with its active members; None: there is none that counts.
    async fn roster(&self, key: &ConversationKey) -> Result<Option<Arc<Roster>>, StoreError>;
    /// Those of the users who are or were in the conversation, whatever its class.
    async fn belonging(
        &self,
        key: &ConversationKey,
        users: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Belonging>, StoreError>;
    /// Active members by user id, after `after`, at most `limit`.
    async fn members_after(
        &self,
        key: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Arc<str>, RosterMember)>, StoreError>;
    /// In which large conversations the users are. One answer has room for `max` of them, which is not less than one user may be in.
    async fn large_memberships(
        &self,
        users: &[UserKey],
        max: usize,
    ) -> Result<LargeMemberships, StoreError>;
    /// Conversations in which the user is active, at least as new as the version `memberships` that [`InboxStore::version`] answered.
    async fn conversations_of(
        &self,
        user: &UserKey,
        memberships: u64,
    ) -> Result<Arc<[Arc<str>]>, StoreError>;
    /// Rows of the conversation have changed.
    fn forget(&self, key: &ConversationKey);
}

/// A direct conversation, which exists by being written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectConversation {
    /// Its id.
    pub key: ConversationKey,
    /// Both users, sorted.
    pub participants: [Arc<str>; 2],
    /// When it was first heard of. Unix milliseconds.
    pub time_ms: i64,
}

/// What a batch of events writes at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamEffects {
    /// Direct conversations that may be new.
    pub directs: Vec<DirectConversation>,
    /// (conversation, seq, users): messages that mention users. Only members' rows are written.
    pub mentions: Vec<(ConversationKey, u64, Vec<Arc<str>>)>,
    /// (conversation, seq, by): messages that were taken back by the event at `by`. Their mentions go, but for users who had left before.
    pub recalls: Vec<(ConversationKey, u64, u64)>,
    /// (conversation, seq): changes. The rows of who left by one change again: everything before it has come by.
    pub changes: Vec<(ConversationKey, u64)>,
}

impl StreamEffects {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.directs.is_empty()
            && self.mentions.is_empty()
            && self.recalls.is_empty()
            && self.changes.is_empty()
    }
}

/// The versions of a user's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserVersion {
    /// Rises with every change of a row of his; 0: he has none.
    pub version: u64,
    /// The version at which he last joined or left a conversation.
    pub memberships: u64,
}

/// Users' rows.
///
/// Obligations:
/// - A user's version rises with every write that changes one of his rows, in the same transaction, and each changed row bears it. So rows
///   with a version above the one that a reader saw are all that changed since.
/// - `record` is idempotent: the stream repeats after a crash.
#[async_trait]
pub trait InboxStore: Send + Sync + 'static {
    /// The version of the user's rows.
    async fn version(&self, user: &UserKey) -> Result<UserVersion, StoreError>;
    /// Conversations whose row of the user has a version above `version`, by id.
    async fn changed_since(
        &self,
        user: &UserKey,
        version: u64,
    ) -> Result<Vec<Arc<str>>, StoreError>;
    /// All conversations of the user with the time of their last activity (for one that he left: of his leaving), in no order. Unix milliseconds.
    async fn activity(&self, user: &UserKey) -> Result<Vec<(Arc<str>, i64)>, StoreError>;
    /// The user's rows of these conversations; what is not there is left out.
    async fn rows(
        &self,
        user: &UserKey,
        conversations: &[Arc<str>],
    ) -> Result<Vec<InboxRow>, StoreError>;
    /// How many messages with a seq in (after, up_to] were taken back by events up to `by`.
    async fn recalled_between(
        &self,
        key: &ConversationKey,
        after: u64,
        up_to: u64,
        by: u64,
    ) -> Result<u64, StoreError>;
    /// Changes a user's settings and answers them; None: he has no row.
    async fn update_settings(
        &self,
        user: &UserKey,
        conversation: &str,
        patch: &SettingsPatch,
    ) -> Result<Option<Settings>, StoreError>;
    /// Keeps the last message of one who left: an encoded event, or empty for none. Not kept, or no longer, where a message that he may read was
    /// taken back after he left: it may have been read before that.
    async fn keep_farewell(
        &self,
        user: &UserKey,
        conversation: &str,
        last_message: &Bytes,
    ) -> Result<(), StoreError>;
    /// Writes what a batch of events brings. Answers the direct conversations that are new.
    async fn record(&self, effects: &StreamEffects) -> Result<Vec<DirectConversation>, StoreError>;
}

/// Where the count of moves stood when the process last ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamStart {
    /// Tells counts apart that do not follow from each other.
    pub epoch: u64,
    /// The count so far.
    pub position: u64,
}

/// Keeps the count of a process that has the rows for itself, across its clean ends.
#[async_trait]
pub trait StreamCount: Send + Sync + 'static {
    /// The process begins to count: where the last clean end stood, or else position 0 of `new_epoch`. Until [`ended`](Self::ended) is called,
    /// another start finds no clean end.
    async fn begins(&self, new_epoch: u64) -> Result<StreamStart, StoreError>;
    /// The count ends cleanly.
    async fn ended(&self, at: StreamStart) -> Result<(), StoreError>;
}

/// A user's read position in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadUpdate {
    /// Where.
    pub key: ConversationKey,
    /// Whose.
    pub user: Arc<str>,
    /// How far.
    pub position: ReadPosition,
}

/// What a device has received of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveredUpdate {
    /// Where.
    pub key: ConversationKey,
    /// Whose.
    pub user: Arc<str>,
    /// Which of his devices.
    pub device: Arc<str>,
    /// How far.
    pub seq: u64,
}

/// Positions that gathered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PositionBatch {
    /// Read positions.
    pub reads: Vec<ReadUpdate>,
    /// Delivered positions.
    pub delivered: Vec<DeliveredUpdate>,
    /// Conversations with the time of their last event. Unix milliseconds.
    pub activity: Vec<(ConversationKey, i64)>,
}

/// A member's positions, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPositions {
    /// The member.
    pub user: Arc<str>,
    /// How far he has read.
    pub read: ReadPosition,
    /// His devices and how far each has received, by device id.
    pub delivered: Vec<(Arc<str>, u64)>,
}

/// Devices of a member whose delivered positions in a conversation are kept: as many as may be connected at once, unless configured. Clients
/// choose their devices' ids, so there may be any number.
pub const KEPT_DEVICES: usize = 10;

/// Positions: read, delivered, last activity.
///
/// Obligations: each only rises, whatever order updates come in; a batch is one transaction; a read position that rises raises the user's
/// version as [`InboxStore`] says, and mentions at or below it go. Positions of users without a row are dropped. Of a member's devices in a
/// conversation, the [`KEPT_DEVICES`] that have received most are kept; of those that have received as much, the one that tells of it comes first.
#[async_trait]
pub trait PositionStore: Send + Sync + 'static {
    /// Raises positions. Answers how many delivered ones went, of devices beyond those that are kept.
    async fn put(&self, batch: &PositionBatch) -> Result<u64, StoreError>;
    /// The active members' positions, by user id, after `after`, at most `limit`.
    async fn page(
        &self,
        key: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<MemberPositions>, StoreError>;
}

/// Why a line has no seq.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SubmitError {
    /// The log will never take it: it is not there and will not be.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It may be there. Submitting it again gives the same event's place.
    #[error("unknown: {0}")]
    Unknown(Refusal),
}

/// The only way into a conversation's log.
///
/// Obligations: a line submitted any number of times becomes one event, and every Ok names that event's place.
#[async_trait]
pub trait MessageOrchestrator: Send + Sync + 'static {
    /// Submits the line under the client id `flare:<line>`, in the name of its sender.
    async fn submit(&self, line: &OutboxLine) -> Result<Placed, SubmitError>;
}

/// A committed head, as storage-reader has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHead {
    /// The head; its last message is whole.
    pub head: Head,
    /// Both users of a direct conversation, sorted; empty for others.
    pub participants: Vec<Arc<str>>,
}

/// Heads of the first of the conversations that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredHeads {
    /// How many are answered, in the order of the question; at least one.
    pub answered: usize,
    /// Of these, the heads; what has no events is left out.
    pub heads: HashMap<Arc<str>, StoredHead>,
}

/// Committed events, to read.
#[async_trait]
pub trait StorageReader: Send + Sync + 'static {
    /// Heads of as many of the conversations as an answer has room for with their last messages.
    async fn heads(&self, tenant: &str, conversations: &[Arc<str>])
    -> Result<StoredHeads, Refusal>;
    /// The seqs of conversations' newest events; what has no events is left out.
    async fn head_seqs(
        &self,
        tenant: &str,
        conversations: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, u64>, Refusal>;
    /// The ordinal of the event at `seq`, read in the user's name; None: he cannot read it.
    async fn ordinal_at(
        &self,
        user: &UserKey,
        conversation: &str,
        seq: u64,
    ) -> Result<Option<u64>, Refusal>;
    /// The newest message at or below `seq` as an encoded event, read in the user's name; empty: there is none.
    async fn last_message(
        &self,
        user: &UserKey,
        conversation: &str,
        seq: u64,
    ) -> Result<Bytes, Refusal>;
}

/// Something that devices are told now or never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Where.
    pub key: ConversationKey,
    /// Whose doing it is.
    pub user: Arc<str>,
    /// What.
    pub kind: SignalKind,
    /// To whom.
    pub audience: Audience,
}

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalKind {
    /// The user has read up to this seq.
    Read(u64),
    /// The user's settings of the conversation changed.
    Settings,
}

/// Who hears a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody in the conversation but the user.
    Participants,
    /// The user's devices but this one.
    OwnDevices {
        /// The device whose doing it was; empty: none.
        except: Arc<str>,
    },
}

/// Brings signals to devices. They may be lost.
#[async_trait]
pub trait SignalSink: Send + Sync + 'static {
    /// Hands signals over.
    async fn send(&self, signals: &[Signal]) -> Result<(), Refusal>;
}

/// How far the stream of events has been taken in.
#[async_trait]
pub trait StreamProgress: Send + Sync + 'static {
    /// Waits until what stands in the stream now is taken in. What any consumer of the stream had been given before the call is part of it.
    ///
    /// # Errors
    /// `UNAVAILABLE` if that takes too long.
    async fn caught_up(&self) -> Result<(), Refusal>;
}
