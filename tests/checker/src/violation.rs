//! What can be wrong, and how it is named.

use std::collections::BTreeMap;
use std::fmt;

use crate::record::{Client, Record, ServerEvent};

/// The promises that a history can decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// 1: ack means kept.
    AckMeansKept,
    /// 2: once.
    Once,
    /// 3: one order.
    OneOrder,
    /// 4: no silent gap.
    NoSilentGap,
    /// 5: delivered or waiting.
    DeliveredOrWaiting,
    /// 6: nobody else.
    NobodyElse,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AckMeansKept => "promise 1, ack means kept",
            Self::Once => "promise 2, once",
            Self::OneOrder => "promise 3, one order",
            Self::NoSilentGap => "promise 4, no silent gap",
            Self::DeliveredOrWaiting => "promise 5, delivered or waiting",
            Self::NobodyElse => "promise 6, nobody else",
        })
    }
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident: $promise:expr, $title:literal;)+) => {
        /// The ways to break a promise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ViolationKind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ViolationKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The promise that it breaks; `None` if it is the history that is broken.
            pub const fn promise(self) -> Option<Promise> {
                match self { $(Self::$name => $promise,)+ }
            }

            /// A few words for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

kinds! {
    /// The history contradicts itself, so nothing can be decided from it: an index that falls, an ack without an intent, a seq 0.
    BrokenHistory: None, "the history is broken";

    /// An acked command is not in the server's store.
    AckLost: Some(Promise::AckMeansKept), "an acked command is not stored";
    /// A receipt names a place that holds another message.
    AckMismatch: Some(Promise::AckMeansKept), "a receipt names another message's place";
    /// A quiesced reader does not have an acked event.
    AckedUnseen: Some(Promise::AckMeansKept), "a quiesced reader lacks an acked event";
    /// The event holds other content than its sender sent.
    ContentChanged: Some(Promise::AckMeansKept), "the content is not what was sent";

    /// One client id stands at two seqs.
    StoredTwice: Some(Promise::Once), "one command is stored twice";
    /// Two acks of one client id bear different receipts.
    ReceiptChanged: Some(Promise::Once), "a retry got another receipt";
    /// Two acks of one client id both say that it was new.
    RetryNotMarked: Some(Promise::Once), "a retry's ack is not marked duplicate";
    /// One client id was acked with two contents.
    OtherContentAcked: Some(Promise::Once), "one client id was acked with two contents";

    /// A seq is missing between two stored events, or below the first.
    SeqHole: Some(Promise::OneOrder), "a seq is missing in the store";
    /// Two messages at one seq.
    OrderDiffers: Some(Promise::OneOrder), "two messages at one seq";
    /// One message with two contents.
    BodyDiffers: Some(Promise::OneOrder), "one message with two contents";
    /// One event with two ordinals, times, kinds or client ids.
    HeaderDiffers: Some(Promise::OneOrder), "one event with two headers";
    /// One message id at two places.
    MessageIdReused: Some(Promise::OneOrder), "a message id at two places";
    /// An event was delivered, or a head named, that the store does not hold.
    Phantom: Some(Promise::OneOrder), "delivered but not stored";
    /// A connection's sends stand in another order than they were sent in.
    SendOrderBroken: Some(Promise::OneOrder), "sends of a connection changed their order";
    /// A send was acked though an earlier one of its connection was refused and had not come again.
    OvertookRefusal: Some(Promise::OneOrder), "a send overtook a refused one";
    /// The ordinal fell, or rose by more than one.
    OrdinalBroken: Some(Promise::OneOrder), "ordinals do not count";
    /// Time fell as seq rose.
    TimeWentBack: Some(Promise::OneOrder), "time fell as seq rose";

    /// A quiesced reader's view has a hole.
    ViewGap: Some(Promise::NoSilentGap), "a reader's view has a hole";
    /// The answer to a sync left a seq out.
    SyncSkipped: Some(Promise::NoSilentGap), "a sync left a seq out";
    /// Content was withheld though nobody recalled it.
    Tombstone: Some(Promise::NoSilentGap), "content withheld without a recall";
    /// A sync named a head below what the same client had before it connected, or below its own answer.
    HeadWentBack: Some(Promise::NoSilentGap), "the head went back";
    /// The floor that was named lies above what the store keeps and the reader may see.
    FalseFloor: Some(Promise::NoSilentGap), "a floor that is none";

    /// A quiesced device of a participant does not reach the head.
    NotReached: Some(Promise::DeliveredOrWaiting), "a participant's device did not reach the head";
    /// A device that stayed online was not told of an event.
    NotPushed: Some(Promise::DeliveredOrWaiting), "an online device was not told";

    /// An event reached a user who never was a member.
    DeliveredToStranger: Some(Promise::NobodyElse), "delivered to a stranger";
    /// An event reached a user removed before it.
    DeliveredAfterRemoval: Some(Promise::NobodyElse), "delivered after removal";
    /// An event reached a user from before what he may see.
    DeliveredBeforeJoin: Some(Promise::NobodyElse), "delivered from before the joining";
    /// A sync whose head is at or above a recall showed what that took back.
    RecalledShown: Some(Promise::NobodyElse), "recalled content was handed out";
    /// A user sent who was no member at that seq.
    SentByNonMember: Some(Promise::NobodyElse), "sent by a non-member";
    /// The header names another sender than sent it.
    SenderForged: Some(Promise::NobodyElse), "the sender is not who sent it";
    /// Nobody sent it, though every sender keeps a history.
    NotIntended: Some(Promise::NobodyElse), "nobody sent it";
    /// An event stands in another conversation than it was sent to.
    Misrouted: Some(Promise::NobodyElse), "the event stands in another conversation";
    /// An event of one tenant in another.
    TenantMixed: Some(Promise::NobodyElse), "an event of another tenant";
    /// The two users of a direct conversation changed.
    ParticipantsChanged: Some(Promise::NobodyElse), "the participants of a direct conversation changed";
}

impl fmt::Display for ViolationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// One broken promise, with what is needed to find it in the histories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What is wrong.
    pub kind: ViolationKind,
    /// What was expected, and what was there.
    pub detail: String,
    /// The tenant and conversation.
    pub conversation: Option<(String, String)>,
    /// The seq, or the first of several.
    pub seq: Option<u64>,
    /// The client whose record or view shows it.
    pub client: Option<Client>,
    /// The index of that record in the client's history.
    pub index: Option<u64>,
    /// The time of that record or event, in milliseconds since the Unix epoch.
    pub time_ms: Option<i64>,
}

impl Violation {
    pub(crate) fn new(kind: ViolationKind, detail: String) -> Self {
        Self {
            kind,
            detail,
            conversation: None,
            seq: None,
            client: None,
            index: None,
            time_ms: None,
        }
    }

    pub(crate) fn at(mut self, tenant: &str, conversation: &str, seq: u64) -> Self {
        self.conversation = Some((tenant.to_owned(), conversation.to_owned()));
        self.seq = (seq > 0).then_some(seq);
        self
    }

    pub(crate) fn seen_by(mut self, client: &Client) -> Self {
        self.client = Some(client.clone());
        self
    }

    pub(crate) fn told_by(mut self, teller: Teller<'_>) -> Self {
        match teller {
            Teller::Client(record) => {
                self.client = Some(record.client.clone());
                self.index = Some(record.index);
                self.time_ms = Some(record.time_ms);
            }
            Teller::Server(event) => self.time_ms = Some(event.time_ms),
        }
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.promise() {
            Some(promise) => write!(f, "{promise}: {:?}: {}", self.kind, self.detail)?,
            None => write!(f, "{:?}: {}", self.kind, self.detail)?,
        }
        if let Some((tenant, conversation)) = &self.conversation {
            write!(f, " [conversation {tenant}/{conversation}")?;
            if let Some(seq) = self.seq {
                write!(f, " seq {seq}")?;
            }
            f.write_str("]")?;
        }
        if let Some(client) = &self.client {
            write!(f, " [client {client}")?;
            if let Some(index) = self.index {
                write!(f, " record {index}")?;
            }
            f.write_str("]")?;
        }
        if let Some(time_ms) = self.time_ms {
            write!(f, " [at {time_ms} ms]")?;
        }
        Ok(())
    }
}

/// The record or stored event that is being judged.
#[derive(Clone, Copy)]
pub(crate) enum Teller<'a> {
    Client(&'a Record),
    Server(&'a ServerEvent),
}

/// Counts all violations, keeps the first few.
#[derive(Debug, Default)]
pub(crate) struct ViolationLog {
    pub(crate) first: Vec<Violation>,
    pub(crate) by_kind: BTreeMap<ViolationKind, u64>,
}

impl ViolationLog {
    /// How many are kept in full: more than a screen of them helps nobody.
    const KEPT: usize = 16;

    /// `describe` runs only for those that are kept.
    pub(crate) fn report(
        &mut self,
        kind: ViolationKind,
        describe: impl FnOnce(Violation) -> Violation,
        detail: fmt::Arguments<'_>,
    ) {
        *self.by_kind.entry(kind).or_default() += 1;
        if self.first.len() < Self::KEPT {
            self.first
                .push(describe(Violation::new(kind, detail.to_string())));
        }
    }
}
